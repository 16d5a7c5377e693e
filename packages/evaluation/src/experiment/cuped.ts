import { EvaluationError } from "../errors.ts";
import { comoment, momentsOf } from "./moments.ts";
import { checkPair } from "./summary.ts";

/** What a pre-period takes out of a metric's variance. */
export interface Cuped {
  /** Slope of the metric on the pre-period, cov/var; 0 when the pre-period does not vary. */
  theta: number;
  /** Variance after / variance before, 0 … 1; null when the metric does not vary. */
  varianceRatio: number | null;
  /** y − θ(x − x̄), one value a user: same mean, smaller variance. */
  adjusted: Float64Array;
}

/**
 * CUPED (Deng, Xu, Kohavi and Walker 2013): takes out of a metric what the same users' behaviour before the experiment foretells.
 * Over several arms give all arms' θ from {@link analyseExperiment}, which pools within arms.
 *
 * @param y The metric, one value a user.
 * @param x The pre-period, one value a user, measured before assignment; anything measured later biases the result.
 * @throws EvaluationError `LENGTH_MISMATCH`, `VALUE_INVALID`.
 */
export function cuped(y: ArrayLike<number>, x: ArrayLike<number>): Cuped {
  checkPair(y, x, "cuped");
  const moments = momentsOf([y, x]);
  const spread = comoment(moments, [0, 1], [0, 1]);
  const theta = spread === 0 ? 0 : comoment(moments, [1, 0], [0, 1]) / spread;
  const before = comoment(moments, [1, 0], [1, 0]);
  const varianceRatio = before === 0 ? null : comoment(moments, [1, -theta], [1, -theta]) / before;
  const centre = moments.means[1]!;
  if (![theta, varianceRatio ?? 0, centre, moments.means[0]!].every(Number.isFinite)) {
    throw new EvaluationError("cuped: the values are too large or small to be squared", { code: "VALUE_INVALID", hint: "Give values in a unit in which they lie between about 1e-100 and 1e100." });
  }
  return {
    theta,
    varianceRatio,
    adjusted: Float64Array.from(y, (value, i) => value - theta * (x[i]! - centre)),
  };
}
