import { createRandom } from "@dramascope/schema";
import { checkPair, type PairedInput } from "./bootstrap.ts";
import { checkReplicates } from "./checks.ts";
import { classOf } from "./classes.ts";
import { EvaluationError } from "./errors.ts";
import { orNull, type TrioMetric } from "./paper-figures.ts";

/** Result of McNemar's exact test. */
export interface McNemar {
  /** Items that only a has right. */
  onlyA: number;
  /** Items that only b has right. */
  onlyB: number;
  /** Two-sided exact binomial p value; 1 when no item tells them apart. */
  p: number;
}

/**
 * McNemar's exact test of two systems' accuracy; NaN marks a missing answer, which is wrong.
 *
 * @throws EvaluationError `LENGTH_MISMATCH`, `GOLD_INVALID`.
 */
export function mcnemar({ gold, a, b }: PairedInput): McNemar {
  checkPair({ gold, a, b });
  let [onlyA, onlyB] = [0, 0];
  for (let i = 0; i < gold.length; i++) {
    const rightA = classOf(a[i]!) === gold[i];
    const rightB = classOf(b[i]!) === gold[i];
    if (rightA && !rightB) onlyA++;
    else if (rightB && !rightA) onlyB++;
  }
  const n = onlyA + onlyB;
  let logTerm = -n * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= Math.min(onlyA, onlyB); k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log(n - k) - Math.log(k + 1);
  }
  return { onlyA, onlyB, p: Math.min(1, 2 * tail) };
}

/** Options of {@link permutationTest}. */
export interface PermutationOptions {
  /** The figure whose difference is tested. */
  metric: TrioMetric;
  /** Default 2000. */
  replicates?: number;
  /** Default 0. */
  seed?: number;
  /** Goes through all exchanges instead; for at most 20 items. Default false. */
  exact?: boolean;
}

/** Result of a permutation test. */
export interface PermutationResult {
  /** a minus b; null when undefined. */
  difference: number | null;
  /** Two-sided; null when the difference is undefined. */
  p: number | null;
}

const MAX_EXACT_ITEMS = 20;
/** Differences that are equal but for rounding count as equal. */
const TOLERANCE = 1e-12;

/** Difference of the mean of `value`, first minus second system, after exchanging the items with a 1. */
function meanDifference({ gold, a, b }: PairedInput, value: (prediction: number, truth: number) => number): (swaps: Uint8Array) => number {
  const gains = Float64Array.from({ length: gold.length }, (_, i) => value(a[i]!, gold[i]!) - value(b[i]!, gold[i]!));
  return (swaps) => gains.reduce((sum, gain, i) => (swaps[i] === 1 ? sum - gain : sum + gain), 0) / gains.length;
}

/** Difference of the correlations with the truth after exchanges; NaN when a side is constant. */
function correlationDifference({ gold, a, b }: PairedInput): (swaps: Uint8Array) => number {
  const n = gold.length;
  const centred = (values: ArrayLike<number>, centre: number): Float64Array => Float64Array.from(values, (value) => value - centre);
  const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((sum, value) => sum + value, 0) / n;
  const truth = centred(gold, mean(gold));
  const centre = (mean(a) + mean(b)) / 2;
  const [first, second] = [centred(a, centre), centred(b, centre)];
  const spread = truth.reduce((sum, value) => sum + value * value, 0);
  const isTruthConstant = truth.every((value) => value === truth[0]);
  const correlation = (pick: (i: number) => number): number => {
    let [y, yy, xy, low, high] = [0, 0, 0, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      const value = pick(i);
      y += value;
      yy += value * value;
      xy += truth[i]! * value;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return isTruthConstant || !(high > low) ? Number.NaN : xy / Math.sqrt(spread * (yy - (y * y) / n));
  };
  return (swaps) => correlation((i) => (swaps[i] === 1 ? second : first)[i]!) - correlation((i) => (swaps[i] === 1 ? first : second)[i]!);
}

function statisticOf(input: PairedInput, metric: TrioMetric): (swaps: Uint8Array) => number {
  if (metric === "pcc") return correlationDifference(input);
  return meanDifference(input, metric === "mse" ? (prediction, truth) => (prediction - truth) ** 2 : (prediction, truth) => (classOf(prediction) === truth ? 1 : 0));
}

/**
 * Paired permutation test: exchanges the two systems' answers item by item. An undefined permuted difference counts as 0.
 *
 * @returns p = (1 + number of |T*| ≥ |T| − 1e-12) / (replicates + 1), or the exact share.
 * @throws EvaluationError `TOO_MANY_ITEMS` for `exact` with more than 20 items, `LENGTH_MISMATCH`, `GOLD_INVALID`, `OPTION_INVALID`.
 */
export function permutationTest(input: PairedInput, options: PermutationOptions): PermutationResult {
  const { metric, replicates = 2000, seed = 0, exact = false } = options;
  checkPair(input);
  checkReplicates(replicates);
  const n = input.gold.length;
  if (exact && n > MAX_EXACT_ITEMS) throw new EvaluationError(`an exact permutation test of ${n} items was asked for`, { code: "TOO_MANY_ITEMS", hint: `Leave out exact above ${MAX_EXACT_ITEMS} items.` });
  const statistic = statisticOf(input, metric);
  const swaps = new Uint8Array(n);
  const observed = orNull(statistic(swaps));
  if (observed === null) return { difference: null, p: null };
  const isExtreme = (): boolean => Math.abs(orNull(statistic(swaps)) ?? 0) >= Math.abs(observed) - TOLERANCE;
  let extreme = 0;
  if (exact) {
    for (let mask = 0; mask < 2 ** n; mask++) {
      for (let i = 0; i < n; i++) swaps[i] = (mask >>> i) & 1;
      if (isExtreme()) extreme++;
    }
    return { difference: observed, p: extreme / 2 ** n };
  }
  const random = createRandom(seed);
  for (let r = 0; r < replicates; r++) {
    for (let i = 0; i < n; i++) swaps[i] = random.next() >>> 31;
    if (isExtreme()) extreme++;
  }
  return { difference: observed, p: (1 + extreme) / (replicates + 1) };
}

/** Holm's step-down adjustment of p values, in their order. */
export function holm(p: readonly number[]): number[] {
  const order = p.map((_, i) => i).sort((a, b) => p[a]! - p[b]!);
  const adjusted = new Array<number>(p.length).fill(0);
  let largest = 0;
  order.forEach((item, rank) => {
    largest = Math.max(largest, Math.min(1, p[item]! * (p.length - rank)));
    adjusted[item] = largest;
  });
  return adjusted;
}
