import { readFileSync } from "node:fs";
import { AdamW, clipGradNorm, groupAdvantages, k3Kl, learningRateAt, policyLoss, TrainerError, type PolicyLossConfig, type ScheduleType } from "@dramascope/trainer";
import { describe, expect, it } from "vitest";

const golden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/trainer/${name}`, import.meta.url), "utf8")) as T;
const near = (actual: number, expected: number, tolerance: number, where = ""): void => expect(Math.abs(actual - expected), where).toBeLessThanOrEqual(tolerance * (1 + Math.abs(expected)));

describe("advantages", () => {
  interface Case { id: string; rewards: (number | null)[][]; weights: number[]; numGenerations: number; scaleRewards: "group" | "batch" | "none"; aggregation: string; advantages: (number | null)[]; paperSampleStd?: (number | null)[]; paperPopulationStd?: (number | null)[]; metrics: Record<string, number> }
  const cases = golden<{ cases: Case[] }>("advantages.json").cases.filter(({ aggregation }) => aggregation === "sum_then_normalize");
  it.each(cases)("$id", ({ rewards, weights, numGenerations, scaleRewards, advantages, paperSampleStd, paperPopulationStd, metrics }) => {
    const ours = groupAdvantages(rewards, weights, { numGenerations, scaleRewards });
    advantages.forEach((value, i) => near(ours.advantages[i]!, value ?? 0, 1e-7));
    near(ours.fracRewardZeroStd, metrics["frac_reward_zero_std"]!, 1e-7);
    near(ours.reward, metrics["reward"]!, 1e-7);
    for (const [std, expected] of [["sample", paperSampleStd], ["population", paperPopulationStd]] as const) {
      if (!expected || scaleRewards !== "group") continue;
      const paper = groupAdvantages(rewards, weights, { numGenerations, convention: "paper", std });
      expected.forEach((value, i) => near(paper.advantages[i]!, value ?? 0, 1e-7));
    }
  });

  it("refuses groups that are not whole", () => {
    expect(() => groupAdvantages([[1], [0], [1]], [1], { numGenerations: 2 })).toThrow(TrainerError);
  });
});

describe("policy loss", () => {
  interface Batch { id: string; mask: number[][]; old: number[][]; logp: number[][]; ref: number[][]; advantages: number[] }
  const { batches, cases } = golden<{ batches: Batch[]; cases: { id: string; batch: string; config: PolicyLossConfig & { useOld: boolean }; loss: number; dlogp: number[][] }[] }>("losses.json");
  it.each(cases)("$id", ({ batch, config, loss, dlogp }) => {
    const { mask, old, logp, ref, advantages } = batches.find(({ id }) => id === batch)!;
    const ours = policyLoss({ rows: logp.length, cols: logp[0]!.length, logp: logp.flat(), old: config.useOld ? old.flat() : null, ref: ref.flat(), advantages, mask: mask.flat() }, config);
    const tolerance = config.lossType === "sapo" ? 1e-6 : 1e-9;
    near(ours.loss, loss, tolerance);
    dlogp.flat().forEach((value, i) => near(ours.dLogp[i]!, value, tolerance));
  });

  it("gives k3 and its gradient from 1e-8 to 40", () => {
    for (const { logp, ref, klExpm1, dkl_dlogp: gradient } of golden<{ rows: { logp: number; ref: number; klExpm1: number; dkl_dlogp: number }[] }>("kl.json").rows) {
      const { value, grad } = k3Kl(logp, ref);
      expect(Math.abs(value - klExpm1)).toBeLessThanOrEqual(1e-9 * Math.abs(klExpm1));
      near(grad, gradient, 1e-9);
    }
  });
});

describe("optimiser", () => {
  interface Case { id: string; schedule: { type: ScheduleType; warmup: number; total: number; kwargs?: { min_lr_rate: number } }; hyper: { lr: number; beta1: number; beta2: number; eps: number; weightDecay: number; maxGradNorm: number }; f64: { lr: number[]; gradNorm: number[]; params: number[][][] } }
  const { initial, grads, cases } = golden<{ initial: unknown[]; grads: unknown[][]; cases: Case[] }>("optimizer.json");
  const flat = (value: unknown): number[] => (Array.isArray(value) ? (value as unknown[]).flat(Infinity) : [value]) as number[];
  it.each(cases)("$id", ({ schedule, hyper, f64 }) => {
    const params = initial.map((value) => Float64Array.from(flat(value)));
    const optimizer = new AdamW({ beta1: hyper.beta1, beta2: hyper.beta2, eps: hyper.eps, weightDecay: hyper.weightDecay });
    f64.lr.forEach((rate, step) => {
      const ours = learningRateAt({ type: schedule.type, warmupSteps: schedule.warmup, totalSteps: schedule.total, minLrRate: schedule.kwargs?.min_lr_rate ?? 0 }, hyper.lr, step);
      near(ours, rate, 1e-12);
      const gradients = grads[step]!.map((value) => Float64Array.from(flat(value)));
      near(clipGradNorm(gradients, hyper.maxGradNorm), f64.gradNorm[step]!, 1e-10);
      optimizer.step(params, gradients, ours);
      params.forEach((values, i) => flat(f64.params[step]![i]).forEach((value, k) => near(values[k]!, value, 1e-10, `step ${step}`)));
    });
  });
});
