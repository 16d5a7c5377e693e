/**
 * Our side in a process of its own: `model-run.ts FOLDER THREADS DTYPE`. Answers each line of standard input, a request of `model-side.ts`, with a line of JSON, like
 * `peers/model/torch_peer.py`.
 */
import { createInterface } from "node:readline";
import { loadQwenVl, type Prompt } from "@dramascope/qwen-vl";
import { loadTensorFlow } from "@dramascope/tensorflow";
import type { Dtype, Request } from "./model-side.ts";
import { peakMiB, resetPeak } from "./peak-memory.ts";

const [, , folder, threads, dtype] = process.argv;
const { tf, backend, version } = await loadTensorFlow({ threads: Number(threads) });
const model = await loadQwenVl(folder!, { tf, dtype: dtype as Dtype });

function promptOf(ids: readonly number[]): Prompt {
  const length = ids.length;
  return { ids: Int32Array.from(ids), positionIds: Int32Array.from({ length: 3 * length }, (_, i) => i % length), nextPosition: length, segments: [{ text: length }], vision: [], text: "" };
}

async function prefill(ids: readonly number[]): Promise<number[]> {
  const result = await model.forward(promptOf(ids));
  const values = Array.from(await result.logits.data());
  result.dispose();
  return values;
}

async function work(request: Request): Promise<number[]> {
  if (request.task === "prefill") return prefill(request.ids);
  const [samples] = await model.generate([promptOf(request.ids)], { maxNewTokens: request.tokens, n: request.n, stopIds: [], seed: 1 });
  if (samples!.some(({ ids }) => ids.length !== request.tokens)) throw new Error("a sample ended early");
  return [];
}

const answer = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
answer({ ready: `@dramascope/qwen-vl on ${backend} ${version}` });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as Request;
  resetPeak();
  const startMiB = process.memoryUsage.rss() / 2 ** 20;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const logits = await work(request);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  answer({ seconds, cpuSeconds: (user + system) / 1e6, startMiB, peakMiB: peakMiB(), logits });
}
model.dispose();
