import { createRandom, type OnProgress } from "@dramascope/schema";
import { classStatistics, qualityOf } from "./clusters.ts";
import { compress, exactBoundaries } from "./exact-kmeans.ts";
import { createTransform, type Transform } from "./transform.ts";
import { quantile } from "./thresholds.ts";

/** How firm the classes are when the dramas are drawn anew. */
export interface Stability {
  /** Rounds that gave classes. */
  rounds: number;
  /** 2.5 %, 50 % and 97.5 % quantiles of each break over the rounds. */
  breakpoints: { low: number; median: number; high: number }[];
  /** Mean share of dramas that keep their class. */
  sameClass: number;
}

/** Options of {@link bootstrapBreakpoints}. */
export interface BootstrapOptions {
  rounds: number;
  seed: number;
  transform: Transform;
  signal?: AbortSignal | undefined;
  onProgress: OnProgress;
}

/** Draws as many hot values with replacement, cuts them anew, and compares the breaks with those of the fit. */
export function bootstrapBreakpoints(hotValues: Float64Array, fitted: readonly number[], options: BootstrapOptions): Stability {
  const { rounds, seed, transform, signal, onProgress } = options;
  const sorted = hotValues.slice().sort();
  const { apply, invert } = createTransform(transform, sorted);
  const original = compress(sorted);
  const data = compress(sorted.map(apply));
  const placeOf = new Uint32Array(sorted.length);
  for (let i = 1, place = 0; i < sorted.length; i++) placeOf[i] = apply(sorted[i]!) === apply(sorted[i - 1]!) ? place : ++place;
  const random = createRandom(seed, { stream: 1 });
  const k = fitted.length + 1;
  const breaks = fitted.map((): number[] => []);
  let same = 0;
  for (let round = 0; round < rounds; round++) {
    signal?.throwIfAborted();
    const counts = new Uint32Array(data.values.length);
    for (let i = 0; i < sorted.length; i++) counts[placeOf[random.below(sorted.length)]!]!++;
    const drawn = { values: data.values.filter((_, i) => counts[i]! > 0), counts: counts.filter((count) => count > 0) };
    if (drawn.values.length >= k) {
      const { centroids } = classStatistics(drawn, exactBoundaries(drawn, k));
      const found = centroids.slice(1).map((upper, i) => invert((centroids[i]! + upper) / 2));
      found.forEach((value, i) => breaks[i]!.push(value));
      original.values.forEach((value, i) => (same += qualityOf(value, found) === qualityOf(value, fitted) ? original.counts[i]! : 0));
    }
    onProgress({ phase: "stability", done: round + 1, total: rounds });
  }
  const done = breaks[0]!.length;
  const at = (values: readonly number[], p: number): number => (done === 0 ? Number.NaN : quantile(values, p));
  return {
    rounds: done,
    breakpoints: done === 0 ? [] : breaks.map((values) => ({ low: at(values, 0.025), median: at(values, 0.5), high: at(values, 0.975) })),
    sameClass: done === 0 ? 0 : same / (done * sorted.length),
  };
}
