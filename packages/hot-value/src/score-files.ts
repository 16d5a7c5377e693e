import { writeJsonl, type IndicatorRow, type OnProgress } from "@dramascope/schema";
import { checkRejected, type RejectedRow } from "./intake.ts";
import type { HotValueModel } from "./model.ts";
import { readRows } from "./read-rows.ts";
import { createRowScorer, type ScoreOptions } from "./score-row.ts";
import type { SessionOptions } from "./session.ts";
import { writeScores, type ScoreRecord } from "./write-scores.ts";

/** Where {@link scoreHotValueFiles} writes. */
export interface ScoreTargets {
  /** Scores, one a row in the order of the input; `.csv`, `.jsonl` (both also `.gz`) or `.parquet`. */
  scores: string;
  /** Rows that were left out, as JSONL. Default nowhere. */
  rejected?: string;
}

/** Options of {@link scoreHotValueFiles}. */
export interface ScoreFilesOptions extends ScoreOptions, SessionOptions {
  /** Share of refused rows above which nothing is written, 0 … 1. Default that of the model. */
  maxRejectedShare?: number;
  /** Receives the rows done. Default none. */
  onProgress?: OnProgress;
}

/** Rows scored and left out. */
export interface ScoreFilesResult {
  /** Rows scored. */
  rows: number;
  /** Rows left out. */
  rejected: number;
  /** Rows compared with an earlier cohort because the model has none of their date. */
  otherDate: number;
  /** Column names that mean nothing here, at most 100. */
  extraColumns: string[];
}

/**
 * Scores the rows of CSV, JSONL and Parquet files with a frozen model, in constant memory but for refused rows. Missing values and completion rates are
 * read as the model was fitted. The files are whole or absent.
 *
 * @throws HotValueError `TOO_MANY_REJECTED`, `UNKNOWN_DATE`, and those of {@link readRows}.
 */
export async function scoreHotValueFiles(model: HotValueModel, paths: readonly string[], targets: ScoreTargets, options: ScoreFilesOptions = {}): Promise<ScoreFilesResult> {
  const { maxRejectedShare = model.options.maxRejectedShare, onProgress, onUnknownDate, ...means } = options;
  const result: ScoreFilesResult = { rows: 0, rejected: 0, otherDate: 0, extraColumns: [] };
  const score = createRowScorer(model, onUnknownDate === undefined ? {} : { onUnknownDate });
  const rejected: RejectedRow[] = [];
  const { missing, completion } = model.options;
  const scoreOne = (row: IndicatorRow): ScoreRecord => {
    const scored = score(row);
    if (scored.thresholdsDate !== "*" && scored.thresholdsDate !== row.date) result.otherDate++;
    if (++result.rows % 10_000 === 0) onProgress?.({ phase: "scoring", done: result.rows });
    return { ...scored, modelHash: model.modelHash };
  };
  async function* scored(): AsyncGenerator<ScoreRecord> {
    for await (const item of readRows(paths, { ...means, missing, completion, onExtraColumn: (name) => result.extraColumns.push(name) })) {
      if ("row" in item) yield scoreOne(item.row);
      else rejected.push(item.rejected);
    }
    result.rejected = rejected.length;
    if (targets.rejected !== undefined) await writeJsonl(targets.rejected, rejected);
    checkRejected(rejected.length, result.rows + rejected.length, rejected[0], maxRejectedShare);
  }
  await writeScores(targets.scores, scored());
  return result;
}
