import { EvaluationError } from "./errors.ts";

/** Scores with the targets that they should have had. */
export interface CalibrationData {
  /** Scores. */
  x: ArrayLike<number>;
  /** Targets, for example true classes, one a score. */
  y: ArrayLike<number>;
  /** Positive weights, one a score. Default all 1. */
  weights?: ArrayLike<number> | undefined;
}

/** Refuses data that no curve can be fitted to. */
export function checkCalibrationData({ x, y, weights }: CalibrationData): void {
  const fail = (problem: string, hint: string): never => {
    throw new EvaluationError(problem, { code: "CALIBRATION_DATA", hint });
  };
  if (x.length === 0) fail("there is no score to calibrate with", "Give scores with their targets.");
  if (y.length !== x.length || (weights && weights.length !== x.length)) fail(`${x.length} scores, ${y.length} targets${weights ? ` and ${weights.length} weights` : ""} were given`, "Give one target, and one weight if any, for each score.");
  for (let i = 0; i < x.length; i++) {
    if (!Number.isFinite(x[i]) || !Number.isFinite(y[i])) fail(`pair ${i} is (${String(x[i])}, ${String(y[i])})`, "Leave items without a score or target out.");
    if (weights && !(weights[i]! > 0 && Number.isFinite(weights[i]))) fail(`weight ${i} is ${String(weights[i])}`, "Weights are positive; leave items of weight 0 out.");
  }
}
