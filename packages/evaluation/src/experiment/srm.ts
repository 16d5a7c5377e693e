import { EvaluationError } from "../errors.ts";
import { chiSquareTail } from "./distributions.ts";

/** p value below which the arms' sizes contradict the plan. */
export const SRM_THRESHOLD = 0.001;

/** Test of the sample ratio. */
export interface Srm {
  /** Pearson's statistic. */
  chi2: number;
  /** Arms − 1. */
  df: number;
  /** Probability of a statistic at least as large when the plan holds. */
  p: number;
  /** True when p < .001: assignment or logging is broken, and no difference between the arms means anything. */
  isMismatch: boolean;
}

/**
 * Sample ratio mismatch: χ² test of the users in each arm against the planned shares.
 *
 * @param counts  Users, one number an arm.
 * @param weights Planned shares in the same order, any positive numbers.
 * @throws EvaluationError `SRM_INVALID` for fewer than two arms, unequal lengths, no users or shares that are not positive.
 */
export function srm(counts: readonly number[], weights: readonly number[]): Srm {
  const users = counts.reduce((a, b) => a + b, 0);
  const total = weights.reduce((a, b) => a + b, 0);
  const isSound = counts.length >= 2 && counts.length === weights.length && users > 0 && counts.every((count) => Number.isSafeInteger(count) && count >= 0) && weights.every((weight) => weight > 0 && Number.isFinite(weight));
  if (!isSound) throw new EvaluationError(`users ${counts.join(", ")} and shares ${weights.join(", ")} cannot be compared`, { code: "SRM_INVALID", hint: "Give one number of users and one positive share an arm." });
  const chi2 = counts.reduce((sum, count, i) => {
    const expected = (users * weights[i]!) / total;
    return sum + (count - expected) ** 2 / expected;
  }, 0);
  const df = counts.length - 1;
  const p = chiSquareTail(chi2, df);
  return { chi2, df, p, isMismatch: p < SRM_THRESHOLD };
}
