import { EvaluationError } from "../errors.ts";
import { comoment, momentsOf, type Moments } from "./moments.ts";
import { checkPair, checkSummary, type Summary } from "./summary.ts";

/** Weights of numerator and denominator in the linearised user of a ratio metric: y/x̄ − R·x/x̄. */
export function ratioWeights({ means }: Moments): [numerator: number, denominator: number] {
  return [1 / means[1]!, -means[0]! / means[1]! ** 2];
}

/**
 * A ratio metric (click rate, completion) with users as the unit: R = ȳ/x̄ with variance (s_y² − 2R·s_xy + R²·s_x²)/x̄² of one user
 * (delta method). Clicks of one user are not independent of each other, so that a binomial test of clicks over impressions calls far too
 * many differences real.
 *
 * @param numerators   One value a user, for example clicks.
 * @param denominators One value a user, for example impressions.
 * @throws EvaluationError `LENGTH_MISMATCH`, `VALUE_INVALID`, `RATIO_UNDEFINED` when the denominators add up to 0, and `SUMMARY_INVALID` when the values are too large or small to be squared.
 */
export function ratioStats(numerators: ArrayLike<number>, denominators: ArrayLike<number>): Summary {
  const n = checkPair(numerators, denominators, "ratioStats");
  const moments = momentsOf([numerators, denominators]);
  const [y, x] = moments.means;
  if (x === 0) throw new EvaluationError("the denominators add up to 0, so there is no ratio", { code: "RATIO_UNDEFINED", hint: "Leave out metrics whose denominator never occurs." });
  const weights = ratioWeights(moments);
  return checkSummary({ mean: y! / x!, variance: Math.max(0, comoment(moments, weights, weights)) / (n - 1), n }, "ratioStats");
}
