import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadQwenVl, type Prompt, type QwenVl, type TrainableSet, type VisionItem } from "@dramascope/qwen-vl";
import { createRandom, type SftSample } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { parseGrpoConfig, trainSft, type GrpoConfig, type GrpoConfigInput } from "@dramascope/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { policyStep, type Generation } from "../src/policy-pass.ts";
import { overlay, promptOf, reference, relativeError, watch, type Tensors } from "./reference-run.ts";

let tf: Awaited<ReturnType<typeof loadTensorFlow>>["tf"];
let model: QwenVl;
let set: TrainableSet;
beforeAll(async () => {
  ({ tf } = await loadTensorFlow({ threads: 1 }));
  model = await loadQwenVl(reference("tiny-vl"), { tf });
  await model.attachLora(reference("adapters/sft"), { name: "policy" });
  set = model.trainable("lora");
});
afterAll(() => model.dispose());

const random = createRandom(1, { stream: 7 });
const numbers = (count: number, scale = 1): Float32Array => Float32Array.from({ length: count }, () => scale * random.normal());
const tokens = (count: number): Int32Array => Int32Array.from({ length: count }, () => 3 + random.below(297));

const GRIDS = [[2, 4, 4], [1, 4, 8], [1, 4, 4], [3, 4, 4], [1, 8, 4]] as const;
const videos = GRIDS.map((grid): VisionItem => ({ kind: "video", grid, patches: numbers(grid[0] * grid[1] * grid[2] * 1176), secondsPerGrid: 1 }));

function videoPrompt(): Prompt {
  const { visionStartTokenId, videoTokenId, visionEndTokenId } = model.config;
  const parts = GRIDS.flatMap(([t, h, w]) => [...tokens(2), visionStartTokenId, ...new Array<number>((t * h * w) / 4).fill(videoTokenId), visionEndTokenId]);
  return promptOf(model, [...tokens(3), ...parts, ...tokens(5)], videos);
}

const LENGTHS = [9, 2, 14, 5];

/** A generation whose ratios, advantages and reference differ from completion to completion. */
function generationOf(prompts: readonly Prompt[], lengths: readonly number[]): Generation {
  const rows = (): Float32Array[][] => prompts.map(() => lengths.map((length) => numbers(length, 0.3).map((value) => value - 5.7)));
  return {
    sampleIds: prompts.map((_, p) => `s${p}`),
    prompts,
    completions: prompts.map(() => lengths.map(tokens)),
    counted: prompts.map(() => lengths.map(() => true)),
    sampled: rows(),
    advantages: Float64Array.from(numbers(prompts.length * lengths.length)),
    old: rows(),
    reference: rows(),
  };
}

const configOf = (settings: Partial<GrpoConfigInput> = {}): GrpoConfig =>
  parseGrpoConfig({ runDir: "x", promptsPerStep: 1, numGenerations: LENGTHS.length, epsilon: 0.5, epsilonHigh: 0.5, biasCorrectionKl: true, ...settings });

interface Outcome {
  loss: number;
  gradients: Tensors;
  logProbs: Float32Array[][];
  metrics: Record<string, number | null>;
}

/** Loss and adapter gradients of optimiser steps added up. */
async function run(config: GrpoConfig, generation: Generation, options: { model?: QwenVl; steps?: number } = {}): Promise<Outcome> {
  set.zeroGradients();
  const watched = watch(options.model ?? model);
  let loss = 0;
  let metrics: Outcome["metrics"] = {};
  for (let local = 0; local < (options.steps ?? 1); local++) {
    const step = await policyStep(config, watched.model, generation, local, 0);
    loss += step.loss;
    metrics = step.metrics;
  }
  const read = await set.readGradients();
  return { loss, metrics, gradients: new Map(set.names.map((name, i) => [name, read[i]!])), logProbs: watched.passes.map(({ logProbs }) => logProbs) };
}

/** Largest of all tensors' differences, each as a share of its norm. */
function worst(actual: Tensors, expected: Tensors): number {
  return Math.max(...[...expected].map(([name, values]) => relativeError(new Map([[name, actual.get(name)!]]), new Map([[name, values]]))));
}

/** Loss and the gradient as a whole agree to `tolerance`, every single tensor to 1e-5: its sums run in another order. */
function same(actual: Outcome, expected: Outcome, tolerance: number): void {
  expect(Math.abs(actual.loss - expected.loss)).toBeLessThanOrEqual(tolerance * (1 + Math.abs(expected.loss)));
  expect(relativeError(actual.gradients, expected.gradients)).toBeLessThanOrEqual(tolerance);
  expect(worst(actual.gradients, expected.gradients)).toBeLessThanOrEqual(1e-5);
}

/** The model with every completion beside a copy of the prompt, in one pass or one by one. */
const unshared = (way: "one pass" | "one by one"): QwenVl =>
  overlay(model, {
    logProbsWithGradient: async (prompt, completions, { completionChunk: _, ...options }) => {
      const groups = completions.map((completion) => ({ prompt, completions: [completion] }));
      const forward = await model.groupLogProbs(groups, { entropy: true });
      const given = options.gradient(forward.logProbs.flat(), forward.entropy!.flat());
      const passes = way === "one pass" ? [groups] : groups.map((group) => [group]);
      let at = 0;
      const logProbs: Float32Array[] = [];
      for (const pass of passes) {
        const start = at;
        at += pass.length;
        const result = await model.groupLogProbsWithGradient(pass, { ...options, gradient: () => ({ loss: 0, dLogProbs: pass.map((_, i) => [given.dLogProbs[start + i]!]) }) });
        logProbs.push(...result.logProbs.flat());
      }
      return { loss: given.loss, logProbs };
    },
  });

describe.each(["text", "five videos"])("a prompt of %s", (kind) => {
  const make = (): Prompt => (kind === "text" ? promptOf(model, [...tokens(23)]) : videoPrompt());

  it.each(["one pass", "one by one"] as const)("shared by its completions gives what copies of it give in %s", async (way) => {
    const generation = generationOf([make()], LENGTHS);
    const [shared, copies] = [await run(configOf(), generation), await run(configOf(), generation, { model: unshared(way) })];
    same(shared, copies, 1e-5);
    shared.logProbs[0]!.forEach((row, i) => row.forEach((value, t) => expect(Math.abs(value - copies.logProbs[0]![i]![t]!)).toBeLessThan(1e-5)));
    expect([...shared.gradients.values()].every((values) => values.some((value) => value !== 0))).toBe(true);
  });

  it.each([1, 3, 4])("shared with %d completions computed at once gives what copies of it give", async (completionChunk) => {
    const generation = generationOf([make()], LENGTHS);
    const [chunked, copies] = [await run(configOf({ completionChunk }), generation), await run(configOf(), generation, { model: unshared("one pass") })];
    same(chunked, copies, 1e-5);
    chunked.logProbs[0]!.forEach((row, i) => row.forEach((value, t) => expect(Math.abs(value - copies.logProbs[0]![i]![t]!)).toBeLessThan(1e-5)));
  });

  it("does not mind the order of its completions", async () => {
    const generation = generationOf([make()], LENGTHS);
    const order = [2, 0, 3, 1];
    const turned = <T>(rows: readonly (readonly T[])[]): T[][] => rows.map((row) => order.map((i) => row[i]!));
    const other: Generation = { ...generation, completions: turned(generation.completions), sampled: turned(generation.sampled), old: turned(generation.old!), reference: turned(generation.reference!), advantages: Float64Array.from(order, (i) => generation.advantages[i]!) };
    same(await run(configOf(), other), await run(configOf(), generation), 1e-6);
  });

  it("does not mind how far completions are padded, nor what a completion says that does not count", async () => {
    // dapo divides by tokens, so that one more completion without any changes nothing.
    const generation = generationOf([make()], LENGTHS);
    const expected = await run(configOf({ lossType: "dapo" }), generation);
    for (const length of [3, 31]) {
      const extra = <T>(rows: readonly (readonly T[])[] | null, one: T): T[][] => rows!.map((row) => [...row, one]);
      const longer: Generation = {
        ...generation,
        completions: extra(generation.completions, tokens(length)), counted: extra(generation.counted, false), sampled: extra(generation.sampled, numbers(length)), old: extra(generation.old, numbers(length)), reference: extra(generation.reference, numbers(length)),
        advantages: Float64Array.of(...generation.advantages, 3),
      };
      same(await run(configOf({ lossType: "dapo", numGenerations: 5 }), longer), expected, 1e-6);
    }
  });
});

describe("micro-batches", () => {
  const prompts = (): Prompt[] => [4, 21, 11, 8].map((length) => promptOf(model, [...tokens(length)]));

  it.each(["grpo", "dapo", "dr_grpo", "luspo"] as const)("of %s add up to the whole batch", async (lossType) => {
    const generation = generationOf(prompts(), LENGTHS);
    same(await run(configOf({ lossType, promptsPerStep: 4, gradientAccumulationSteps: 4 }), generation), await run(configOf({ lossType, promptsPerStep: 4 }), generation), 1e-6);
  });

  it("of bnpo are averaged, which is another loss where lengths differ", async () => {
    const generation = { ...generationOf(prompts(), LENGTHS), completions: [1, 2, 12, 30].map((length) => LENGTHS.map(() => tokens(length))), old: null, reference: null };
    const config = { lossType: "bnpo", promptsPerStep: 4, beta: 0 } as const;
    const [whole, cut] = [await run(configOf(config), generation), await run(configOf({ ...config, gradientAccumulationSteps: 4 }), generation)];
    expect(Math.abs(whole.loss - cut.loss)).toBeGreaterThan(1e-3);
  });

  it.each(["grpo", "dapo"] as const)("of several optimiser steps of %s hold a part of the prompts each", async (lossType) => {
    const generation = generationOf(prompts(), LENGTHS);
    const whole = await run(configOf({ lossType, promptsPerStep: 4 }), generation);
    const parts = await run(configOf({ lossType, promptsPerStep: 4, stepsPerGeneration: 4, gradientAccumulationSteps: 2 }), generation, { steps: 2 });
    // Each step's loss is a mean over its own half.
    expect(Math.abs(parts.loss / 2 - whole.loss)).toBeLessThan(1e-6);
    for (const values of parts.gradients.values()) values.forEach((value, i) => (values[i] = value / 2));
    expect(worst(parts.gradients, whole.gradients)).toBeLessThan(1e-6);
  });
});

it("a group of equal rewards is left out without a trace", async () => {
  const generation = { ...generationOf([7, 12].map((length) => promptOf(model, [...tokens(length)])), LENGTHS), reference: null };
  generation.advantages.fill(0, LENGTHS.length);
  const settings = { beta: 0, promptsPerStep: 2 } as const;
  const [skipped, whole] = [await run(configOf(settings), generation), await run(configOf({ ...settings, skipZeroStd: false }), generation)];
  expect([skipped.logProbs.length, whole.logProbs.length]).toEqual([1, 2]);
  same(skipped, whole, 1e-6);
  generation.advantages.fill(0);
  const none = await run(configOf({ ...settings, skipZeroStd: false }), generation);
  expect(Math.abs(none.loss)).toBe(0);
  expect([...none.gradients.values()].every((values) => values.every((value) => value === 0))).toBe(true);
});

it("clipping and KL are counted over the tokens of the whole step", async () => {
  const generation = generationOf([5, 9].map((length) => promptOf(model, [...tokens(length)])), LENGTHS);
  const { metrics, logProbs } = await run(configOf({ promptsPerStep: 2, biasCorrectionKl: false }), generation);
  let [kl, low, high, count, difference] = [0, 0, 0, 0, 0];
  logProbs.forEach((rows, p) => rows.forEach((row, i) => row.forEach((value, t) => {
    const [old, ref, sampled] = [generation.old, generation.reference, generation.sampled].map((lists) => lists![p]![i]![t]!) as [number, number, number];
    const advantage = generation.advantages[p * LENGTHS.length + i]!;
    kl += Math.expm1(ref - value) - (ref - value);
    if (Math.exp(value - old) < 0.5 && advantage < 0) low++;
    if (Math.exp(value - old) > 1.5 && advantage > 0) high++;
    difference = Math.max(difference, Math.abs(sampled - old));
    count++;
  })));
  expect(low * high).toBeGreaterThan(0);
  expect(metrics["kl"]).toBeCloseTo(kl / count, 6);
  expect(metrics["clip_ratio/low_mean"]).toBeCloseTo(low / count, 12);
  expect(metrics["clip_ratio/high_mean"]).toBeCloseTo(high / count, 12);
  expect(metrics["sampling/sampling_logp_difference/max"]).toBeCloseTo(difference, 6);
});

it("twenty steps hold as many tensors as one", async () => {
  const generation = generationOf([promptOf(model, [...tokens(6)])], LENGTHS);
  await run(configOf(), generation);
  const before = tf.memory().numTensors;
  for (let step = 0; step < 20; step++) {
    await run(configOf(), generation);
    expect(tf.memory().numTensors).toBe(before);
  }
});

describe("SFT", () => {
  const answers = [1, 40, 3, 2, 25, 4, 9, 2];
  const questions = answers.map((_, i) => 4 + 5 * (i % 3));

  /** Gradients of one step over eight samples, computed in calls of at most `maxBatchTokens`, and the log-probabilities of each answer's tokens. */
  async function gradients(maxBatchTokens: number): Promise<{ gradients: Tensors; loss: number; passes: number; logProbs: Map<string, Float32Array> }> {
    const fixed = createRandom(3, { stream: 1 });
    const draw = (count: number): number[] => Array.from({ length: count }, () => 3 + fixed.below(297));
    const texts = answers.map((count) => draw(count - 1));
    const asked = questions.map(draw);
    let passes = 0;
    let loss = 0;
    const logProbs = new Map<string, Float32Array>();
    const { model: watched, gradients: read } = watch(
      overlay(model, {
        groupLogProbsWithGradient: async (...args) => {
          passes++;
          const result = await model.groupLogProbsWithGradient(...args);
          loss += result.loss;
          args[0].forEach(({ completions }, i) => logProbs.set(Array.from(completions[0]!).join(), result.logProbs[i]![0]!));
          return result;
        },
      }),
      { tokenizer: overlay(model.tokenizer, { encode: (text: string) => texts[Number(text)]! }), generationConfig: { eosTokenIds: [2] } },
    );
    const samples = answers.map((_, i): SftSample => ({ kind: "sft", sampleId: String(i), messages: [{ role: "user", content: "x" }], videos: [], target: String(i) }));
    await trainSft({ runDir: join(await mkdtemp(join(tmpdir(), "dramascope-cut-")), "run"), adapter: reference("adapters/sft"), lora: { dropout: 0 }, epochs: 1, batchSize: 8, maxBatchTokens }, samples, {
      model: watched,
      encoder: { encode: ({ sampleId }) => Promise.resolve(promptOf(model, asked[Number(sampleId)]!)), warm: () => Promise.resolve(), dispose: () => undefined },
    });
    return { gradients: read[0]!, loss, passes, logProbs };
  }

  it("gives the same one by one and in calls of several, padded or not", async () => {
    const alone = await gradients(1);
    expect([alone.passes, alone.logProbs.size]).toEqual([8, 8]);
    for (const [maxBatchTokens, passes] of [[64, 5], [4096, 1]] as const) {
      const together = await gradients(maxBatchTokens);
      expect(together.passes).toBe(passes);
      expect(Math.abs(together.loss - alone.loss)).toBeLessThan(1e-6 * alone.loss);
      expect(relativeError(together.gradients, alone.gradients)).toBeLessThan(1e-6);
      for (const [answer, values] of alone.logProbs) values.forEach((value, t) => expect(Math.abs(together.logProbs.get(answer)![t]! - value)).toBeLessThan(1e-5));
    }
  });
});
