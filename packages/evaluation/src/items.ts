import { parseLabel, parsePrediction, scoreOf, type CoerceOptions, type Prediction } from "./predictions.ts";
import { EvaluationError } from "./errors.ts";

/** Answers by id as callers give them: strings are an error unless `coerce` takes them. */
export type PredictionMap = ReadonlyMap<string, Prediction | string | null>;

/** Items with a true class in one fixed order, so that the order of files changes nothing. */
export interface Items {
  /** Shorter ids first, then by code unit, as decimal numbers sort. */
  ids: string[];
  /** True classes. */
  gold: number[];
}

/** The order of items: shorter ids first, then by code unit, as decimal numbers sort. Folds of one seed are the same for items in this order. */
export const compareIds = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);

/** Checks the true classes and orders them by id. */
export function orderItems(truth: ReadonlyMap<string, number>): Items {
  if (truth.size === 0) throw new EvaluationError("there is no true class", { code: "NO_TRUTH", hint: "Give a truth with at least one item." });
  const ids = [...truth.keys()].sort(compareIds);
  return { ids, gold: ids.map((id) => parseLabel(truth.get(id), `the class of ${id}`)) };
}

/** Predictions of the items, in their order; a missing one is null. */
export function predictionsOf({ ids }: Items, predictions: PredictionMap, options: CoerceOptions = {}): (Prediction | null)[] {
  return ids.map((id) => parsePrediction(predictions.get(id) ?? null, `the prediction of ${id}`, options));
}

/** Numbers of predictions; NaN for a missing one. */
export const scoresOrNaN = (predictions: readonly (Prediction | null)[]): Float64Array => Float64Array.from(predictions, (prediction) => (prediction === null ? Number.NaN : scoreOf(prediction)));
