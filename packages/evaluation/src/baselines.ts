import { LABELS } from "./classes.ts";
import { pearson } from "./correlation.ts";
import { populationVariance } from "./sums.ts";

/** What one way of answering without looking scores; null without items. */
export interface BaselineScore {
  /** 0 … 1. */
  accuracy: number | null;
  /** In squared classes. */
  mse: number | null;
}

/** What answering without looking would score, and what these predictions would score at best after a straight-line correction. */
export interface Baselines {
  /** Items. */
  n: number;
  /** Every answer 3. */
  always3: BaselineScore;
  /** Every answer the commonest class, the lowest of equally common ones. */
  majority: BaselineScore & {
    /** That class. */
    label: number;
  };
  /** Uniformly random classes: the exact expectation. */
  random: BaselineScore;
  /** The true classes handed out in random order: the exact expectation. */
  labelShuffle: BaselineScore;
  /** Best affine recalibration of the given predictions. Only when predictions were given. */
  recalibrated?: {
    /** Items with a prediction. */
    n: number;
    /** Var(gold) · (1 − r²); null where the correlation is undefined. */
    mse: number | null;
  };
}

/**
 * Scores of four ways to answer without looking, exact, nothing drawn. For balanced classes: accuracy .2 for all, MSE 2 for always 3, 4 for random and shuffled.
 *
 * @param gold        True classes, integers 1 … 5.
 * @param predictions Complete predictions of other or the same items with their own true classes: adds what a straight line could make of them.
 */
export function baselines(gold: ArrayLike<number>, predictions?: { gold: ArrayLike<number>; predictions: ArrayLike<number> }): Baselines {
  const n = gold.length;
  const counts = [0, 0, 0, 0, 0];
  for (let i = 0; i < n; i++) counts[gold[i]! - 1]!++;
  const expected = (value: (label: number) => number): number | null => (n === 0 ? null : LABELS.reduce((sum, label, i) => sum + value(label) * counts[i]!, 0) / n);
  const constant = (given: number): BaselineScore => ({ accuracy: expected((label) => (label === given ? 1 : 0)), mse: expected((label) => (label - given) ** 2) });
  const majority = counts.indexOf(Math.max(...counts)) + 1;
  const variance = populationVariance(gold);
  return {
    n,
    always3: constant(3),
    majority: { label: majority, ...constant(majority) },
    random: { accuracy: n === 0 ? null : 1 / LABELS.length, mse: expected((label) => LABELS.reduce((sum, other) => sum + (label - other) ** 2, 0) / LABELS.length) },
    labelShuffle: { accuracy: expected((label) => counts[label - 1]! / n), mse: variance === null ? null : 2 * variance },
    ...(predictions && { recalibrated: { n: predictions.gold.length, mse: recalibratedMse(predictions.gold, predictions.predictions) } }),
  };
}

/** Mean squared error after the best straight line: Var(gold) · (1 − r²). */
function recalibratedMse(gold: ArrayLike<number>, predictions: ArrayLike<number>): number | null {
  const r = pearson(gold, predictions);
  return r === null ? null : populationVariance(gold)! * (1 - r ** 2);
}
