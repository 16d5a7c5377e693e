import { checkLabels, checkLength } from "./checks.ts";
import { classOf, LABELS } from "./classes.ts";
import { classMetrics, macroAverages, weightedKappa, type ClassMetrics } from "./confusion.ts";
import { pearson, rankCorrelations } from "./correlation.ts";
import { EvaluationError } from "./errors.ts";
import { meanOf, populationVariance } from "./sums.ts";

/** Everything about predictions that all exist. Undefined values are null, with the reason in {@link undefinedMetrics}. */
export interface Metrics {
  /** Items. */
  n: number;
  /** Share of predictions that round to the true class, 0 … 1. */
  accuracy: number | null;
  /** Mean squared error, in squared classes, 0 … 16. */
  mse: number | null;
  /** Pearson's correlation, −1 … 1. */
  pcc: number | null;
  /** Mean absolute error, in classes. */
  mae: number | null;
  /** Root of the mean squared error, in classes. */
  rmse: number | null;
  /** Share at most one class away, 0 … 1. */
  within1: number | null;
  /** Mean of prediction − truth, in classes. */
  bias: number | null;
  /** Population standard deviation of the predictions. */
  sdPred: number | null;
  /** Population standard deviation of the true classes. */
  sdGold: number | null;
  /** Spearman's rank correlation, average ranks for ties, −1 … 1. */
  srcc: number | null;
  /** Kendall's τ-b, −1 … 1. */
  kendall: number | null;
  /** Quadratic weighted kappa, at most 1. */
  qwk: number | null;
  /** Linearly weighted kappa, at most 1. */
  linearKappa: number | null;
  /** Mean F1 over the five classes, an absent one counted as 0. */
  macroF1: number | null;
  /** Mean F1 over the classes that occur in the truth. */
  macroF1Present: number | null;
  /** Mean recall over the classes that occur in the truth. */
  balancedAccuracy: number | null;
  /** One entry a class, lowest first. */
  perClass: ClassMetrics[];
  /** Counts [true][predicted], classes 1 … 5. */
  confusion: number[][];
}

function checkPredictions(predictions: ArrayLike<number>): void {
  for (let i = 0; i < predictions.length; i++) {
    if (!Number.isFinite(predictions[i])) throw new EvaluationError(`prediction ${i} is ${String(predictions[i])}`, { code: "PREDICTION_INVALID", hint: "Predictions are finite numbers; leave missing ones out." });
  }
}

const root = (value: number | null): number | null => (value === null ? null : Math.sqrt(value));

/**
 * Metrics of complete predictions: integers, or reals, which the class metrics round half up and keep within 1 … 5.
 *
 * @param gold        True classes, integers 1 … 5.
 * @param predictions As many finite numbers. For missing answers see `computeCoverage` and `evaluate`.
 * @throws EvaluationError `LENGTH_MISMATCH`, `GOLD_INVALID`, `PREDICTION_INVALID`.
 */
export function computeMetrics(gold: ArrayLike<number>, predictions: ArrayLike<number>): Metrics {
  checkLength(gold, predictions, "predictions");
  checkLabels(gold);
  checkPredictions(predictions);
  const n = gold.length;
  const confusion = LABELS.map(() => new Array<number>(5).fill(0));
  for (let i = 0; i < n; i++) confusion[gold[i]! - 1]![classOf(predictions[i]!) - 1]!++;
  const share = (isCounted: (difference: number) => boolean): number | null =>
    n === 0 ? null : confusion.flatMap((row, i) => row.filter((_, j) => isCounted(Math.abs(i - j)))).reduce((a, b) => a + b, 0) / n;
  const perClass = classMetrics(confusion);
  const mse = meanOf(n, (i) => (predictions[i]! - gold[i]!) ** 2);
  return {
    n,
    accuracy: share((difference) => difference === 0),
    mse,
    pcc: pearson(gold, predictions),
    mae: meanOf(n, (i) => Math.abs(predictions[i]! - gold[i]!)),
    rmse: root(mse),
    within1: share((difference) => difference <= 1),
    bias: meanOf(n, (i) => predictions[i]! - gold[i]!),
    sdPred: root(populationVariance(predictions)),
    sdGold: root(populationVariance(gold)),
    ...rankCorrelations(gold, predictions),
    qwk: weightedKappa(confusion, (difference) => difference ** 2),
    linearKappa: weightedKappa(confusion, Math.abs),
    ...macroAverages(perClass),
    perClass,
    confusion,
  };
}

/** Why there is no correlation. */
function correlationReason({ n, perClass }: Metrics): string {
  if (n < 2) return "too-few-items";
  return perClass.some(({ support }) => support === n) ? "constant-gold" : "constant-prediction";
}

/**
 * Why values of {@link Metrics} are null, by name: `no-items`, `too-few-items`, `constant-gold`, `constant-prediction`, `no-expected-disagreement`,
 * and for classes (`perClass.0.precision`, counted from 0) `never-predicted`, `no-such-item`, `absent-class`.
 */
export function undefinedMetrics(metrics: Metrics): Record<string, string> {
  const reasons: Record<string, string> = {};
  for (const [name, value] of Object.entries(metrics)) {
    if (value !== null) continue;
    if (metrics.n === 0) reasons[name] = "no-items";
    else reasons[name] = name === "qwk" || name === "linearKappa" ? "no-expected-disagreement" : correlationReason(metrics);
  }
  metrics.perClass.forEach(({ precision, recall, f1 }, i) => {
    if (precision === null) reasons[`perClass.${i}.precision`] = "never-predicted";
    if (recall === null) reasons[`perClass.${i}.recall`] = "no-such-item";
    if (f1 === null) reasons[`perClass.${i}.f1`] = "absent-class";
  });
  return reasons;
}
