import { HotValueError } from "./errors.ts";

/** How a quantile between two values is taken: by linear interpolation, or as the lower observed value. */
export type QuantileMethod = "linear" | "inverted-cdf";
/** How equal values count for a rank: each by itself, or once. */
export type RankTies = "positional" | "distinct";

/** Marks of one indicator in its cohort. */
export interface Thresholds {
  /** Rows of the cohort. */
  n: number;
  /** Smallest value. */
  min: number;
  /** 30th percentile. */
  p30: number;
  /** 93rd percentile. */
  p93: number;
  /** Tenth largest value. */
  rank10: number;
  /** Largest value. */
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

/** Positions (0-based, ascending) between which a quantile of n values lies, and the part of the way. */
function quantilePosition(n: number, probability: number, method: QuantileMethod): { low: number; part: number } {
  if (n === 0 || !(probability >= 0 && probability <= 1)) {
    throw new HotValueError(`the ${probability} quantile of ${n} values does not exist`, { code: "QUANTILE_UNDEFINED", hint: "Give at least one value and a probability from 0 to 1." });
  }
  if (method === "inverted-cdf") return { low: Math.max(0, Math.ceil(n * probability) - 1), part: 0 };
  const h = (n - 1) * probability;
  return { low: Math.floor(h), part: h - Math.floor(h) };
}

/** Quantile of n values, given how to get the value at a position of the ascending order. */
function quantileAt(valueAt: (position: number) => number, n: number, probability: number, method: QuantileMethod): number {
  const { low, part } = quantilePosition(n, probability, method);
  const value = valueAt(low);
  return part === 0 || low + 1 >= n ? value : value + (valueAt(low + 1) - value) * part;
}

/** Quantile of unsorted values; default linear interpolation as in NumPy and SQL's `percentile_cont`. */
export function quantile(values: ArrayLike<number>, probability: number, options: { method?: QuantileMethod } = {}): number {
  const sorted = Float64Array.from(values).sort();
  return quantileAt((i) => sorted[i]!, sorted.length, probability, options.method ?? "linear");
}

const rankMissing = (rank: number, count: number): never => {
  throw new HotValueError(`there is no value of rank ${rank} among ${count}`, { code: "COHORT_BELOW_RANK", hint: "Use a larger cohort." });
};

function sortedRank(sorted: Float64Array, rank: number, ties: RankTies): number {
  if (ties === "positional") return sorted.length >= rank ? sorted[sorted.length - rank]! : rankMissing(rank, sorted.length);
  let distinct = 0;
  for (let i = sorted.length - 1; i >= 0; i--) {
    if (i === sorted.length - 1 || sorted[i] !== sorted[i + 1]) distinct++;
    if (distinct === rank) return sorted[i]!;
  }
  return rankMissing(rank, distinct);
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
  const at = (p: number): number => quantileAt((i) => sorted[i]!, sorted.length, p, method);
  return { n: sorted.length, min: sorted[0]!, p30: at(0.3), p93: at(0.93), rank10, max: sorted.at(-1)! };
}

/** Positions of the ascending order from which {@link thresholdsAt} makes the marks of n values. */
export function thresholdPositions(n: number, { quantile: method = "linear", rankTies = "positional", rank = 10 }: ThresholdOptions): number[] {
  const wanted = [0.3, 0.93].flatMap((p) => {
    const { low, part } = quantilePosition(n, p, method);
    return part === 0 || low + 1 >= n ? [low] : [low, low + 1];
  });
  return [...new Set([0, n - 1, ...wanted, ...(rankTies === "positional" && n >= rank ? [n - rank] : [])])].sort((a, b) => a - b);
}

/**
 * Marks of n values, given the values at {@link thresholdPositions}; equal to {@link computeThresholds} bit for bit.
 *
 * @param distinct The largest different values, descending, for ranks among different values.
 */
export function thresholdsAt(valueAt: (position: number) => number, n: number, distinct: readonly number[], options: ThresholdOptions): Thresholds {
  const { quantile: method = "linear", rankTies = "positional", rank = 10 } = options;
  const found = rankTies === "positional" ? n : distinct.length;
  const rank10 = found < rank ? rankMissing(rank, found) : rankTies === "positional" ? valueAt(n - rank) : distinct[rank - 1]!;
  return { n, min: valueAt(0), p30: quantileAt(valueAt, n, 0.3, method), p93: quantileAt(valueAt, n, 0.93, method), rank10, max: valueAt(n - 1) };
}
