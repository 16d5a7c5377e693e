import { createRandom, type Random } from "@dramascope/schema";
import { pearson } from "./correlation.ts";
import { classOf } from "./metrics.ts";

/** The three figures of the paper. */
const TRIO = ["accuracy", "mse", "pcc"] as const;
/** One of the three figures of the paper. */
export type TrioMetric = (typeof TRIO)[number];

/** Mean and interval over replicates; null where no replicate defines the metric. */
export interface Interval {
  mean: number | null;
  low: number | null;
  high: number | null;
  /** Replicates that left the metric undefined. */
  undefined: number;
}

/** Intervals of the three figures. */
export type Intervals = Record<TrioMetric, Interval>;

/** Options of {@link bootstrapCi}. */
export interface BootstrapOptions {
  /** Default 2000. */
  replicates?: number;
  /** Default 0. */
  seed?: number;
  /** One minus the level. Default .05. */
  alpha?: number;
  /** Draws within each true class: right for sets balanced by design. Default false. */
  stratify?: boolean;
}

/** One figure of the trio; null when undefined. */
export function trioMetric(metric: TrioMetric, gold: ArrayLike<number>, predictions: ArrayLike<number>): number | null {
  if (gold.length === 0) return null;
  if (metric === "pcc") return pearson(gold, predictions);
  let sum = 0;
  for (let i = 0; i < gold.length; i++) sum += metric === "mse" ? (predictions[i]! - gold[i]!) ** 2 : classOf(predictions[i]!) === gold[i] ? 1 : 0;
  return sum / gold.length;
}

/** Positions of one replicate: draws with replacement, within each class when stratified. */
function drawPositions(random: Random, gold: ArrayLike<number>, stratify: boolean): Int32Array {
  const n = gold.length;
  if (!stratify) return Int32Array.from({ length: n }, () => random.below(n));
  const out: number[] = [];
  for (const label of [1, 2, 3, 4, 5]) {
    const members = Array.from({ length: n }, (_, i) => i).filter((i) => gold[i] === label);
    for (let i = 0; i < members.length; i++) out.push(members[random.below(members.length)]!);
  }
  return Int32Array.from(out);
}

function summarise(values: (number | null)[], alpha: number): Interval {
  const defined = values.filter((value): value is number => value !== null).sort((a, b) => a - b);
  if (defined.length === 0) return { mean: null, low: null, high: null, undefined: values.length };
  const at = (p: number): number => {
    const h = (defined.length - 1) * p;
    const low = Math.floor(h);
    return defined[low]! + (low + 1 < defined.length ? (defined[low + 1]! - defined[low]!) * (h - low) : 0);
  };
  return { mean: defined.reduce((a, b) => a + b, 0) / defined.length, low: at(alpha / 2), high: at(1 - alpha / 2), undefined: values.length - defined.length };
}

const pick = (values: ArrayLike<number>, positions: Int32Array): Float64Array => Float64Array.from(positions, (i) => values[i]!);

/** Percentile bootstrap intervals of accuracy, MSE and PCC, seeded. */
export function bootstrapCi(gold: ArrayLike<number>, predictions: ArrayLike<number>, options: BootstrapOptions = {}): Intervals {
  const { replicates = 2000, seed = 0, alpha = 0.05, stratify = false } = options;
  const random = createRandom(seed);
  const values: Record<TrioMetric, (number | null)[]> = { accuracy: [], mse: [], pcc: [] };
  for (let b = 0; b < replicates; b++) {
    const positions = drawPositions(random, gold, stratify);
    const truths = pick(gold, positions);
    const answers = pick(predictions, positions);
    for (const metric of TRIO) values[metric].push(trioMetric(metric, truths, answers));
  }
  return { accuracy: summarise(values.accuracy, alpha), mse: summarise(values.mse, alpha), pcc: summarise(values.pcc, alpha) };
}

/** Two systems on the same items. */
export interface PairedInput {
  gold: ArrayLike<number>;
  a: ArrayLike<number>;
  b: ArrayLike<number>;
}

/** Difference of two systems, b minus a, with its interval. */
export interface PairedDifference extends Interval {
  /** On all items; null when undefined. */
  difference: number | null;
}

/** Bootstrap of the difference of two systems on the same items: narrower and fairer than comparing two intervals. */
export function pairedBootstrap({ gold, a, b }: PairedInput, options: BootstrapOptions & { metric: TrioMetric }): PairedDifference {
  const { metric, replicates = 2000, seed = 0, alpha = 0.05, stratify = false } = options;
  const random = createRandom(seed);
  const difference = (truths: ArrayLike<number>, first: ArrayLike<number>, second: ArrayLike<number>): number | null => {
    const left = trioMetric(metric, truths, first);
    const right = trioMetric(metric, truths, second);
    return left === null || right === null ? null : right - left;
  };
  const values = Array.from({ length: replicates }, () => {
    const positions = drawPositions(random, gold, stratify);
    return difference(pick(gold, positions), pick(a, positions), pick(b, positions));
  });
  return { difference: difference(gold, a, b), ...summarise(values, alpha) };
}

/** Result of McNemar's exact test. */
export interface McNemar {
  /** Items that only a has right. */
  onlyA: number;
  /** Items that only b has right. */
  onlyB: number;
  /** Two-sided exact binomial p value. */
  p: number;
}

/** McNemar's exact test of two systems' accuracy. */
export function mcnemar({ gold, a, b }: PairedInput): McNemar {
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
  metric: TrioMetric;
  /** Default 2000. */
  replicates?: number;
  /** Default 0. */
  seed?: number;
  /** Goes through all exchanges; for at most 20 items. Default false. */
  exact?: boolean;
}

/** Result of a permutation test. */
export interface PermutationResult {
  /** a minus b; null when undefined. */
  difference: number | null;
  /** Two-sided; null when the difference is undefined. */
  p: number | null;
}

/** Paired permutation test: exchanges the two systems' answers item by item. An undefined permuted difference counts as 0. */
export function permutationTest({ gold, a, b }: PairedInput, options: PermutationOptions): PermutationResult {
  const { metric, replicates = 2000, seed = 0, exact = false } = options;
  const n = gold.length;
  const statistic = (isSwapped: (i: number) => boolean): number | null => {
    const first = Float64Array.from({ length: n }, (_, i) => (isSwapped(i) ? b[i]! : a[i]!));
    const second = Float64Array.from({ length: n }, (_, i) => (isSwapped(i) ? a[i]! : b[i]!));
    const [left, right] = [trioMetric(metric, gold, first), trioMetric(metric, gold, second)];
    return left === null || right === null ? null : left - right;
  };
  const observed = statistic(() => false);
  if (observed === null) return { difference: null, p: null };
  const isExtreme = (value: number | null): boolean => Math.abs(value ?? 0) >= Math.abs(observed) - 1e-12;
  let extreme = 0;
  if (exact) {
    for (let mask = 0; mask < 2 ** n; mask++) if (isExtreme(statistic((i) => ((mask >>> i) & 1) === 1))) extreme++;
    return { difference: observed, p: extreme / 2 ** n };
  }
  const random = createRandom(seed);
  for (let r = 0; r < replicates; r++) {
    const swaps = Uint8Array.from({ length: n }, () => random.next() >>> 31);
    if (isExtreme(statistic((i) => swaps[i] === 1))) extreme++;
  }
  return { difference: observed, p: (1 + extreme) / (replicates + 1) };
}

/** Holm's adjustment of p values, in their order. */
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
