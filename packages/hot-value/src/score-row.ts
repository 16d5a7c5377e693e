import type { IndicatorRow, IndicatorScores, Quality } from "@dramascope/schema";
import { qualityOf } from "./clusters.ts";
import { HotValueError } from "./errors.ts";
import { hotValue, INDICATORS, type IndicatorName, type Weights } from "./indicators.ts";
import type { HotValueModel } from "./model.ts";
import { scoreCompletionRate, scoreIndicator, type ScoreIndicatorOptions } from "./score-indicator.ts";
import type { Thresholds } from "./thresholds.ts";

/** Marks of the eight indicators in one cohort. */
export type CohortThresholds = Readonly<Record<IndicatorName, Thresholds>>;

/** Scores and hot value of one row. */
export interface RowScore {
  /** As given. */
  dramaId: string;
  /** As given. */
  date: string;
  /** Nine, in the order of the indicators. */
  scores: IndicatorScores;
  /** Their weighted sum. */
  hotValue: number;
  /** Class of the hot value. */
  quality: Quality;
  /** Date of the cohort it was compared with; `*` when pooled. */
  thresholdsDate: string;
}

/** Nine scores and the hot value of one row in a cohort. */
export function scoreInCohort(row: IndicatorRow, thresholds: CohortThresholds, weights: Weights, options: ScoreIndicatorOptions): { scores: IndicatorScores; hotValue: number } {
  const scores = {} as IndicatorScores;
  for (const name of INDICATORS) scores[name] = scoreIndicator(row[name], thresholds[name], options);
  scores.completionRate = scoreCompletionRate(row.completionRate);
  return { scores, hotValue: hotValue(scores, weights) };
}

/** Options of scoring with a frozen model. */
export interface ScoreOptions {
  /** A date without a cohort: the latest before it, or an error. Default what the model was fitted with. */
  onUnknownDate?: "latest-before" | "error";
}

/** The cohort that a date is compared with: `*` when pooled, its own, else the latest before it; undefined when there is none. */
export function cohortFinder(cohorts: Iterable<string>): (date: string) => string | undefined {
  const dates = [...cohorts].sort();
  if (dates[0] === "*") return () => "*";
  return (date) => dates.findLast((one) => one <= date);
}

/** Scorer of rows with a frozen model. */
export function createRowScorer(model: HotValueModel, { onUnknownDate = model.options.onUnknownDate }: ScoreOptions = {}): (row: IndicatorRow) => RowScore {
  const find = cohortFinder(Object.keys(model.thresholds));
  const known = new Map<string, string>();
  const cohortOf = (date: string): string => {
    const found = find(date);
    if (found === undefined || (onUnknownDate === "error" && found !== "*" && found !== date)) {
      throw new HotValueError(`the model knows no cohort ${found === undefined ? "on or before" : "of"} ${date}; it has ${Object.keys(model.thresholds).sort().join(", ").slice(0, 200)}`, { code: "UNKNOWN_DATE", hint: "Score rows of later dates, or fit a model that covers this one." });
    }
    known.set(date, found);
    return found;
  };
  return (row) => {
    const thresholdsDate = known.get(row.date) ?? cohortOf(row.date);
    const { scores, hotValue: value } = scoreInCohort(row, model.thresholds[thresholdsDate]!, model.weights, model.options);
    return { dramaId: row.dramaId, date: row.date, scores, hotValue: value, quality: qualityOf(value, model.clusters.breakpoints), thresholdsDate };
  };
}

/**
 * Scores one row with a frozen model; nothing is fitted again. `thresholdsDate` says which cohort it was compared with.
 *
 * @throws HotValueError `UNKNOWN_DATE` when the model has no cohort for its date.
 */
export function scoreRow(model: HotValueModel, row: IndicatorRow, options: ScoreOptions = {}): RowScore {
  return createRowScorer(model, options)(row);
}

/** Scores rows as they come, in constant memory; errors as {@link scoreRow}. */
export async function* scoreRows(model: HotValueModel, rows: AsyncIterable<IndicatorRow>, options: ScoreOptions = {}): AsyncGenerator<RowScore> {
  const score = createRowScorer(model, options);
  for await (const row of rows) yield score(row);
}
