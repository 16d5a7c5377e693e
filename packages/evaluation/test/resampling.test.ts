import { bootstrapCi, createRandom, holm, mcnemar, pairedBootstrap, permutationTest, type McNemar, type TrioMetric } from "@dramascope/evaluation";
import { describe, expect, it } from "vitest";
import { agree, code, golden } from "./goldens.ts";

type Expected = Record<TrioMetric, { mean: number; lo: number; hi: number; undefined: number }>;
interface Resampling {
  rng: { seed: number; stream: number; next: number[] }[];
  below1000: { seed: number; values: number[] };
  below3e9: { seed: number; values: number[] };
  bootstrap: { gold: number[]; pred: number[]; B: number; seed: number; stratify: boolean; expect: Expected; largeRun: Record<TrioMetric, { mean: number; lo: number; hi: number; sd: number }> }[];
  paired: { gold: number[]; a: number[]; b: number[]; mcnemar: McNemar; exact?: Record<TrioMetric, { difference: number; p: number }>; seeded?: Partial<Record<TrioMetric, { difference: number; p: number }>> }[];
  holm: { p: number[]; adjusted: number[] }[];
}
const data = golden<Resampling>("resampling.json");
const TRIO = ["accuracy", "mse", "pcc"] as const;

describe("the generator", () => {
  it("draws the reference integers", () => {
    for (const { seed, stream, next } of data.rng) {
      const random = createRandom(seed, { stream });
      expect(next.map(() => random.next())).toEqual(next);
    }
    for (const [n, { seed, values }] of [[1000, data.below1000], [3e9, data.below3e9]] as const) {
      const random = createRandom(seed);
      expect(values.map(() => random.below(n))).toEqual(values);
    }
  });
});

describe("bootstrap", () => {
  it("is exact for the seed", () => {
    for (const { gold, pred, B, seed, stratify, expect: expected } of data.bootstrap) {
      const intervals = bootstrapCi(gold, pred, { replicates: B, seed, stratify });
      for (const metric of TRIO) {
        const { mean, lo, hi, undefined: missing } = expected[metric];
        agree(intervals[metric], { mean, low: lo, high: hi, undefined: missing }, metric);
      }
    }
  });

  it("lies by a free large run, percentile and BCa", () => {
    for (const { gold, pred, stratify, largeRun } of data.bootstrap) {
      for (const method of ["percentile", "bca"] as const) {
        const intervals = bootstrapCi(gold, pred, { replicates: 4000, seed: 99, stratify, method });
        for (const metric of TRIO) {
          const { lo, hi, sd } = largeRun[metric];
          const near = method === "percentile" ? 0.2 : 0.6; // BCa shifts the ends on purpose
          expect(Math.abs(intervals[metric].low! - lo), `${method} ${metric} low`).toBeLessThan(near * sd);
          expect(Math.abs(intervals[metric].high! - hi), `${method} ${metric} high`).toBeLessThan(near * sd);
        }
      }
    }
  });

  it("moves the ends of a skewed figure with BCa", () => {
    const gold = Array.from({ length: 40 }, (_, i) => 1 + (i % 5));
    const predictions = gold.map((label, i) => (i === 0 ? 5 : label + ((i % 3) - 1) / 4));
    const percentile = bootstrapCi(gold, predictions, { seed: 3 });
    const bca = bootstrapCi(gold, predictions, { seed: 3, method: "bca" });
    expect(bca.mse.high!).toBeGreaterThan(percentile.mse.high!);
    expect(bootstrapCi(gold, gold, { method: "bca", replicates: 50 }).accuracy).toEqual({ mean: 1, low: 1, high: 1, undefined: 0 });
  });

  it("counts a missing answer as wrong, and leaves it out of the other figures", () => {
    const gold = Array.from({ length: 60 }, (_, i) => 1 + (i % 5));
    const some = gold.map((label, i) => (i % 2 === 0 ? label : Number.NaN));
    const { accuracy, mse, pcc } = bootstrapCi(gold, some, { replicates: 200 });
    expect(accuracy.mean).toBeCloseTo(0.5, 1);
    expect(mse).toMatchObject({ mean: 0, low: 0, high: 0 });
    expect(pcc.low).toBeCloseTo(1, 12);
  });

  it("leaves replicates without a correlation out and counts them", () => {
    const { pcc } = bootstrapCi([1, 1, 2], [1, 2, 2], { replicates: 500 });
    expect(pcc.undefined).toBeGreaterThan(100);
    expect(bootstrapCi([3, 3], [1, 2], { replicates: 20 }).pcc).toEqual({ mean: null, low: null, high: null, undefined: 20 });
    expect(bootstrapCi([], [], { replicates: 3 }).accuracy).toEqual({ mean: null, low: null, high: null, undefined: 3 });
  });
});

describe("pairs", () => {
  it("are tested as the reference does", () => {
    for (const { gold, a, b, mcnemar: expected, exact, seeded } of data.paired) {
      agree(mcnemar({ gold, a, b }), expected);
      for (const metric of TRIO) {
        if (exact) agree(permutationTest({ gold, a, b }, { metric, exact: true }), exact[metric], `exact ${metric}`);
        if (seeded?.[metric]) agree(permutationTest({ gold, a, b }, { metric, replicates: gold.length > 100 ? 499 : 999, seed: 11 }), seeded[metric], `seeded ${metric}`);
      }
    }
    for (const { p, adjusted } of data.holm) agree(holm(p), adjusted);
  });

  it("show a clear gain and no gain where there is none", () => {
    const random = createRandom(5);
    const gold = Array.from({ length: 300 }, (_, i) => 1 + (i % 5));
    const noisy = (share: number): number[] => gold.map((value) => (random.uniform() < share ? 1 + random.below(5) : value));
    const [a, b, c] = [noisy(0.8), noisy(0.3), noisy(0.8)];
    expect(pairedBootstrap({ gold, a, b }, { metric: "pcc", seed: 1 }).low!).toBeGreaterThan(0.2);
    const none = pairedBootstrap({ gold, a, b: c }, { metric: "pcc", seed: 1 });
    expect(none.low! < 0 && none.high! > 0).toBe(true);
    expect(pairedBootstrap({ gold, a, b: a }, { metric: "pcc" })).toMatchObject({ difference: 0, low: 0, high: 0 });
    expect(pairedBootstrap({ gold, a, b }, { metric: "pcc", seed: 1, method: "bca" }).low!).toBeGreaterThan(0.2);
  });

  it("have no p value where the difference does not exist, and no exact test of many", () => {
    expect(permutationTest({ gold: [1, 2], a: [3, 3], b: [1, 2] }, { metric: "pcc" })).toEqual({ difference: null, p: null });
    expect(permutationTest({ gold: [], a: [], b: [] }, { metric: "mse" })).toEqual({ difference: null, p: null });
    const many = new Array<number>(21).fill(1);
    expect(() => permutationTest({ gold: many, a: many, b: many }, { metric: "mse", exact: true })).toThrow(code("TOO_MANY_ITEMS"));
    expect(mcnemar({ gold: [1, 2], a: [1, 2], b: [1, 2] })).toEqual({ onlyA: 0, onlyB: 0, p: 1 });
  });

  it.each([
    [() => bootstrapCi([1, 2], [1]), "LENGTH_MISMATCH"],
    [() => bootstrapCi([0], [1]), "GOLD_INVALID"],
    [() => bootstrapCi([1], [1], { alpha: 95 }), "OPTION_INVALID"],
    [() => bootstrapCi([1], [1], { replicates: 0 }), "OPTION_INVALID"],
    [() => pairedBootstrap({ gold: [1], a: [1], b: [] }, { metric: "mse" }), "LENGTH_MISMATCH"],
    [() => mcnemar({ gold: [1], a: [1, 2], b: [1] }), "LENGTH_MISMATCH"],
    [() => permutationTest({ gold: [6], a: [1], b: [1] }, { metric: "mse" }), "GOLD_INVALID"],
    [() => permutationTest({ gold: [1], a: [1], b: [1] }, { metric: "mse", replicates: 0.5 }), "OPTION_INVALID"],
  ])("refuse %s", (call, expected) => {
    expect(call).toThrow(code(expected));
  });
});
