import { readLines, writeJsonl, writeTextAtomically, type IndicatorRow } from "@dramascope/schema";
import { HotValueError } from "./errors.ts";
import { fitHotValue, type FitOptions, type HotValueFit } from "./fit.ts";
import { SCORE_NAMES } from "./indicators.ts";
import { csvReader, parseRowJson, type RowProblem, type RowResult } from "./rows.ts";

/** A line that was left out. */
export interface RejectedRow {
  file: string;
  /** 1-based. */
  line: number;
  reason: RowProblem;
  field: string | null;
}

/** Options of reading files. */
export interface FileOptions {
  /** Share of bad lines above which the whole input is refused. Default 0.01. */
  maxRejectedShare?: number;
}

const formatOf = (path: string): string => /\.(csv|jsonl|ndjson)(?:\.gz)?$/u.exec(path)?.[1] ?? "";

/** Rows of CSV and JSONL files, streamed, with the lines that were refused. */
export async function* readRows(path: string): AsyncGenerator<{ row: IndicatorRow } | { rejected: RejectedRow }> {
  const format = formatOf(path);
  if (format === "") throw new HotValueError(`${path}: the name does not end in .csv, .jsonl or .ndjson (with or without .gz)`, { code: "FILE_FORMAT", hint: "Convert the file, or name it by what it holds." });
  let read: ((line: string) => RowResult) | undefined = format === "csv" ? undefined : parseRowJson;
  for await (const { line, text } of readLines(path)) {
    if (read === undefined) {
      const reader = csvReader(text);
      if ("missing" in reader) throw new HotValueError(`${path}:1: the header lacks ${reader.missing.join(", ")}`, { code: "CSV_HEADER", hint: "Give a header line with all twelve columns, in any order." });
      read = reader.read;
      continue;
    }
    if (text.trim() === "") continue;
    const result = read(text);
    yield result.ok ? { row: result.row } : { rejected: { file: path, line, reason: result.error, field: result.field } };
  }
}

/**
 * Fits a model on files; bad lines are reported by file and line.
 *
 * @throws HotValueError `TOO_MANY_REJECTED` when more than `maxRejectedShare` of the lines are bad, and those of {@link fitHotValue}.
 */
export async function fitHotValueFiles(paths: readonly string[], options: FitOptions & FileOptions): Promise<HotValueFit & { rejected: RejectedRow[] }> {
  const { maxRejectedShare = 0.01, ...fitOptions } = options;
  const rows: IndicatorRow[] = [];
  const rejected: RejectedRow[] = [];
  for (const path of paths) for await (const item of readRows(path)) {
    if ("row" in item) rows.push(item.row);
    else rejected.push(item.rejected);
  }
  const share = rejected.length / Math.max(1, rows.length + rejected.length);
  if (share > maxRejectedShare) {
    const { file, line, reason, field } = rejected[0]!;
    throw new HotValueError(`${rejected.length} of ${rows.length + rejected.length} lines are bad; the first: ${file}:${line}: ${reason}${field === null ? "" : ` (${field})`}`, {
      code: "TOO_MANY_REJECTED",
      hint: `Correct the input, or raise maxRejectedShare above ${maxRejectedShare}.`,
    });
  }
  return { ...fitHotValue(rows, fitOptions), rejected };
}

/** Characters that make a spreadsheet take a text for a formula, full-width forms included. */
const FORMULA = /^\s*[=+\-@\t\r＝＋－＠]/u;

function csvCell(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\n\r]/u.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A scored row or label as it is written. */
export interface ScoreRecord {
  dramaId: string;
  hotValue: number;
  quality: number | null;
  scores: Readonly<Record<(typeof SCORE_NAMES)[number], number>>;
  [key: string]: unknown;
}

/** Writes scores as CSV that opens safely in a spreadsheet, or as JSONL, by the file's name; whole or absent. */
export async function writeScores(path: string, records: Iterable<ScoreRecord>): Promise<void> {
  const format = formatOf(path);
  if (format === "") throw new HotValueError(`${path}: the name does not end in .csv, .jsonl or .ndjson (with or without .gz)`, { code: "FILE_FORMAT", hint: "Name the file by the format you want." });
  if (format !== "csv") {
    await writeJsonl(path, records);
    return;
  }
  function* lines(): Generator<string> {
    let header: string[] | undefined;
    for (const { scores, ...rest } of records) {
      if (header === undefined) {
        header = Object.keys(rest);
        yield `${[...header, ...SCORE_NAMES.map((name) => `score_${name}`)].join(",")}\r\n`;
      }
      yield `${[...header.map((key) => csvCell(rest[key])), ...SCORE_NAMES.map((name) => csvCell(scores[name]))].join(",")}\r\n`;
    }
  }
  await writeTextAtomically(path, lines());
}
