import { readFileSync } from "node:fs";
import type { Sample } from "@dramascope/qwen-vl";
import type { RewardBreakdown } from "@dramascope/schema";
import { AdamW, clipGradNorm, groupAdvantages, k3Kl, learningRateAt, policyLoss, type LossType, type PolicyLossConfig, type PolicyLossInput, type ScheduleType } from "@dramascope/trainer";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clampedK3Kl } from "../src/kl.ts";
import { generationMetrics, REWARD_PARTS } from "../src/metrics.ts";
import { tallyContents } from "../src/policy-loss.ts";
import { addTallies, emptyTally, policyMetrics } from "../src/policy-metrics.ts";

const golden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/trainer/${name}`, import.meta.url), "utf8")) as T;
const near = (actual: number, expected: number, tolerance: number, where = ""): void => expect(Math.abs(actual - expected), where).toBeLessThanOrEqual(tolerance * (1 + Math.abs(expected)));

describe("advantages", () => {
  interface Case { id: string; rewards: (number | null)[][]; weights: number[]; numGenerations: number; scaleRewards: "group" | "batch" | "none"; aggregation: "sum_then_normalize" | "normalize_then_sum"; advantages: (number | null)[]; paperSampleStd?: (number | null)[]; paperPopulationStd?: (number | null)[]; metrics: Record<string, number> }
  const { cases } = golden<{ cases: Case[] }>("advantages.json");
  it.each(cases)("$id", ({ rewards, weights, numGenerations, scaleRewards, aggregation, advantages, paperSampleStd, paperPopulationStd, metrics }) => {
    const ours = groupAdvantages(rewards, weights, { numGenerations, scaleRewards, aggregation });
    advantages.forEach((value, i) => near(ours.advantages[i]!, value ?? 0, 1e-7));
    for (const [std, expected] of [["sample", paperSampleStd], ["population", paperPopulationStd]] as const) {
      const paper = groupAdvantages(rewards, weights, { numGenerations, convention: "paper", std });
      expected?.forEach((value, i) => near(paper.advantages[i]!, value ?? 0, 1e-7));
    }
    const scores = rewards.map(([caption = null, comments = null, accuracy = null, format = null]): RewardBreakdown => ({ caption, comments, accuracy, format, total: null, reasons: [], version: "x" }));
    const sample: Sample = { ids: Int32Array.of(1), text: "", logProbs: new Float32Array(1), finishReason: "stop" };
    const logged = generationMetrics([scores.map(() => sample)], scores, ours);
    const names = new Map(REWARD_PARTS.map((name, k) => [`rewards/r${k}`, `rewards/${name}`]));
    for (const [name, value] of Object.entries(metrics)) near(logged[name.replace(/^rewards\/r\d/u, (part) => names.get(part)!)] ?? Number.NaN, value, 1e-7, name);
  });

  const equal = cases.find(({ id }) => id.startsWith("all-equal-16/"))!;
  it.each(["trl", "paper"] as const)("of equal rewards are exactly 0 by the convention %s", (convention) => {
    for (const scaleRewards of ["group", "batch", "none"] as const) {
      for (const aggregation of ["sum_then_normalize", "normalize_then_sum"] as const) {
        // Equal sums may differ in their last places.
        const { advantages, fracRewardZeroStd } = groupAdvantages(equal.rewards.map((row, i) => (i % 2 ? row : [row[0]! + 1e-12, ...row.slice(1)])), equal.weights, { numGenerations: 16, convention, scaleRewards, aggregation });
        expect([...advantages].every((value) => value === 0)).toBe(true);
        expect(fracRewardZeroStd).toBe(1);
      }
    }
  });

  it("sum to 0 in every group and do not mind a shift of its rewards", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 4, maxLength: 4 }), fc.double({ min: -5, max: 5, noNaN: true }), (values, shift) => {
        const of = (rewards: number[]): Float64Array => groupAdvantages(rewards.map((value) => [value]), [1], { numGenerations: 4 }).advantages;
        const ours = of(values);
        near(ours.reduce((a, b) => a + b, 0), 0, 1e-9);
        // Next to the range at which rewards count as equal a shift may decide.
        if (Math.max(...values) - Math.min(...values) > 1e-6) of(values.map((value) => value + shift)).forEach((value, i) => near(value, ours[i]!, 1e-6));
      }),
    );
  });

  it("have no mean where nothing was scored", () => {
    const { advantages, reward, rewardStd, fracRewardZeroStd } = groupAdvantages([[null], [null]], [1], { numGenerations: 2 });
    expect([[...advantages], reward, rewardStd, fracRewardZeroStd]).toEqual([[0, 0], Number.NaN, Number.NaN, 0]);
  });

  it.each([
    ["groups that are not whole", [[1], [0], [1]], "3 rewards do not make whole groups of 2"],
    ["rows without a reward for each weight", [[1], []], "completion 1 has 0 reward components for 1 weights"],
  ])("refuse %s", (_, rewards, message) => {
    expect(() => groupAdvantages(rewards, [1], { numGenerations: 2 })).toThrow(expect.objectContaining({ name: "TrainerError", code: "REWARD_GROUPS", message }));
  });
});

interface LossBatch { id: string; mask: number[][]; old: number[][]; logp: number[][]; ref: number[][]; entropy: number[][]; advantages: number[] }
interface LossCase { id: string; batch: string; config: PolicyLossConfig & { useOld: boolean }; loss: number; dlogp: number[][]; metrics: Record<string, number> }
const losses = golden<{ batches: LossBatch[]; cases: LossCase[] }>("losses.json");
const lossInput = ({ mask, old, logp, ref, entropy, advantages }: LossBatch, useOld: boolean): PolicyLossInput =>
  ({ rows: logp.length, cols: logp[0]!.length, logp: logp.flat(), old: useOld ? old.flat() : null, ref: ref.flat(), entropy: entropy.flat(), advantages, mask: mask.flat() });
const batchOf = (id: string): LossBatch => losses.batches.find((batch) => batch.id === id)!;

describe("policy loss", () => {
  it.each(losses.cases)("$id", ({ batch, config, loss, dlogp, metrics }) => {
    const ours = policyLoss(lossInput(batchOf(batch), config.useOld), config);
    const tolerance = config.lossType === "sapo" ? 1e-6 : 1e-9;
    near(ours.loss, loss, tolerance);
    dlogp.flat().forEach((value, i) => near(ours.dLogp[i]!, value, tolerance));
    expect(Object.keys(ours.metrics).sort()).toEqual(Object.keys(metrics).sort());
    for (const [name, value] of Object.entries(metrics)) near(ours.metrics[name]!, value, 1e-6, name);
  });

  it.each(losses.cases)("of the rows one by one adds up to $id", ({ batch, config }) => {
    const whole = lossInput(batchOf(batch), config.useOld);
    const expected = policyLoss(whole, config);
    const tokens = Array.from(whole.mask).reduce((a, b) => a + b, 0);
    let [loss, tally] = [0, emptyTally()];
    for (let row = 0; row < whole.rows; row++) {
      const of = (values: ArrayLike<number>): number[] => Array.from(values).slice(row * whole.cols, (row + 1) * whole.cols);
      const part = policyLoss(
        { ...whole, rows: 1, logp: of(whole.logp), old: whole.old && of(whole.old), ref: of(whole.ref!), entropy: of(whole.entropy!), mask: of(whole.mask), advantages: [whole.advantages[row]!], window: { rows: whole.rows, tokens } },
        config,
      );
      loss += part.loss;
      tally = addTallies(tally, part.tally);
      part.dLogp.forEach((value, i) => near(value, expected.dLogp[row * whole.cols + i]!, 1e-12));
    }
    near(loss, expected.loss, 1e-12);
    const metrics = policyMetrics(tally, tallyContents(config, true));
    for (const [name, value] of Object.entries(expected.metrics)) near(metrics[name]!, value, 1e-12, name);
  });

  // cispo holds its weight constant, so that differences of the loss are not its gradient.
  const types: LossType[] = ["grpo", "bnpo", "dr_grpo", "dapo", "sapo", "luspo"];
  it.each(types.flatMap((lossType) => (["token", "sequence"] as const).map((importanceSamplingLevel) => ({ lossType, importanceSamplingLevel }))))("$lossType by $importanceSamplingLevel has the gradient of its differences", ({ lossType, importanceSamplingLevel }) => {
    const input = lossInput(batchOf("ragged"), true);
    const config: PolicyLossConfig = { lossType, importanceSamplingLevel, epsilon: 0.2, epsilonHigh: 0.28, delta: 1.5, beta: 0.04, biasCorrectionKl: true, klClamp: [20, 10], maxCompletionLength: 12, gradientAccumulationSteps: 1, stepsPerGeneration: 1, numItemsInBatch: 22 };
    const { dLogp } = policyLoss(input, config);
    const step = 1e-6;
    const at = (i: number, shift: number): number => policyLoss({ ...input, logp: Array.from(input.logp, (value, k) => (k === i ? value + shift : value)) }, config).loss;
    dLogp.forEach((value, i) => near((at(i, step) - at(i, -step)) / (2 * step), value, 1e-7, `entry ${i}`));
  });

  it("is 0 with its gradient where advantages are 0 and there is no KL term", () => {
    for (const { config } of losses.cases.filter(({ config: { beta } }) => beta === 0)) {
      const input = lossInput(batchOf("ragged"), config.useOld);
      const { loss, dLogp } = policyLoss({ ...input, advantages: new Float64Array(input.rows) }, config);
      expect(Math.abs(loss)).toBe(0);
      expect(dLogp.every((value) => Math.abs(value) === 0)).toBe(true);
    }
  });

  it("gives k3 and its gradient from 1e-9 to 40", () => {
    for (const { logp, ref, klExpm1, dkl_dlogp: gradient } of golden<{ rows: { logp: number; ref: number; klExpm1: number; dkl_dlogp: number }[] }>("kl.json").rows) {
      const { value, grad } = k3Kl(logp, ref);
      expect(Math.abs(value - klExpm1)).toBeLessThanOrEqual(1e-9 * Math.abs(klExpm1));
      near(grad, gradient, 1e-9);
    }
  });

  it.each([
    [-1, -1.5, "free"], [-1, -0.5, "free"], [-30, -1, "estimate"], [-1, -30, "estimate"], [-5, -1, "estimate"], [-1, -9, "free"],
  ] as const)("holds k3 of %d against %d: %s", (logp, ref, bound) => {
    const free = k3Kl(logp, ref);
    const held = clampedK3Kl(logp, ref, [20, 10]);
    expect(held).toEqual(bound === "free" ? free : { value: 10, grad: 0 });
  });
});

describe("optimiser", () => {
  interface State<P> { lr: number[]; gradNorm: number[]; params: P; expAvg: unknown[]; expAvgSq: unknown[] }
  interface Case { id: string; schedule: { type: ScheduleType; warmup: number; total: number; kwargs?: { min_lr_rate: number } }; hyper: { lr: number; beta1: number; beta2: number; eps: number; weightDecay: number; maxGradNorm: number }; f64: State<unknown[][]>; f32: State<unknown[][]> }
  const { initial, grads, cases } = golden<{ initial: unknown[]; grads: unknown[][]; cases: Case[] }>("optimizer.json");
  const flat = (value: unknown): number[] => (Array.isArray(value) ? (value as unknown[]).flat(Infinity) : [value]) as number[];

  /** Runs all steps; `made` makes the arrays of one precision. */
  function run<A extends Float32Array | Float64Array>({ schedule, hyper, f64 }: Case, made: (values: number[]) => A, onStep: (step: number, params: A[], rate: number, norm: number) => void): AdamW {
    const params = initial.map((value) => made(flat(value)));
    const optimizer = new AdamW({ beta1: hyper.beta1, beta2: hyper.beta2, eps: hyper.eps, weightDecay: hyper.weightDecay });
    f64.lr.forEach((_, step) => {
      const rate = learningRateAt({ type: schedule.type, warmupSteps: schedule.warmup, totalSteps: schedule.total, minLrRate: schedule.kwargs?.min_lr_rate ?? 0 }, hyper.lr, step);
      const gradients = grads[step]!.map((value) => made(flat(value)));
      const norm = clipGradNorm(gradients as Float64Array[], hyper.maxGradNorm);
      optimizer.step(params as Float64Array[], gradients as Float64Array[], rate);
      onStep(step, params, rate, norm);
    });
    return optimizer;
  }
  const sameAll = (actual: readonly ArrayLike<number>[], expected: readonly unknown[], tolerance: number, where: string): void =>
    expected.forEach((one, i) => flat(one).forEach((value, k) => near(actual[i]![k]!, value, tolerance, where)));

  it.each(cases)("$id in doubles", (one) => {
    const { f64 } = one;
    const optimizer = run(one, (values) => Float64Array.from(values), (step, params, rate, norm) => {
      near(rate, f64.lr[step]!, 1e-12);
      near(norm, f64.gradNorm[step]!, 1e-10);
      sameAll(params, f64.params[step]!, 1e-10, `step ${step}`);
    });
    sameAll(optimizer.state()!.m, f64.expAvg, 1e-10, "first moments");
    sameAll(optimizer.state()!.v, f64.expAvgSq, 1e-10, "second moments");
  });

  it.each(cases)("$id in float32", (one) => {
    const { f32 } = one;
    let last: Float32Array[] = [];
    const optimizer = run(one, (values) => Float32Array.from(values), (step, params, _rate, norm) => {
      near(norm, f32.gradNorm[step]!, 3e-6);
      last = params;
    });
    sameAll(last, f32.params.at(-1)!, 3e-6, "parameters");
    sameAll(optimizer.state()!.m, f32.expAvg, 3e-6, "first moments");
    sameAll(optimizer.state()!.v, f32.expAvgSq, 3e-6, "second moments");
  });
});
