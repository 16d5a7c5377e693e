/**
 * Our side in a process of its own: `grpo-run.ts FOLDER ADAPTER THREADS DTYPE PRODUCTS`. Answers each line of standard input, a request of `grpo-side.ts`, with a line of
 * JSON, like `peers/grpo/torch_peer.py`.
 */
import { createInterface } from "node:readline";
import { loadQwenVl, type Prompt } from "@dramascope/qwen-vl";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { AdamW, clipGradNorm, policyLoss } from "@dramascope/trainer";
import type { StepAnswer, StepRequest } from "./grpo-side.ts";
import { peakMiB, resetPeak } from "./peak-memory.ts";

const [, , folder, adapter, threads, dtype, products] = process.argv;
const { tf, backend, version } = await loadTensorFlow({ threads: Number(threads) });
const model = await loadQwenVl(folder!, { tf, dtype: dtype as "float32" | "bfloat16", products: products as "float32" | "bfloat16" });
await model.attachLora(adapter!, { name: "policy", dropout: 0 });
const trainable = model.trainable("lora");
const values = await trainable.readValues();
const optimizer = new AdamW({ weightDecay: 0 });
const RATE = 1e-4;

function promptOf(ids: readonly number[]): Prompt {
  const length = ids.length;
  return { ids: Int32Array.from(ids), positionIds: Int32Array.from({ length: 3 * length }, (_, i) => i % length), nextPosition: length, segments: [{ text: length }], vision: [], text: "" };
}

/** Loss of some rows as a part of the whole, old log-probabilities null for ratios of 1. */
function lossOf({ completions, advantages }: StepRequest, first: number, logProbs: readonly Float32Array[], old: readonly Float32Array[] | null): { loss: number; dLogProbs: Float64Array[] } {
  const rows = logProbs.length;
  const cols = logProbs[0]!.length;
  const flat = (all: readonly Float32Array[]): Float64Array => Float64Array.from(all.flatMap((row) => Array.from(row)));
  const { loss, dLogp } = policyLoss(
    {
      rows, cols, logp: flat(logProbs), old: old === null ? null : flat(old.slice(first, first + rows)), ref: null, advantages: advantages.slice(first, first + rows),
      mask: new Float64Array(rows * cols).fill(1), window: { rows: completions.length, tokens: completions.length * cols },
    },
    {
      lossType: "grpo", importanceSamplingLevel: "token", epsilon: 0.2, epsilonHigh: 0.2, delta: null, beta: 0, biasCorrectionKl: false, maxCompletionLength: cols,
      gradientAccumulationSteps: 1, stepsPerGeneration: 1, numItemsInBatch: completions.length * cols,
    },
  );
  return { loss, dLogProbs: logProbs.map((_, i) => dLogp.slice(i * cols, (i + 1) * cols)) };
}

async function gradient(request: StepRequest, old: readonly Float32Array[] | null): Promise<{ loss: number; tokens: number }> {
  const prompt = promptOf(request.ids);
  const { completions, way, micro, chunk } = request;
  let tokens = 0;
  const counted = (first: number, logProbs: readonly Float32Array[]): { loss: number; dLogProbs: Float64Array[] } => {
    tokens += logProbs.reduce((sum, row) => sum + row.length, 0);
    return lossOf(request, first, logProbs, old);
  };
  if (way === "shared") {
    const { loss } = await model.logProbsWithGradient(prompt, completions, { gradient: (logProbs) => counted(0, logProbs), ...(chunk === null ? {} : { completionChunk: chunk }) });
    return { loss, tokens };
  }
  let loss = 0;
  for (let first = 0; first < completions.length; first += micro) {
    const groups = completions.slice(first, first + micro).map((one) => ({ prompt, completions: [one] }));
    const part = await model.groupLogProbsWithGradient(groups, {
      gradient: (logProbs) => {
        const result = counted(first, logProbs.map(([one]) => one!));
        return { loss: result.loss, dLogProbs: result.dLogProbs.map((one) => [one]) };
      },
    });
    loss += part.loss;
  }
  return { loss, tokens };
}

async function work(request: StepRequest): Promise<Omit<StepAnswer, "seconds" | "cpuSeconds" | "startMiB" | "peakMiB" | "moved">> {
  const isStep = request.task === "step";
  const old = isStep ? null : (await model.logProbs(promptOf(request.ids), request.completions)).logProbs.map((row, i) => row.map((value, j) => value + 0.3 * Math.sin(1 + 7 * i + 13 * j)));
  trainable.zeroGradients();
  const { loss, tokens } = await gradient(request, old);
  const gradients = await trainable.readGradients();
  const named = isStep ? {} : { gradients: Object.fromEntries(trainable.names.map((name, i) => [name, Array.from(gradients[i]!)])) };
  const gradNorm = clipGradNorm(gradients, 1);
  if (isStep) {
    optimizer.step(values, gradients, RATE);
    trainable.assignAll(values);
  }
  return { loss, gradNorm, tokens, ...named };
}

const answer = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
answer({ ready: `@dramascope/trainer on ${backend} ${version}` });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as StepRequest;
  const before = values.map((one) => one.slice());
  resetPeak();
  const startMiB = process.memoryUsage.rss() / 2 ** 20;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const result = await work(request);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const moved = values.reduce((most, one, i) => one.reduce((a, value, k) => Math.max(a, Math.abs(value - before[i]![k]!)), most), 0);
  answer({ seconds, cpuSeconds: (user + system) / 1e6, startMiB, peakMiB: peakMiB(), moved, ...result } satisfies StepAnswer);
}
model.dispose();
