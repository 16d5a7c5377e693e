import { checkAlpha } from "./checks.ts";
import { classOf, LABELS } from "./classes.ts";
import { DEFAULT_FOLDS, dealFolds, type FoldOptions } from "./cross-fit.ts";
import { meanOf } from "./sums.ts";

/** Keeps a residual from missing itself by rounding. */
const TOLERANCE = 1e-9;

/**
 * Half width of a split conformal interval: the ⌈(n+1)(1−α)⌉-th smallest absolute residual (Lei et al. 2018).
 *
 * @param residuals Prediction − truth of items that the model was not fitted on.
 * @param alpha     Share of truths that may lie outside, between 0 and 1.
 * @returns In units of the residuals; null when there are too few for this alpha.
 * @throws EvaluationError `OPTION_INVALID` unless 0 < alpha < 1.
 */
export function conformalQuantile(residuals: ArrayLike<number>, alpha: number): number | null {
  checkAlpha(alpha);
  const sorted = Float64Array.from(residuals, Math.abs).sort();
  const rank = Math.ceil((sorted.length + 1) * (1 - alpha) - 1e-12);
  return rank > sorted.length ? null : sorted[rank - 1]!;
}

/** Interval of the class around a score in 1 … 5, cut to 1 … 5. */
export function conformalInterval(score: number, halfWidth: number): [low: number, high: number] {
  return [Math.max(1, score - halfWidth), Math.min(5, score + halfWidth)];
}

/** Classes no farther from a score than the half width; the nearest when there is none, the higher of two. */
export function conformalClasses(score: number, halfWidth: number): number[] {
  const inside = LABELS.filter((label) => Math.abs(label - score) <= halfWidth + TOLERANCE);
  return inside.length > 0 ? inside : [classOf(score)];
}

/** How conformal intervals do on items that their width has not seen. */
export interface ConformalCheck {
  /** Items. */
  n: number;
  /** Promised share outside. */
  alpha: number;
  /** Mean width of the cut intervals, in classes; null when the folds are too small for this alpha. */
  width: number | null;
  /** Share of the truths inside; null as the width. */
  coverage: number | null;
  /** Mean number of classes in the sets; null as the width. */
  setSize: number | null;
  /** Why the others are null. Absent otherwise. */
  reason?: "too-few-items";
}

/** Width and empirical coverage of conformal intervals, each fold by the residuals of the others. */
export function crossConformal(scores: ArrayLike<number>, gold: ArrayLike<number>, options: FoldOptions & { alpha?: number } = {}): ConformalCheck {
  const { alpha = 0.05, folds = DEFAULT_FOLDS } = options;
  const n = scores.length;
  const foldOf = dealFolds(n, options);
  const residuals = Float64Array.from(scores, (score, i) => score - gold[i]!);
  const widths = Array.from({ length: folds }, (_, fold) => conformalQuantile(residuals.filter((__, i) => foldOf[i] !== fold), alpha));
  if (widths.includes(null)) return { n, alpha, width: null, coverage: null, setSize: null, reason: "too-few-items" };
  const half = (i: number): number => widths[foldOf[i]!]!;
  return {
    n,
    alpha,
    width: meanOf(n, (i) => {
      const [low, high] = conformalInterval(scores[i]!, half(i));
      return high - low;
    }),
    coverage: meanOf(n, (i) => (Math.abs(residuals[i]!) <= half(i) + TOLERANCE ? 1 : 0)),
    setSize: meanOf(n, (i) => conformalClasses(scores[i]!, half(i)).length),
  };
}
