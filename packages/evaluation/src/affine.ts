import { checkCalibrationData, type CalibrationData } from "./calibration-data.ts";
import { isConstant } from "./correlation.ts";
import { EvaluationError } from "./errors.ts";
import { compensatedSum } from "./sums.ts";

/** A rising straight line from score to target. */
export interface AffineModel {
  /** Tells calibrations apart. */
  kind: "affine";
  /** Target at score 0. */
  intercept: number;
  /** Target per score, above 0. */
  slope: number;
}

/**
 * Least squares straight line.
 *
 * @throws EvaluationError `INVERTED` when the line does not rise: such scores rank the wrong way round; `CONSTANT_INPUT` when all scores are equal; `CALIBRATION_DATA`.
 */
export function fitAffine(data: CalibrationData): AffineModel {
  checkCalibrationData(data);
  const { x, y, weights } = data;
  if (isConstant(x)) throw new EvaluationError(`all ${x.length} scores are ${x[0]}`, { code: "CONSTANT_INPUT", hint: "A line needs two different scores." });
  const weight = (i: number): number => weights?.[i] ?? 1;
  const total = compensatedSum(x.length, weight);
  const mean = (values: ArrayLike<number>): number => compensatedSum(x.length, (i) => weight(i) * values[i]!) / total;
  const [centreX, centreY] = [mean(x), mean(y)];
  const slope = compensatedSum(x.length, (i) => weight(i) * (x[i]! - centreX) * (y[i]! - centreY)) / compensatedSum(x.length, (i) => weight(i) * (x[i]! - centreX) ** 2);
  if (!(slope > 0)) throw new EvaluationError(`the best line through ${x.length} scores has the slope ${slope}`, { code: "INVERTED", hint: "Higher scores do not go with higher targets: look at the scores before calibrating them." });
  return { kind: "affine", intercept: centreY - slope * centreX, slope };
}
