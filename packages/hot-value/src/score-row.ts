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
  dramaId: string;
  date: string;
  scores: IndicatorScores;
  hotValue: number;
  quality: Quality;
  /** Date of the cohort it was compared with; `*` when pooled. */
  thresholdsDate: string;
}

/** Nine scores and the hot value of one row in a cohort. */
export function scoreInCohort(row: IndicatorRow, thresholds: CohortThresholds, weights: Weights, options: ScoreIndicatorOptions): { scores: IndicatorScores; hotValue: number } {
  const eight = INDICATORS.map((name) => [name, scoreIndicator(row[name], thresholds[name], options)] as const);
  const scores = { ...Object.fromEntries(eight), completionRate: scoreCompletionRate(row.completionRate) } as IndicatorScores;
  return { scores, hotValue: hotValue(scores, weights) };
}

/** Cohort that a frozen model compares a date with: its own, else the latest before it. */
function cohortOf(model: HotValueModel, date: string): string {
  if (model.reference.mode === "pooled") return "*";
  const dates = Object.keys(model.thresholds).filter((one) => one <= date).sort();
  const found = dates.at(-1);
  if (found === undefined) {
    throw new HotValueError(`the model knows no cohort on or before ${date}; its first is ${Object.keys(model.thresholds).sort()[0] ?? "none"}`, { code: "UNKNOWN_DATE", hint: "Score rows of later dates, or fit a model that covers this one." });
  }
  return found;
}

/** Scores one row with a frozen model; nothing is fitted again. */
export function scoreRow(model: HotValueModel, row: IndicatorRow): RowScore {
  const thresholdsDate = cohortOf(model, row.date);
  const { scores, hotValue: value } = scoreInCohort(row, model.thresholds[thresholdsDate]!, model.weights, model.options);
  return { dramaId: row.dramaId, date: row.date, scores, hotValue: value, quality: qualityOf(value, model.clusters.breakpoints), thresholdsDate };
}

/** Scores rows as they come, in constant memory. */
export async function* scoreRows(model: HotValueModel, rows: AsyncIterable<IndicatorRow>): AsyncGenerator<RowScore> {
  for await (const row of rows) yield scoreRow(model, row);
}
