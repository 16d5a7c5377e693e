import { createRandom, type Random } from "@dramascope/schema";
import { checkAlpha, checkLabels, checkLength, checkReplicates } from "./checks.ts";
import { LABELS } from "./classes.ts";
import { normalQuantile, normalTail } from "./experiment/distributions.ts";
import { everyPosition, figureItems, FIGURES, orNull, type FigureItems, type FigureName, type Figures, type TrioMetric } from "./paper-figures.ts";

/** Mean and interval over replicates; all null where no replicate defines the figure. */
export interface Interval {
  /** Mean of the replicates. */
  mean: number | null;
  /** Lower end. */
  low: number | null;
  /** Upper end. */
  high: number | null;
  /** Replicates that left the figure undefined; they are left out. */
  undefined: number;
}

/** Intervals of the paper's three figures and of the bias. */
export type Intervals = Record<FigureName, Interval>;

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
  /** `percentile`, or `bca`: corrected for bias and skewness (Efron 1987), for small sets. Default `percentile`. */
  method?: "percentile" | "bca";
}

const DEFAULTS: Required<BootstrapOptions> = { replicates: 2000, seed: 0, alpha: 0.05, stratify: false, method: "percentile" };

function complete(options: BootstrapOptions): Required<BootstrapOptions> {
  const all = { ...DEFAULTS, ...options };
  checkAlpha(all.alpha);
  checkReplicates(all.replicates);
  return all;
}

/** Positions of the items of each class; one group of all when not stratified. */
function strata(gold: ArrayLike<number>, stratify: boolean): Uint32Array[] {
  const all = everyPosition(gold.length);
  return stratify ? LABELS.map((label) => all.filter((i) => gold[i] === label)) : [all];
}

/** Draws with replacement within each group. */
function drawInto(positions: Uint32Array, groups: readonly Uint32Array[], random: Random): void {
  let k = 0;
  for (const members of groups) for (let i = 0; i < members.length; i++) positions[k++] = members[random.below(members.length)]!;
}

/** Figures of every replicate, in the order of the draws. */
function replicateFigures(groups: readonly Uint32Array[], size: number, options: Required<BootstrapOptions>, measure: (positions: Uint32Array) => Figures): Record<FigureName, Float64Array> {
  const random = createRandom(options.seed);
  const positions = new Uint32Array(size);
  const values = { accuracy: new Float64Array(options.replicates), mse: new Float64Array(options.replicates), pcc: new Float64Array(options.replicates), bias: new Float64Array(options.replicates) };
  for (let b = 0; b < options.replicates; b++) {
    drawInto(positions, groups, random);
    const figures = measure(positions);
    for (const name of FIGURES) values[name][b] = figures[name];
  }
  return values;
}

/** Quantile of sorted values, linear between neighbours. */
function quantile(sorted: Float64Array, p: number): number {
  const h = (sorted.length - 1) * p;
  const low = Math.floor(h);
  return sorted[low]! + (low + 1 < sorted.length ? (sorted[low + 1]! - sorted[low]!) * (h - low) : 0);
}

function summarise(values: Float64Array, levels: (sorted: Float64Array) => readonly [number, number] | null): Interval {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort();
  const missing = values.length - sorted.length;
  const ends = sorted.length === 0 ? null : levels(sorted);
  const mean = sorted.length === 0 ? null : sorted.reduce((a, b) => a + b, 0) / sorted.length;
  return { mean, low: ends && quantile(sorted, ends[0]), high: ends && quantile(sorted, ends[1]), undefined: missing };
}

/** Skewness of the leave-one-out values over 6, centred within strata as the draws are. */
function acceleration(values: readonly number[], groups: readonly Uint32Array[]): number {
  let [squares, cubes] = [0, 0];
  for (const members of groups) {
    const group = [...members].map((i) => values[i]!).filter((value) => !Number.isNaN(value));
    const centre = group.reduce((a, b) => a + b, 0) / group.length;
    for (const value of group) {
      squares += (centre - value) ** 2;
      cubes += (centre - value) ** 3;
    }
  }
  return squares === 0 ? 0 : cubes / (6 * squares ** 1.5);
}

/** Levels of the BCa interval (Efron 1987); null when every replicate lies on one side of the estimate. */
function bcaLevels(sorted: Float64Array, estimate: number, skew: number, alpha: number): readonly [number, number] | null {
  let [below, equal] = [0, 0];
  for (const value of sorted) {
    if (value < estimate - 1e-12) below++;
    else if (value <= estimate + 1e-12) equal++;
  }
  const share = (below + equal / 2) / sorted.length;
  if (!(share > 0 && share < 1)) return null;
  const z0 = normalQuantile(share);
  const level = (z: number): number => normalTail(-z0 - (z0 + z) / (1 - skew * (z0 + z)));
  return [level(normalQuantile(alpha / 2)), level(normalQuantile(1 - alpha / 2))];
}

/** Intervals of the figures of items of which `measure` takes any selection. */
function intervalsOf(gold: ArrayLike<number>, options: Required<BootstrapOptions>, measure: (positions: ArrayLike<number>) => Figures, leaveOneOut: () => Figures[]): Intervals {
  const groups = strata(gold, options.stratify);
  const replicates = replicateFigures(groups, gold.length, options, measure);
  const jackknife = options.method === "bca" ? leaveOneOut() : [];
  const estimate = measure(everyPosition(gold.length));
  const interval = (name: FigureName): Interval =>
    summarise(replicates[name], (sorted) => {
      if (options.method === "percentile") return [options.alpha / 2, 1 - options.alpha / 2];
      return bcaLevels(sorted, estimate[name], acceleration(jackknife.map((figures) => figures[name]), groups), options.alpha);
    });
  return { accuracy: interval("accuracy"), mse: interval("mse"), pcc: interval("pcc"), bias: interval("bias") };
}

/** Intervals of prepared items. */
export function itemIntervals(gold: ArrayLike<number>, items: FigureItems, options: BootstrapOptions = {}): Intervals {
  return intervalsOf(gold, complete(options), items.at, items.leaveOneOut);
}

/**
 * Seeded bootstrap intervals of accuracy, MSE, PCC and bias over items.
 *
 * @param gold        True classes, integers 1 … 5.
 * @param predictions As many numbers; NaN marks a missing answer, which is wrong for accuracy and left out of the rest.
 * @throws EvaluationError `LENGTH_MISMATCH`, `GOLD_INVALID`, `OPTION_INVALID`.
 */
export function bootstrapCi(gold: ArrayLike<number>, predictions: ArrayLike<number>, options: BootstrapOptions = {}): Intervals {
  checkLength(gold, predictions, "predictions");
  checkLabels(gold);
  return itemIntervals(gold, figureItems(gold, predictions), options);
}

/** Refuses two systems that are not of the same items. */
export function checkPair({ gold, a, b }: PairedInput): void {
  checkLength(gold, a, "predictions of a");
  checkLength(gold, b, "predictions of b");
  checkLabels(gold);
}

/** Two systems on the same items. */
export interface PairedInput {
  /** True classes, integers 1 … 5. */
  gold: ArrayLike<number>;
  /** Predictions of one system. */
  a: ArrayLike<number>;
  /** Predictions of the other. */
  b: ArrayLike<number>;
}

/** Difference of two systems, b minus a, with its interval. */
export interface PairedDifference extends Interval {
  /** On all items; null when undefined. */
  difference: number | null;
}

const minus = (b: Figures, a: Figures): Figures => ({ accuracy: b.accuracy - a.accuracy, mse: b.mse - a.mse, pcc: b.pcc - a.pcc, bias: b.bias - a.bias });

/** Differences of all figures, b minus a, both systems drawn at the same items; MSE, PCC and bias on items that both answered (NaN is no answer). */
export function pairedDifferences({ gold, a, b }: PairedInput, options: BootstrapOptions = {}): Record<FigureName, PairedDifference> {
  checkPair({ gold, a, b });
  const isCounted = (i: number): boolean => !Number.isNaN(a[i]!) && !Number.isNaN(b[i]!);
  const [first, second] = [figureItems(gold, a, isCounted), figureItems(gold, b, isCounted)];
  const measure = (positions: ArrayLike<number>): Figures => minus(second.at(positions), first.at(positions));
  const leaveOneOut = (): Figures[] => {
    const without = first.leaveOneOut();
    return second.leaveOneOut().map((figures, i) => minus(figures, without[i]!));
  };
  const intervals = intervalsOf(gold, complete(options), measure, leaveOneOut);
  const whole = measure(everyPosition(gold.length));
  const of = (name: FigureName): PairedDifference => ({ difference: orNull(whole[name]), ...intervals[name] });
  return { accuracy: of("accuracy"), mse: of("mse"), pcc: of("pcc"), bias: of("bias") };
}

/**
 * Bootstrap of the difference of two systems on the same items: narrower and fairer than comparing two intervals.
 *
 * @throws EvaluationError `LENGTH_MISMATCH`, `GOLD_INVALID`, `OPTION_INVALID`.
 */
export function pairedBootstrap(input: PairedInput, options: BootstrapOptions & { metric: TrioMetric }): PairedDifference {
  const { metric, ...rest } = options;
  return pairedDifferences(input, rest)[metric];
}
