import { createRandom, DramascopeError } from "@dramascope/schema";
import { applyCalibration, fitCalibration, type Calibration } from "./calibration.ts";
import type { CalibrationData } from "./calibration-data.ts";
import { EvaluationError } from "./errors.ts";

/** How items are dealt to folds. */
export interface FoldOptions {
  /** Default 5. */
  folds?: number;
  /** Default 0. */
  seed?: number;
  /** Group of each item, such as its franchise: a group is never on both sides. Default: every item its own. */
  groups?: readonly string[] | undefined;
}

export const DEFAULT_FOLDS = 5;

/** Out-of-fold values. */
export interface CrossFitResult {
  /** Calibrated value of each item, by the curve of the other folds. */
  values: number[];
  /** Fold of each item, from 0. */
  foldOf: number[];
  /** Curve of each fold, fitted on the others. */
  models: Calibration[];
}

/**
 * Deals items to folds of about equal size; groups stay together.
 *
 * @returns Fold of each item, from 0.
 * @throws EvaluationError `FOLDS_INVALID` when there are fewer groups than folds.
 */
export function dealFolds(n: number, { folds = DEFAULT_FOLDS, seed = 0, groups }: FoldOptions = {}): number[] {
  if (groups && groups.length !== n) throw new EvaluationError(`${n} items and ${groups.length} groups were given`, { code: "LENGTH_MISMATCH", hint: "Give one group for each item." });
  const sizes = new Map<string | number, number>();
  for (let i = 0; i < n; i++) sizes.set(groups?.[i] ?? i, (sizes.get(groups?.[i] ?? i) ?? 0) + 1);
  if (!Number.isInteger(folds) || folds < 2 || sizes.size < folds) {
    throw new EvaluationError(`${folds} folds of ${sizes.size} groups were asked for`, { code: "FOLDS_INVALID", hint: "Use at least two folds, and no more than there are groups." });
  }
  const names = groups ? [...sizes.keys()].sort() : [...sizes.keys()];
  const filled = new Array<number>(folds).fill(0);
  const dealt = new Map<string | number, number>();
  for (const name of createRandom(seed).shuffle(names)) {
    const fold = filled.indexOf(Math.min(...filled));
    filled[fold]! += sizes.get(name)!;
    dealt.set(name, fold);
  }
  return Array.from({ length: n }, (_, i) => dealt.get(groups?.[i] ?? i)!);
}

/**
 * Calibrates every item by a curve that has not seen its fold: the only values on which a calibration may be judged.
 *
 * @throws EvaluationError `FOLDS_INVALID`, and what the fit of a fold throws, such as `INVERTED`, naming the fold.
 */
export function crossFit(model: "isotonic" | "affine", options: CalibrationData & FoldOptions): CrossFitResult {
  const { x, y, weights, folds = DEFAULT_FOLDS } = options;
  const foldOf = dealFolds(x.length, options);
  const pick = (values: ArrayLike<number>, fold: number): Float64Array => Float64Array.from(values).filter((_, i) => foldOf[i] !== fold);
  const models = Array.from({ length: folds }, (_, fold) => {
    try {
      return fitCalibration(model, { x: pick(x, fold), y: pick(y, fold), weights: weights && pick(weights, fold) });
    } catch (error) {
      if (!DramascopeError.isInstance(error)) throw error;
      throw new EvaluationError(`without fold ${fold + 1} of ${folds}: ${error.message}`, { code: error.code, hint: error.hint, cause: error });
    }
  });
  return { values: Array.from(x, (score, i) => applyCalibration(models[foldOf[i]!]!, score)), foldOf, models };
}
