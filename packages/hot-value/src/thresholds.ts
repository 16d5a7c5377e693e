import { HotValueError } from "./errors.ts";

/** How a quantile between two values is taken: by linear interpolation, or as the lower observed value. */
export type QuantileMethod = "linear" | "inverted-cdf";
/** How equal values count for a rank: each by itself, or once. */
export type RankTies = "positional" | "distinct";

/** Marks of one indicator in its cohort. */
export interface Thresholds {
  /** Rows of the cohort. */
  n: number;
  min: number;
  /** 30th percentile. */
  p30: number;
  /** 93rd percentile. */
  p93: number;
  /** Tenth largest value. */
  rank10: number;
  max: number;
}

/** Options of {@link computeThresholds}. */
export interface ThresholdOptions {
  /** Default `linear`. */
  quantile?: QuantileMethod;
  /** Default `positional`. */
  rankTies?: RankTies;
  /** Default 10. */
  rank?: number;
}

function sortedQuantile(sorted: ArrayLike<number>, probability: number, method: QuantileMethod): number {
  const n = sorted.length;
  if (n === 0 || !(probability >= 0 && probability <= 1)) {
    throw new HotValueError(`the ${probability} quantile of ${n} values does not exist`, { code: "QUANTILE_UNDEFINED", hint: "Give at least one value and a probability from 0 to 1." });
  }
  if (method === "inverted-cdf") return sorted[Math.max(0, Math.ceil(n * probability) - 1)]!;
  const h = (n - 1) * probability;
  const low = Math.floor(h);
  const value = sorted[low]!;
  return low + 1 < n ? value + (sorted[low + 1]! - value) * (h - low) : value;
}

/** Quantile of unsorted values; default linear interpolation as in NumPy and SQL's `percentile_cont`. */
export function quantile(values: ArrayLike<number>, probability: number, options: { method?: QuantileMethod } = {}): number {
  return sortedQuantile(Float64Array.from(values).sort(), probability, options.method ?? "linear");
}

function sortedRank(sorted: Float64Array, rank: number, ties: RankTies): number {
  const refuse = (count: number): never => {
    throw new HotValueError(`there is no value of rank ${rank} among ${count}`, { code: "COHORT_BELOW_RANK", hint: "Use a larger cohort." });
  };
  if (ties === "positional") return sorted.length >= rank ? sorted[sorted.length - rank]! : refuse(sorted.length);
  let distinct = 0;
  for (let i = sorted.length - 1; i >= 0; i--) {
    if (i === sorted.length - 1 || sorted[i] !== sorted[i + 1]) distinct++;
    if (distinct === rank) return sorted[i]!;
  }
  return refuse(distinct);
}

/** The `rank`-th largest value, default the tenth. */
export function rankValue(values: ArrayLike<number>, rank = 10, ties: RankTies = "positional"): number {
  return sortedRank(Float64Array.from(values).sort(), rank, ties);
}

/** All marks of one indicator. */
export function computeThresholds(values: ArrayLike<number>, options: ThresholdOptions = {}): Thresholds {
  const { quantile: method = "linear", rankTies = "positional", rank = 10 } = options;
  const sorted = Float64Array.from(values).sort();
  const rank10 = sortedRank(sorted, rank, rankTies);
  return { n: sorted.length, min: sorted[0]!, p30: sortedQuantile(sorted, 0.3, method), p93: sortedQuantile(sorted, 0.93, method), rank10, max: sorted.at(-1)! };
}
