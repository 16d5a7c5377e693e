import { HotValueError } from "./errors.ts";
import type { Thresholds } from "./thresholds.ts";

/** Options of {@link scoreIndicator}. */
export interface ScoreIndicatorOptions {
  /** A value below the fitted minimum scores 5, or goes on along the line. Default `clamp`. */
  belowMin?: "clamp" | "extrapolate";
  /** Cohorts whose marks coincide: refused, or scored by the nearest rule that stays finite and monotone. Default `error`. */
  degenerate?: "error" | "fallback";
}

/** Why a cohort's marks cannot be used as printed; null when they can. */
export function degeneracyOf({ p30, p93, rank10 }: Thresholds): "p93-equals-p30" | "rank10-not-above-p93" | null {
  if (!(p93 > p30)) return "p93-equals-p30";
  return rank10 > p93 ? null : "rank10-not-above-p93";
}

/**
 * Score of one count or duration (paper, eq. 1): 5 at the minimum, 20 at the 30th percentile, 70 at the 93rd, 100 at the tenth
 * largest value, and above 100 beyond it.
 *
 * @throws HotValueError `DEGENERATE_COHORT` with the cause in its `cause`, unless `degenerate` is `fallback`.
 */
export function scoreIndicator(x: number, thresholds: Thresholds, options: ScoreIndicatorOptions = {}): number {
  const { min: a, p30: b, p93: c, rank10: d, max } = thresholds;
  const problem = degeneracyOf(thresholds);
  if (problem !== null && options.degenerate !== "fallback") {
    throw new HotValueError(`the cohort's marks coincide (${problem}): p30 ${b}, p93 ${c}, rank 10 ${d}`, { code: "DEGENERATE_COHORT", cause: problem, hint: "Use a larger cohort, or the option degenerate: fallback." });
  }
  if (x < b) return x < a && options.belowMin !== "extrapolate" ? 5 : b === a ? 5 : 5 + (15 * (x - a)) / (b - a);
  if (x < c) return 20 + (50 * (x - b)) / (c - b);
  if (c === b && x === c) return 20;
  if (d > c) return 70 + (30 * (x - c)) / (d - c);
  return max > c ? 70 + (30 * (x - c)) / (max - c) : 70;
}

/** Score of a completion rate 0 … 1 (paper, eq. 2): 3 at 0 or when unknown, 15 at .3, 100 from .7 on. */
export function scoreCompletionRate(x: number | null): number {
  const rate = x ?? 0;
  if (rate < 0.3) return 3 + (12 * rate) / 0.3;
  return rate > 0.7 ? 100 : 15 + (85 * (rate - 0.3)) / (0.7 - 0.3);
}
