import { createRandom } from "@dramascope/schema";
import { clusterHotValues, computeThresholds, fitHotValue, fitHotValueStream, INDICATORS, type FitOptions } from "@dramascope/hot-value";
import fc from "fast-check";
import { ckmeans } from "simple-statistics";
import { describe, expect, it } from "vitest";
import { classStatistics } from "../src/clusters.ts";
import { compress, exactBoundaries } from "../src/exact-kmeans.ts";
import { createRankSearch } from "../src/rank-search.ts";
import { createBatchScorer } from "../src/score-batch.ts";
import { scoreInCohort } from "../src/score-row.ts";
import { thresholdPositions, thresholdsAt } from "../src/thresholds.ts";
import { population, WEIGHTS } from "./population.ts";

/** Marks by the streamed search, the values cut into pieces. */
function searched(values: Float64Array, memoryBytes?: number): { marks: unknown; passes: number } {
  const search = createRankSearch(2, memoryBytes === undefined ? {} : { memoryBytes });
  let passes = 0;
  do {
    passes++;
    for (let from = 0; from < values.length; from += 1000) {
      const piece = values.slice(from, from + 1000);
      // The other series must not disturb, nor rows that count nowhere.
      search.add(piece, Int32Array.from(piece, (_, i) => (i % 7 === 6 ? -1 : 0)), 0, piece.length);
      search.add(piece, Int32Array.from(piece, (_, i) => (i % 7 === 6 ? 1 : -1)), 0, piece.length);
      search.add(piece, Int32Array.from(piece, (_, i) => (i % 7 === 6 ? 0 : -1)), 0, piece.length);
    }
  } while (!search.endPass((_, n) => thresholdPositions(n, {})));
  return { marks: thresholdsAt((rank) => search.valueAt(0, rank), values.length, [], {}), passes };
}

const shapes: [string, (n: number) => Float64Array][] = [
  ["constants", (n) => new Float64Array(n).fill(4)],
  ["zeros", (n) => new Float64Array(n)],
  ["ties", (n) => Float64Array.from({ length: n }, (_, i) => (i * 7919) % 5)],
  ["sorted", (n) => Float64Array.from({ length: n }, (_, i) => i * i)],
  ["reversed", (n) => Float64Array.from({ length: n }, (_, i) => (n - i) ** 1.5)],
  ["denormals", (n) => Float64Array.from({ length: n }, (_, i) => ((i * 7919) % n) * Number.MIN_VALUE)],
  ["neighbours", (n) => Float64Array.from({ length: n }, (_, i) => 1 + ((i * 7919) % n) * Number.EPSILON)],
  ["wide", (n) => Float64Array.from({ length: n }, (_, i) => 10 ** ((i * 7919) % 300))],
];

describe("streamed marks equal sorted ones bit for bit", () => {
  it.each(shapes)("%s, n = 1 … 400", (_, make) => {
    for (let n = 1; n < 10; n++) {
      for (const marks of [() => searched(make(n), 2 ** 16).marks, () => computeThresholds(make(n))]) expect(marks).toThrow(expect.objectContaining({ code: "COHORT_BELOW_RANK" }) as Error);
    }
    for (let n = 10; n <= 400; n++) expect(searched(make(n), 2 ** 16).marks).toEqual(computeThresholds(make(n)));
  });

  it("on a million equal values, in two passes", () => {
    const values = new Float64Array(1e6).fill(12.5);
    expect(searched(values)).toEqual({ marks: computeThresholds(values), passes: 2 });
  });

  it("takes −0 for 0", () => {
    expect(searched(new Float64Array(20).fill(-0)).marks).toEqual({ n: 20, min: 0, p30: 0, p93: 0, rank10: 0, max: 0 });
  });

  it.each(shapes)("%s, with so little room that places are split again and again", (_, make) => {
    const values = make(5000);
    const { marks, passes } = searched(values, 2 ** 14);
    expect(marks).toEqual(computeThresholds(values));
    expect(passes).toBeLessThan(12);
  });

  it("on any values", () => {
    fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 1e300, noNaN: true }), { minLength: 10, maxLength: 300 }), (values) => {
      expect(searched(Float64Array.from(values, (value) => value + 0), 2 ** 14).marks).toEqual(computeThresholds(values.map((value) => value + 0)));
    }));
  });
});

describe("classes of many values", () => {
  const sse = (values: Float64Array, starts: readonly number[]): number => classStatistics(compress(values), starts).errors.reduce((a, b) => a + b, 0);

  it("are those of ckmeans", () => {
    const random = createRandom(3);
    for (const n of [5, 6, 9, 40, 300, 5000, 12_000]) {
      for (const spread of [0.3, 2]) {
        const values = Float64Array.from({ length: n }, () => (n % 2 === 0 ? Math.round(50 * Math.exp(spread * random.normal())) : 50 * Math.exp(spread * random.normal()))).sort();
        const data = compress(values);
        if (data.values.length < 5) continue;
        const reference = ckmeans(Array.from(values), 5).slice(1).map((group) => data.values.indexOf(group[0]!));
        const [ours, theirs] = [sse(values, exactBoundaries(data, 5)), sse(values, reference)];
        expect(Math.abs(ours - theirs)).toBeLessThanOrEqual(1e-9 * theirs);
      }
    }
  });

  it("are the best of all partitions, for few values", () => {
    const best = (values: readonly number[], k: number): number => {
      const sorted = [...values].sort((a, b) => a - b);
      const cost = (part: readonly number[]): number => {
        const mean = part.reduce((a, b) => a + b, 0) / part.length;
        return part.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      };
      const search = (from: number, left: number): number => {
        if (left === 1) return cost(sorted.slice(from));
        let least = Infinity;
        for (let to = from + 1; to <= sorted.length - left + 1; to++) least = Math.min(least, cost(sorted.slice(from, to)) + search(to, left - 1));
        return least;
      };
      return search(0, k);
    };
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 5, maxLength: 12 }), (values) => {
      fc.pre(new Set(values).size >= 5);
      const expected = best(values, 5);
      expect(Math.abs(clusterHotValues(values).sse - expected)).toBeLessThanOrEqual(1e-9 * Math.max(1, expected));
      const data = compress(Float64Array.from(values).sort());
      expect(Math.abs(sse(Float64Array.from(values).sort(), exactBoundaries(data, 5)) - expected)).toBeLessThanOrEqual(1e-9 * Math.max(1, expected));
    }), { numRuns: 60 });
  });

  it("never cost more than Lloyd's from twenty seeds", () => {
    const random = createRandom(5);
    const values = Float64Array.from({ length: 600 }, () => 30 * Math.exp(random.normal()));
    const exact = clusterHotValues(values).sse;
    for (let seed = 0; seed < 20; seed++) expect(exact).toBeLessThanOrEqual(clusterHotValues(values, { engine: "ml-kmeans", seed }).sse * (1 + 1e-12));
  });
});

describe("a streamed fit", () => {
  const rows = population();
  const variants: Partial<FitOptions>[] = [
    {}, { reference: { mode: "pooled" } }, { reference: { population: "eligible", minCohort: 50 } }, { rankTies: "distinct", quantile: "inverted-cdf" }, { peakWindow: "after-min-age" },
    { peakWindow: "first-two-months", leftTruncated: "exclude" }, { transform: "log1p" }, { transform: { winsorize: 0.02 } }, { minEngagement: [{ indicator: "likes", atLeast: 40 }] },
  ];

  it.each(variants)("equals the one in memory, %j", async (variant) => {
    const options: FitOptions = { weights: WEIGHTS, asOf: "2026-06-30", ...variant };
    async function* open(): AsyncGenerator<typeof rows> {
      for (let from = 0; from < rows.length; from += 170) yield await Promise.resolve(rows.slice(from, from + 170));
    }
    expect(await fitHotValueStream(open, options)).toEqual(fitHotValue(rows, options));
  });
});

it("scores columns as it scores rows", () => {
  const flat = { n: 20, min: 1, p30: 4, p93: 4, rank10: 4, max: 9 };
  const steep = { n: 20, min: 1, p30: 4, p93: 9, rank10: 12, max: 40 };
  const cohorts = [0, 1].map((shift) => Object.fromEntries(INDICATORS.map((name, k) => [name, (k + shift) % 2 === 0 ? flat : steep])) as Parameters<typeof createBatchScorer>[0][number]);
  const random = createRandom(9);
  const rows = Array.from({ length: 500 }, () => ({ ...population({ dramas: 1 })[0]!, ...Object.fromEntries(INDICATORS.map((name) => [name, random.below(15)])), completionRate: random.below(11) / 10 }));
  for (const belowMin of ["clamp", "extrapolate"] as const) {
    const scorer = createBatchScorer(cohorts, WEIGHTS, { belowMin });
    const out = new Float64Array(rows.length);
    const columns = [...INDICATORS, "completionRate" as const].map((name) => Float64Array.from(rows, (row) => row[name]));
    scorer.score(columns, Int32Array.from(rows, (_, i) => (i % 3) - 1), rows.length, out);
    rows.forEach((row, i) => {
      expect(out[i]).toBe(i % 3 === 0 ? Number.NaN : scoreInCohort(row, cohorts[(i % 3) - 1]!, WEIGHTS, { belowMin, degenerate: "fallback" }).hotValue);
    });
  }
});
