import { EvaluationError } from "./errors.ts";
import { isConstant, kendall, pearson, spearman } from "./correlation.ts";

/** How one class fares. */
export interface ClassMetrics {
  label: number;
  /** Items of this true class. */
  support: number;
  /** Items predicted as this class. */
  predicted: number;
  /** Null where nothing was predicted. */
  precision: number | null;
  /** Null where there is no such item. */
  recall: number | null;
  /** Null where both are undefined. */
  f1: number | null;
}

/** Everything about predictions that all exist. Undefined values are null, with the reason in {@link undefinedMetrics}. */
export interface Metrics {
  n: number;
  /** Share of predictions that round to the true class. */
  accuracy: number | null;
  mse: number | null;
  /** Pearson's correlation. */
  pcc: number | null;
  mae: number | null;
  rmse: number | null;
  /** Share at most one class away. */
  within1: number | null;
  /** Mean of prediction − truth. */
  bias: number | null;
  /** Population standard deviation. */
  sdPred: number | null;
  /** Population standard deviation. */
  sdGold: number | null;
  /** Spearman's rank correlation. */
  srcc: number | null;
  /** Kendall's τ-b. */
  kendall: number | null;
  /** Quadratic weighted kappa. */
  qwk: number | null;
  linearKappa: number | null;
  /** Mean F1 over the five classes, an absent one counted as 0. */
  macroF1: number | null;
  /** Mean F1 over the classes that occur in the truth. */
  macroF1Present: number | null;
  /** Mean recall over the classes that occur in the truth. */
  balancedAccuracy: number | null;
  perClass: ClassMetrics[];
  /** [true][predicted], classes 1 … 5. */
  confusion: number[][];
}

const LABELS = [1, 2, 3, 4, 5] as const;

/** Class of a real-valued prediction: rounded, halves up, within 1 … 5. */
export const classOf = (prediction: number): number => Math.min(5, Math.max(1, Math.floor(prediction + 0.5)));

const mean = (values: readonly number[]): number | null => (values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length);

function deviation(values: ArrayLike<number>): number | null {
  const list = Array.from(values);
  const centre = mean(list);
  return centre === null ? null : Math.sqrt(mean(list.map((value) => (value - centre) ** 2))!);
}

function kappa(confusion: readonly (readonly number[])[], weight: (i: number, j: number) => number): number | null {
  const n = confusion.flat().reduce((a, b) => a + b, 0);
  const rows = confusion.map((row) => row.reduce((a, b) => a + b, 0));
  const columns = LABELS.map((_, j) => confusion.reduce((sum, row) => sum + row[j]!, 0));
  let observed = 0;
  let expected = 0;
  for (let i = 0; i < 5; i++) {
    for (let j = 0; j < 5; j++) {
      observed += weight(i, j) * confusion[i]![j]!;
      expected += (weight(i, j) * rows[i]! * columns[j]!) / n;
    }
  }
  return n === 0 || expected === 0 ? null : 1 - observed / expected;
}

function classMetrics(confusion: readonly (readonly number[])[]): ClassMetrics[] {
  return LABELS.map((label, i) => {
    const hits = confusion[i]![i]!;
    const support = confusion[i]!.reduce((a, b) => a + b, 0);
    const predicted = confusion.reduce((sum, row) => sum + row[i]!, 0);
    return {
      label,
      support,
      predicted,
      precision: predicted === 0 ? null : hits / predicted,
      recall: support === 0 ? null : hits / support,
      f1: support + predicted === 0 ? null : (2 * hits) / (support + predicted),
    };
  });
}

function check(gold: ArrayLike<number>, predictions: ArrayLike<number>): void {
  if (gold.length !== predictions.length) {
    throw new EvaluationError(`${gold.length} true classes and ${predictions.length} predictions were given`, { code: "LENGTH_MISMATCH", hint: "Give one prediction for each true class." });
  }
  for (let i = 0; i < gold.length; i++) {
    if (!LABELS.includes(gold[i] as 1)) throw new EvaluationError(`true class ${i} is ${String(gold[i])}`, { code: "GOLD_INVALID", hint: "True classes are the integers 1 to 5." });
    if (!Number.isFinite(predictions[i])) throw new EvaluationError(`prediction ${i} is ${String(predictions[i])}`, { code: "PREDICTION_INVALID", hint: "Predictions are finite numbers; leave missing ones out." });
  }
}

/** Metrics of complete predictions: integers, or reals that class metrics round. */
export function computeMetrics(gold: ArrayLike<number>, predictions: ArrayLike<number>): Metrics {
  check(gold, predictions);
  const n = gold.length;
  const errors = Array.from({ length: n }, (_, i) => predictions[i]! - gold[i]!);
  const classes = Array.from(predictions, classOf);
  const confusion = LABELS.map(() => new Array<number>(5).fill(0));
  for (let i = 0; i < n; i++) confusion[gold[i]! - 1]![classes[i]! - 1]!++;
  const perClass = classMetrics(confusion);
  const present = perClass.filter(({ support }) => support > 0);
  const mse = mean(errors.map((error) => error ** 2));
  return {
    n,
    accuracy: mean(classes.map((value, i) => (value === gold[i] ? 1 : 0))),
    mse,
    pcc: pearson(gold, predictions),
    mae: mean(errors.map(Math.abs)),
    rmse: mse === null ? null : Math.sqrt(mse),
    within1: mean(classes.map((value, i) => (Math.abs(value - gold[i]!) <= 1 ? 1 : 0))),
    bias: mean(errors),
    sdPred: deviation(predictions),
    sdGold: deviation(gold),
    srcc: spearman(gold, predictions),
    kendall: kendall(gold, predictions),
    qwk: kappa(confusion, (i, j) => (i - j) ** 2),
    linearKappa: kappa(confusion, (i, j) => Math.abs(i - j)),
    macroF1: n === 0 ? null : mean(perClass.map(({ f1 }) => f1 ?? 0)),
    macroF1Present: mean(present.map(({ f1 }) => f1 ?? 0)),
    balancedAccuracy: mean(present.map(({ recall }) => recall!)),
    perClass,
    confusion,
  };
}

/** Why a metric is null. */
export function undefinedMetrics(gold: ArrayLike<number>, predictions: ArrayLike<number>, metrics: Metrics): Record<string, string> {
  const reason = gold.length < 2 ? "too-few-items" : isConstant(gold) ? "constant-gold" : isConstant(predictions) ? "constant-prediction" : "no-expected-disagreement";
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => value === null).map(([name]) => [name, gold.length === 0 ? "no-items" : reason]));
}
