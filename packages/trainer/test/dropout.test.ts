import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readAdapter, type QwenVl, type Sample } from "@dramascope/qwen-vl";
import type { GrpoSample, RewardBreakdown, SftSample } from "@dramascope/schema";
import { parseGrpoConfig, parseSftConfig, trainGrpo, trainSft, type SampleEncoder } from "@dramascope/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadDemoBase } from "./demo-base.ts";
import { dropoutSeedAt } from "../src/dropout-seed.ts";

let model: QwenVl;
let encoder: SampleEncoder;
let base: string;
beforeAll(async () => {
  ({ model, encoder } = await loadDemoBase());
  base = await mkdtemp(join(tmpdir(), "dramascope-dropout-"));
});
afterAll(() => model.dispose());

const core = (i: number) => ({ sampleId: `s${i}`, messages: [{ role: "user" as const, content: `Retell drama ${i}.` }], videos: [] });
const sftSamples = Array.from({ length: 4 }, (_, i): SftSample => ({ ...core(i), kind: "sft", target: `Revenge of red ${i}.` }));
const grpoSamples = Array.from({ length: 2 }, (_, i): GrpoSample => ({ ...core(i), kind: "grpo", quality: 3, caption: "x", comments: [] }));

const valuesOf = async (folder: string): Promise<Float32Array[]> => (await readAdapter(folder)).modules.flatMap(({ a, b }) => [a.values, b.values]);
const linesOf = async (run: string): Promise<Record<string, number>[]> => (await readFile(join(base, run, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Record<string, number>);

const sft = async (run: string, lora: { dropout?: number; r?: number }, seed = 1): Promise<string> =>
  (await trainSft({ runDir: join(base, run), seed, lora: { r: 2, ...lora }, learningRate: 1e-2, warmupSteps: 0, epochs: 2, batchSize: 2 }, sftSamples, { model, encoder })).adapter!;

/** One generation with given completions; the first of each group is the better one. */
async function grpo(run: string, settings: { adapter: string; dropout?: number; numIterations?: number }): Promise<{ adapter: string; seeds: (number | undefined)[] }> {
  const seeds: (number | undefined)[] = [];
  const watched = new Proxy(model, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      if (key === "logProbsWithGradient") {
        return (...[prompt, completions, options]: Parameters<QwenVl["logProbsWithGradient"]>) => {
          seeds.push(options.dropoutSeed);
          return model.logProbsWithGradient(prompt, completions, options);
        };
      }
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  const { adapter, dropout, numIterations = 1 } = settings;
  const result = await trainGrpo(
    { runDir: join(base, run), seed: 1, adapter, learningRate: 1e-2, steps: 1, promptsPerStep: 2, numGenerations: 2, numIterations, maxCompletionLength: 8, beta: 0, ...(dropout === undefined ? {} : { lora: { dropout } }) },
    grpoSamples,
    {
      model: watched, encoder,
      rollout: (prompts) => Promise.resolve(prompts.map(() => [[5, 6, 7], [8, 9]].map((ids): Sample => ({ ids: Int32Array.from(ids), text: "", logProbs: new Float32Array(ids.length), finishReason: "stop" })))),
      reward: (items) => Promise.resolve(items.map((_, i): RewardBreakdown => ({ caption: i % 2, comments: 0, accuracy: 0, format: 0, total: 0, reasons: [], version: "x" }))),
    },
  );
  return { adapter: result.adapter!, seeds };
}

describe("dropout in SFT", () => {
  it("follows from the seed of the run, and is written with run and adapter", async () => {
    const first = await sft("first", {});
    const same = await sft("same", {});
    const whole = await sft("whole", { dropout: 0 });
    expect(await valuesOf(same)).toEqual(await valuesOf(first));
    expect((await linesOf("whole"))[0]!["loss"]).toBe((await linesOf("first"))[0]!["loss"]); // B is 0 in the first step
    expect((await linesOf("whole"))[1]!["loss"]).not.toBe((await linesOf("first"))[1]!["loss"]);
    expect((await linesOf("whole"))[0]!["grad_norm"]).not.toBe((await linesOf("first"))[0]!["grad_norm"]);
    expect((await readAdapter(first)).config.dropout).toBe(0.05);
    expect((await readAdapter(whole)).config.dropout).toBe(0);
    expect(JSON.parse(await readFile(join(base, "first", "run.json"), "utf8"))).toMatchObject({ config: { lora: { r: 2, dropout: 0.05 } } });
  });
});

describe("dropout in GRPO", () => {
  it("is off unless asked for, also on an adapter that was trained with it", async () => {
    const start = await sft("start", { dropout: 0.3 });
    const plain = await grpo("plain", { adapter: start });
    expect((await readAdapter(plain.adapter)).config.dropout).toBe(0);
    const dropped = await grpo("dropped", { adapter: start, dropout: 0.3, numIterations: 2 });
    expect((await readAdapter(dropped.adapter)).config).toMatchObject({ r: 2, dropout: 0.3 });
    expect(new Set(dropped.seeds).size).toBe(4);
    const again = await grpo("again", { adapter: start, dropout: 0.3, numIterations: 2 });
    expect(again.seeds).toEqual(dropped.seeds);
    expect(await valuesOf(again.adapter)).toEqual(await valuesOf(dropped.adapter));
  });

  it("moves the ratio away from 1 where old log-probabilities are the whole adapter's", async () => {
    const start = await sft("start", { dropout: 0.3 });
    await grpo("two", { adapter: start, numIterations: 2 });
    await grpo("two-dropped", { adapter: start, dropout: 0.3, numIterations: 2 });
    const [whole, dropped] = [(await linesOf("two"))[0]!, (await linesOf("two-dropped"))[0]!];
    // At a ratio of 1 the loss is the mean of the advantages of a group, which is 0.
    expect(Math.abs(whole["loss"]!)).toBeLessThan(1e-6);
    expect(Math.abs(dropped["loss"]!)).toBeGreaterThan(1e-5);
  });
});

it("has another seed at every step and prompt of every run", () => {
  const seeds = [0, 1, 2].flatMap((seed) => Array.from({ length: 50 }, (_, step) => [0, 1, 2].map((prompt) => dropoutSeedAt(seed, step, prompt)))).flat();
  expect(new Set(seeds).size).toBe(450);
  expect(seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0)).toBe(true);
});

it.each([-0.1, 1, "0.1"])("refuses a dropout of %s", (dropout) => {
  expect(() => parseSftConfig({ runDir: "x", lora: { dropout } })).toThrow(/lora\.dropout/u);
  expect(() => parseGrpoConfig({ runDir: "x", lora: { dropout } })).toThrow(/lora\.dropout/u);
});
