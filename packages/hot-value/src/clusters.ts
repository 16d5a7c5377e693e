import type { Quality } from "@dramascope/schema";
import { kmeans } from "ml-kmeans";
import { ckmeans } from "simple-statistics";
import { HotValueError } from "./errors.ts";
import { compress, exactBoundaries, type WeightedValues } from "./exact-kmeans.ts";
import { createTransform, type Transform } from "./transform.ts";

/** How hot values are cut into classes. */
export interface ClusterOptions {
  /** Number of classes. Default 5. */
  k?: number;
  /** `ckmeans` finds the global optimum in one dimension; `ml-kmeans` is Lloyd's method from a seeded start. Default `ckmeans`. */
  engine?: "ckmeans" | "ml-kmeans";
  /** Seed of `ml-kmeans`. Default 0. */
  seed?: number;
  /** Start of `ml-kmeans`. Default `kmeans++`. */
  initialization?: "kmeans++";
  /** Scale of the clustering: as it is, log(1 + value), or cut at a share from either end. Default `none`. */
  transform?: Transform;
}

/** Classes of hot values, lowest first. */
export interface ClusterFit {
  /** What found them. */
  engine: "ckmeans" | "ml-kmeans";
  /** Number of classes. */
  k: number;
  /** Scale of the clustering. */
  transform: Transform;
  /** Means of the classes, on the scale of the clustering. */
  centroids: number[];
  /** Means of neighbouring centroids, brought back to hot values; a value on one belongs to the upper class. */
  breakpoints: number[];
  /** Values of each class. */
  sizes: number[];
  /** Sum of squared distances to the centroids, on the scale of the clustering. */
  sse: number;
  /** Share of each class in it. */
  sseShare: number[];
}

/** Up to here the boundaries come from `ckmeans` itself, whose memory grows with k times the values; beyond, from an equally exact search. */
const CKMEANS_VALUES = 30_000;

function lloydBoundaries(sorted: Float64Array, data: WeightedValues, k: number, seed: number): number[] {
  const { clusters } = kmeans(Array.from(sorted, (value) => [value]), k, { seed, initialization: "kmeans++", maxIterations: 1000 });
  const starts: number[] = [];
  let place = 0;
  for (let i = 1; i < sorted.length; i++) {
    if (sorted[i] !== sorted[i - 1]) place++;
    if (clusters[i] !== clusters[i - 1] && starts.at(-1) !== place) starts.push(place);
  }
  return starts.filter((start) => start > 0 && start < data.values.length);
}

function ckmeansBoundaries(sorted: Float64Array, data: WeightedValues, k: number): number[] {
  return ckmeans(Array.from(sorted), k).slice(1).map((group) => data.values.indexOf(group[0]!));
}

/**
 * Cuts values into k classes by K-means in one dimension.
 *
 * @throws HotValueError `NOT_FINITE`, or `TOO_FEW_DISTINCT` when there are fewer than k different values.
 */
export function clusterHotValues(values: ArrayLike<number>, options: ClusterOptions = {}): ClusterFit {
  const { k = 5, engine = "ckmeans", seed = 0, transform = "none" } = options;
  const raw = Float64Array.from(values);
  const bad = raw.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new HotValueError(`hot value ${bad} is ${String(raw[bad])}`, { code: "NOT_FINITE", hint: "Remove or mend the value." });
  raw.sort();
  const { apply, invert } = createTransform(transform, raw);
  const sorted = transform === "none" ? raw : raw.map(apply);
  const data = compress(sorted);
  if (data.values.length < k) throw new HotValueError(`${data.values.length} different hot values cannot make ${k} classes`, { code: "TOO_FEW_DISTINCT", hint: "Fit on more dramas." });
  const starts = engine === "ml-kmeans" ? lloydBoundaries(sorted, data, k, seed) : sorted.length <= CKMEANS_VALUES ? ckmeansBoundaries(sorted, data, k) : exactBoundaries(data, k);
  const { centroids, sizes, errors } = classStatistics(data, starts);
  const sse = errors.reduce((a, b) => a + b, 0);
  return {
    engine,
    k,
    transform,
    centroids,
    breakpoints: centroids.slice(1).map((upper, i) => invert((centroids[i]! + upper) / 2)),
    sizes,
    sse,
    sseShare: errors.map((error) => (sse === 0 ? 0 : error / sse)),
  };
}

/** Mean, size and squared error of each class. */
export function classStatistics({ values, counts }: WeightedValues, starts: readonly number[]): { centroids: number[]; sizes: number[]; errors: number[] } {
  const classes = [0, ...starts].map((from, i) => {
    const to = starts[i] ?? values.length;
    let [size, sum] = [0, 0];
    for (let j = from; j < to; j++) {
      size += counts[j]!;
      sum += counts[j]! * (values[j]! - values[from]!);
    }
    const centroid = values[from]! + sum / size;
    let error = 0;
    for (let j = from; j < to; j++) error += counts[j]! * (values[j]! - centroid) ** 2;
    return { centroid, size, error };
  });
  return { centroids: classes.map(({ centroid }) => centroid), sizes: classes.map(({ size }) => size), errors: classes.map(({ error }) => error) };
}

/** Class of a hot value: 1 plus the number of breakpoints that it reaches. */
export function qualityOf(value: number, breakpoints: readonly number[]): Quality {
  let quality = 1;
  for (const breakpoint of breakpoints) if (breakpoint <= value) quality++;
  return quality as Quality;
}
