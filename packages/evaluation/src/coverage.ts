import { checkLabels, checkLength } from "./checks.ts";
import { classOf } from "./classes.ts";
import { compensatedSum } from "./sums.ts";

/** How much was answered, and what missing answers cost. */
export interface Coverage {
  /** Items. */
  n: number;
  /** Items with a prediction. */
  answered: number;
  /** Share answered, 0 … 1; null without items. */
  coverage: number | null;
  /** Share right, a missing answer being wrong; null without items. */
  accuracy: number | null;
  /** Mean squared error over answered items; null without answers. */
  mseAnswered: number | null;
  /** Mean squared error over all items, missing answers counted as 3; null without items. */
  mseImputed3: number | null;
  /** Mean squared error over all items, missing answers counted as the class farthest away: 16, 9, 4, 9, 16 by true class; null without items. */
  mseWorst: number | null;
}

/**
 * Accuracy and squared error with missing answers counted in three ways.
 *
 * @param gold        True classes, integers 1 … 5.
 * @param predictions As many numbers; null is a missing answer.
 * @throws EvaluationError `LENGTH_MISMATCH`, `GOLD_INVALID`.
 */
export function computeCoverage(gold: ArrayLike<number>, predictions: readonly (number | null)[]): Coverage {
  const n = gold.length;
  checkLength(gold, predictions, "predictions");
  checkLabels(gold);
  const answered = predictions.reduce<number>((count, value) => (value === null ? count : count + 1), 0);
  const hits = predictions.reduce<number>((count, value, i) => (value !== null && classOf(value) === gold[i] ? count + 1 : count), 0);
  const squared = (missing: (truth: number) => number): number =>
    compensatedSum(n, (i) => {
      const value = predictions[i] ?? null;
      return value === null ? missing(gold[i]!) : (value - gold[i]!) ** 2;
    });
  const share = (sum: number, of: number): number | null => (of === 0 ? null : sum / of);
  return {
    n,
    answered,
    coverage: share(answered, n),
    accuracy: share(hits, n),
    mseAnswered: share(squared(() => 0), answered),
    mseImputed3: share(squared((truth) => (3 - truth) ** 2), n),
    mseWorst: share(squared((truth) => Math.max(truth - 1, 5 - truth) ** 2), n),
  };
}
