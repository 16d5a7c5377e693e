import { itemIntervals, type BootstrapOptions, type Intervals } from "./bootstrap.ts";
import { computeCoverage, type Coverage } from "./coverage.ts";
import { computeMetrics, undefinedMetrics, type Metrics } from "./metrics.ts";
import { everyPosition, figureItems, FIGURES, type TrioMetric } from "./paper-figures.ts";

/** Metadata of items: dimension (such as genre) → id → value. */
export type SliceValues = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** How the items of one value of one dimension fare. */
export interface Slice {
  /** For example `genre`. */
  dimension: string;
  /** For example `romance`; null for items without a value. */
  value: string | null;
  /** Items. */
  n: number;
  /** Items with a prediction. */
  answered: number;
  /** Null below the least size. */
  coverage: Coverage | null;
  /** Null below the least size; its accuracy counts missing answers as wrong. */
  metrics: Metrics | null;
  /** Null below the least size. */
  intervals: Intervals | null;
  /** Why values are null, by name. */
  undefined: Record<string, string>;
}

/** The slice that fares worst in one figure of one dimension, among those shown. */
export interface WorstSlice {
  /** For example `genre`. */
  dimension: string;
  /** The figure. */
  metric: TrioMetric;
  /** Name of the slice. */
  value: string;
  /** Its figure. */
  figure: number;
  /** Items of the slice. */
  n: number;
}

/** Metrics whose accuracy counts missing answers as wrong; coverage; intervals; and why values are null. */
export interface Scored {
  coverage: Coverage;
  metrics: Metrics;
  intervals: Intervals;
  undefined: Record<string, string>;
}

/** Scores items; NaN is a missing answer. */
export function scoreItems(gold: readonly number[], scores: Float64Array, options: BootstrapOptions): Scored {
  const coverage = computeCoverage(gold, Array.from(scores, (score) => (Number.isNaN(score) ? null : score)));
  const isAnswered = (_: unknown, i: number): boolean => !Number.isNaN(scores[i]!);
  const answered = computeMetrics(gold.filter(isAnswered), scores.filter(isAnswered));
  const intervals = itemIntervals(gold, figureItems(gold, scores), options);
  const metrics = { ...answered, accuracy: coverage.accuracy };
  const reasons = undefinedMetrics(metrics);
  for (const name of ["coverage", "accuracy", "mseAnswered", "mseImputed3", "mseWorst"] as const) if (coverage[name] === null) reasons[`coverage.${name}`] = coverage.n === 0 ? "no-items" : "no-answers";
  for (const name of FIGURES) {
    const { mean, low } = intervals[name];
    if (mean === null) for (const end of ["mean", "low", "high"]) reasons[`intervals.${name}.${end}`] = "undefined-in-every-replicate";
    else if (low === null) for (const end of ["low", "high"]) reasons[`intervals.${name}.${end}`] = "estimate-beyond-replicates";
  }
  return { coverage, metrics, intervals, undefined: reasons };
}

const HIDDEN = { coverage: null, metrics: null, intervals: null, undefined: { coverage: "below-min-slice", metrics: "below-min-slice", intervals: "below-min-slice" } };

/** Scores of every value of every dimension, the largest first. */
export function scoreSlices(ids: readonly string[], gold: readonly number[], scores: Float64Array, slices: SliceValues, options: BootstrapOptions & { minSlice: number }): Slice[] {
  const { minSlice, ...resampling } = options;
  return [...slices].flatMap(([dimension, values]) => {
    const groups = new Map<string | null, number[]>();
    for (const i of everyPosition(ids.length)) {
      const value = values.get(ids[i]!) ?? null;
      const members = groups.get(value);
      if (members) members.push(i);
      else groups.set(value, [i]);
    }
    const ordered = [...groups].sort(([a, x], [b, y]) => y.length - x.length || ((a ?? "") < (b ?? "") ? -1 : 1));
    return ordered.map(([value, members]): Slice => {
      const own = Float64Array.from(members, (i) => scores[i]!);
      const scored = members.length < minSlice ? HIDDEN : scoreItems(members.map((i) => gold[i]!), own, resampling);
      const why = value === null ? { ...scored.undefined, value: "no-metadata" } : scored.undefined;
      return { dimension, value, n: members.length, answered: own.filter((score) => !Number.isNaN(score)).length, ...scored, undefined: why };
    });
  });
}

/** The worst shown slice of each dimension in accuracy, MSE and PCC; items without a value are no slice here, dimensions with fewer than two shown slices have none. */
export function worstSlices(slices: readonly Slice[]): WorstSlice[] {
  return [...new Set(slices.map(({ dimension }) => dimension))].flatMap((dimension) =>
    (["accuracy", "mse", "pcc"] as const).flatMap((metric) => {
      const shown = slices.flatMap(({ dimension: own, value, n, metrics }) => (own === dimension && value !== null && metrics !== null && metrics[metric] !== null ? [{ dimension, metric, value, figure: metrics[metric], n }] : []));
      const sign = metric === "mse" ? -1 : 1;
      return shown.length < 2 ? [] : [shown.reduce((worst, one) => (sign * one.figure < sign * worst.figure ? one : worst))];
    }),
  );
}
