import { DramascopeError } from "@dramascope/schema";
import { classOf, LABELS, withinClasses } from "./classes.ts";
import { crossConformal, type ConformalCheck } from "./conformal.ts";
import { crossFit, type FoldOptions } from "./cross-fit.ts";
import { orderItems, predictionsOf, scoresOrNaN, type PredictionMap } from "./items.ts";
import { everyPosition, figureItems, orNull } from "./paper-figures.ts";
import type { CoerceOptions } from "./predictions.ts";
import { meanOf } from "./sums.ts";

/** Items whose score rounds to one class. */
export interface CurvePoint {
  /** Items. */
  n: number;
  /** Mean score. */
  score: number;
  /** Mean true class. */
  gold: number;
}

/** How well scores meet their truths in the mean. */
export interface CalibrationQuality {
  /** Mean squared error. */
  mse: number | null;
  /** Mean of score − truth. */
  bias: number | null;
  /** Pearson's correlation; null where a side is constant. */
  pcc: number | null;
  /** Items by the class that their score rounds to; empty classes are left out. */
  curve: CurvePoint[];
}

/** Scores before and after calibration, and conformal intervals, all on items that the fit has not seen. */
export interface HeldOutCalibration {
  /** Answered items. */
  n: number;
  /** Folds. */
  folds: number;
  /** As given. */
  before: CalibrationQuality;
  /** After out-of-fold isotonic calibration; null when there are too few items. */
  isotonic: CalibrationQuality | null;
  /** After an out-of-fold straight line, kept within 1 … 5; null too when scores are constant or the wrong way round. */
  affine: CalibrationQuality | null;
  /** Intervals around the scores as given; null when there are too few items. */
  conformal: ConformalCheck | null;
  /** Why values are null, by path. */
  undefined: Record<string, string>;
}

/** Options of {@link heldOutCalibration}. */
export interface HeldOutOptions extends Omit<FoldOptions, "groups">, CoerceOptions {
  /** Group of each item by id, such as its franchise; items without one are their own. Default none. */
  groups?: ReadonlyMap<string, string>;
  /** Promised share outside the conformal intervals. Default .05. */
  alpha?: number;
}

function qualityOf(scores: ArrayLike<number>, gold: readonly number[]): CalibrationQuality {
  const { mse, bias, pcc } = figureItems(gold, scores).at(everyPosition(gold.length));
  const curve = LABELS.flatMap((label): CurvePoint[] => {
    const own = everyPosition(gold.length).filter((i) => classOf(scores[i]!) === label);
    return own.length === 0 ? [] : [{ n: own.length, score: meanOf(own.length, (k) => scores[own[k]!]!)!, gold: meanOf(own.length, (k) => gold[own[k]!]!)! }];
  });
  return { mse: orNull(mse), bias: orNull(bias), pcc: orNull(pcc), curve };
}

/** Least items a fold for a calibration worth looking at. */
const MIN_FOLD = 5;

/** Why a fit is impossible, for fits whose failure is a finding. */
function reasonOf(error: unknown): string {
  if (DramascopeError.isInstance(error) && ["INVERTED", "CONSTANT_INPUT", "FOLDS_INVALID"].includes(error.code)) return error.code.toLowerCase().replaceAll("_", "-");
  throw error;
}

/**
 * What calibration would do for these predictions, judged on held-out folds only.
 *
 * @throws EvaluationError `NO_TRUTH`, `GOLD_INVALID`, `PREDICTION_INVALID`.
 */
export function heldOutCalibration(truth: ReadonlyMap<string, number>, predictions: PredictionMap, options: HeldOutOptions = {}): HeldOutCalibration {
  const { folds = 5, seed = 0, alpha = 0.05, groups: groupOf, coerce = false } = options;
  const items = orderItems(truth);
  const all = scoresOrNaN(predictionsOf(items, predictions, { coerce }));
  const isAnswered = (_: unknown, i: number): boolean => !Number.isNaN(all[i]!);
  const [gold, scores, ids] = [items.gold.filter(isAnswered), all.filter(isAnswered), items.ids.filter(isAnswered)];
  const n = ids.length;
  const dealing: FoldOptions = { folds, seed, groups: groupOf && ids.map((id) => (groupOf.has(id) ? `group ${groupOf.get(id)!}` : `item ${id}`)) };
  const reasons: Record<string, string> = {};
  const attempt = <T>(name: string, make: () => T): T | null => {
    try {
      if (n >= folds * MIN_FOLD) return make();
      reasons[name] = "too-few-items";
    } catch (error) {
      reasons[name] = reasonOf(error);
    }
    return null;
  };
  const fitted = (model: "isotonic" | "affine"): CalibrationQuality | null => attempt(model, () => qualityOf(crossFit(model, { x: scores, y: gold, ...dealing }).values.map(withinClasses), gold));
  const result = { n, folds, before: qualityOf(scores, gold), isotonic: fitted("isotonic"), affine: fitted("affine"), conformal: attempt("conformal", () => crossConformal(scores, gold, { ...dealing, alpha })) };
  for (const name of ["before", "isotonic", "affine"] as const) {
    for (const figure of ["mse", "bias", "pcc"] as const) if (result[name]?.[figure] === null) reasons[`${name}.${figure}`] = n === 0 ? "no-answers" : "too-few-or-constant";
  }
  if (result.conformal?.reason) for (const name of ["width", "coverage", "setSize"]) reasons[`conformal.${name}`] = result.conformal.reason;
  return { ...result, undefined: reasons };
}
