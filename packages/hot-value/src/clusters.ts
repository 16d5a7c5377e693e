import type { Quality } from "@dramascope/schema";
import { kmeans } from "ml-kmeans";
import { ckmeans } from "simple-statistics";
import { HotValueError } from "./errors.ts";

/** How hot values are cut into classes. */
export interface ClusterOptions {
  /** Number of classes. Default 5. */
  k?: number;
  /** `ckmeans` finds the global optimum in one dimension; `ml-kmeans` is Lloyd's method from a seeded start. Default `ckmeans`. */
  engine?: "ckmeans" | "ml-kmeans";
  /** Seed of `ml-kmeans`. Default 0. */
  seed?: number;
}

/** Classes of hot values, lowest first. */
export interface ClusterFit {
  engine: "ckmeans" | "ml-kmeans";
  k: number;
  centroids: number[];
  /** Means of neighbouring centroids; a value on one belongs to the upper class. */
  breakpoints: number[];
  sizes: number[];
  /** Sum of squared distances to the centroids. */
  sse: number;
  /** Share of each class in it. */
  sseShare: number[];
}

const mean = (values: readonly number[]): number => {
  const first = values[0]!;
  return first + values.reduce((sum, value) => sum + (value - first), 0) / values.length;
};

function lloydClusters(values: readonly number[], k: number, seed: number): number[][] {
  const { clusters } = kmeans(values.map((value) => [value]), k, { seed, initialization: "kmeans++", maxIterations: 1000 });
  const groups = Array.from({ length: k }, (): number[] => []);
  clusters.forEach((cluster, i) => groups[cluster]!.push(values[i]!));
  return groups.filter((group) => group.length > 0).sort((a, b) => mean(a) - mean(b));
}

/**
 * Cuts values into k classes by K-means in one dimension.
 *
 * @throws HotValueError `NOT_FINITE`, or `TOO_FEW_DISTINCT` when there are fewer than k different values.
 */
export function clusterHotValues(values: ArrayLike<number>, options: ClusterOptions = {}): ClusterFit {
  const { k = 5, engine = "ckmeans", seed = 0 } = options;
  const list = Array.from(values);
  const bad = list.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw new HotValueError(`hot value ${bad} is ${String(list[bad])}`, { code: "NOT_FINITE", hint: "Remove or mend the value." });
  const distinct = new Set(list).size;
  if (distinct < k) throw new HotValueError(`${distinct} different hot values cannot make ${k} classes`, { code: "TOO_FEW_DISTINCT", hint: "Fit on more dramas." });
  const groups = engine === "ckmeans" ? ckmeans(list, k) : lloydClusters(list, k, seed);
  const centroids = groups.map(mean);
  const errors = groups.map((group, i) => group.reduce((sum, value) => sum + (value - centroids[i]!) ** 2, 0));
  const sse = errors.reduce((a, b) => a + b, 0);
  return {
    engine,
    k,
    centroids,
    breakpoints: centroids.slice(1).map((upper, i) => (centroids[i]! + upper) / 2),
    sizes: groups.map((group) => group.length),
    sse,
    sseShare: errors.map((error) => (sse === 0 ? 0 : error / sse)),
  };
}

/** Class of a hot value: 1 plus the number of breakpoints that it reaches. */
export function qualityOf(value: number, breakpoints: readonly number[]): Quality {
  return (1 + breakpoints.filter((breakpoint) => breakpoint <= value).length) as Quality;
}
