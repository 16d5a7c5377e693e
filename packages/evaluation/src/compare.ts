import { pairedDifferences, type BootstrapOptions, type PairedDifference, type PairedInput } from "./bootstrap.ts";
import { EvaluationError } from "./errors.ts";
import { orderItems, predictionsOf, scoresOrNaN, type PredictionMap } from "./items.ts";
import { everyPosition, figureItems, orNull, type TrioMetric } from "./paper-figures.ts";
import type { CoerceOptions } from "./predictions.ts";
import { holm, mcnemar, permutationTest } from "./significance.ts";

const TRIO: readonly TrioMetric[] = ["accuracy", "mse", "pcc"];

/** Options of {@link compareSystems}. */
export interface CompareOptions extends BootstrapOptions, CoerceOptions {
  /** Name of the run that the others are compared with. */
  baseline: string;
}

/** How one system differs from the baseline in one figure. */
export interface Comparison extends PairedDifference {
  /** Items behind it: all for accuracy, those that both answered for MSE and PCC. */
  n: number;
  /** McNemar's exact p value for accuracy, a paired permutation test's for MSE and PCC; null where the difference is undefined. */
  p: number | null;
  /** The same after Holm over the rows of the table. */
  pHolm: number | null;
  /** `not-distinguishable` when the interval holds 0, whatever the order of the figures; null where there is no interval. */
  verdict: "better" | "worse" | "not-distinguishable" | null;
}

/** One system of the table. */
export interface ComparisonRow {
  /** Name of the run. */
  name: string;
  /** Items with a prediction. */
  answered: number;
  /** Share right, a missing answer being wrong. */
  accuracy: number | null;
  /** Over answered items. */
  mse: number | null;
  /** Over answered items. */
  pcc: number | null;
  /** Against the baseline, this run minus it; absent in the baseline's own row. */
  against?: Record<TrioMetric, Comparison>;
  /** Why values are null, by path. */
  undefined: Record<string, string>;
}

/** Systems on the same items, each against one of them: an ablation table. */
export interface ComparisonTable {
  /** Items with a true class. */
  n: number;
  /** Name of the run that the others are compared with. */
  baseline: string;
  /** In the order of the runs. */
  rows: ComparisonRow[];
}

function verdictOf(metric: TrioMetric, low: number | null, high: number | null): Comparison["verdict"] {
  if (low === null || high === null) return null;
  if (low <= 0 && high >= 0) return "not-distinguishable";
  return high < 0 === (metric === "mse") ? "better" : "worse";
}

function against({ gold, a, b }: PairedInput, options: BootstrapOptions): Record<TrioMetric, Comparison> {
  const differences = pairedDifferences({ gold, a, b }, options);
  const both = everyPosition(gold.length).filter((i) => !Number.isNaN(a[i]!) && !Number.isNaN(b[i]!));
  const answered = (values: ArrayLike<number>): Float64Array => Float64Array.from(both, (i) => values[i]!);
  const shared = { gold: answered(gold), a: answered(a), b: answered(b) };
  const { replicates = 2000, seed = 0 } = options;
  const compare = (metric: TrioMetric): Comparison => {
    const difference = differences[metric];
    const p = metric === "accuracy" ? mcnemar({ gold, a, b }).p : permutationTest(shared, { metric, replicates, seed }).p;
    return { ...difference, n: metric === "accuracy" ? gold.length : both.length, p, pHolm: null, verdict: verdictOf(metric, difference.low, difference.high) };
  };
  return { accuracy: compare("accuracy"), mse: compare("mse"), pcc: compare("pcc") };
}

/** Holm over the rows of the table, one family a figure. */
function adjust(rows: readonly ComparisonRow[]): void {
  for (const metric of TRIO) {
    const tested = rows.flatMap((row) => (row.against?.[metric].p == null ? [] : [row.against[metric]]));
    holm(tested.map(({ p }) => p!)).forEach((value, i) => (tested[i]!.pHolm = value));
  }
}

function reasons(row: ComparisonRow): Record<string, string> {
  const why = row.answered === 0 ? "no-answers" : "too-few-or-constant";
  const own = TRIO.filter((metric) => row[metric] === null).map((metric) => [metric, why]);
  const nulls = TRIO.flatMap((metric) => Object.entries(row.against?.[metric] ?? {}).flatMap(([name, value]) => (value === null ? [[`against.${metric}.${name}`, "undefined-in-one-system"]] : [])));
  return Object.fromEntries([...own, ...nulls]) as Record<string, string>;
}

/**
 * The ablation table: every run's figures, and its difference to the baseline with a paired bootstrap interval, a p value and Holm's adjustment over the rows.
 * A missing answer is wrong for accuracy; MSE and PCC are compared on items that both systems answered.
 *
 * @throws EvaluationError `NO_TRUTH`, `GOLD_INVALID`, `PREDICTION_INVALID`, `UNKNOWN_BASELINE`.
 */
export function compareSystems(truth: ReadonlyMap<string, number>, runs: ReadonlyMap<string, PredictionMap>, options: CompareOptions): ComparisonTable {
  const { baseline, coerce = false, ...resampling } = options;
  if (!runs.has(baseline)) throw new EvaluationError(`there is no run ${baseline} among ${[...runs.keys()].join(", ")}`, { code: "UNKNOWN_BASELINE", hint: "Name one of the runs as the baseline." });
  const items = orderItems(truth);
  const { gold } = items;
  const scores = new Map([...runs].map(([name, predictions]) => [name, scoresOrNaN(predictionsOf(items, predictions, { coerce }))]));
  const rows = [...scores].map(([name, own]): ComparisonRow => {
    const figures = figureItems(gold, own).at(everyPosition(gold.length));
    const row: ComparisonRow = { name, answered: own.filter((value) => !Number.isNaN(value)).length, accuracy: orNull(figures.accuracy), mse: orNull(figures.mse), pcc: orNull(figures.pcc), undefined: {} };
    return name === baseline ? row : { ...row, against: against({ gold, a: scores.get(baseline)!, b: own }, resampling) };
  });
  adjust(rows);
  return { n: gold.length, baseline, rows: rows.map((row) => ({ ...row, undefined: reasons(row) })) };
}
