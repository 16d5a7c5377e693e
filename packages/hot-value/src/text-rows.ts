import { csvCells, readLines, type IndicatorRow, type NumberedLine } from "@dramascope/schema";
import { HotValueError } from "./errors.ts";
import { tableFormat } from "./input-files.ts";
import type { RejectedRow } from "./intake.ts";
import { COLUMNS, csvReader, jsonReader, type RowResult, type RowRules } from "./rows.ts";

/** A row with its place, or why it was left out. */
export type ReadRow = { row: IndicatorRow; line: number; warning?: "precision-loss" } | { rejected: RejectedRow };

/** Lines that one CSV record may span, so that a stray quote cannot swallow the file. */
const MAX_RECORD_LINES = 64;

/** CSV records: lines, joined while a quote is open; a quote that stays open ends with its line. */
async function* csvRecords(lines: AsyncIterable<NumberedLine>): AsyncGenerator<NumberedLine> {
  let waiting: NumberedLine[] = [];
  function* settle(isEnd: boolean): Generator<NumberedLine> {
    while (waiting.length > 0) {
      const [first] = waiting as [NumberedLine];
      let text = first.text;
      let used = 1;
      while (text.includes('"') && csvCells(text) === "open" && used < waiting.length) text += `\n${waiting[used++]!.text}`;
      const isOpen = text.includes('"') && csvCells(text) === "open";
      if (isOpen && !isEnd && waiting.length < MAX_RECORD_LINES) return;
      yield isOpen ? first : { ...first, text };
      waiting = waiting.slice(isOpen ? 1 : used);
    }
  }
  for await (const line of lines) {
    if (waiting.length === 0 && !line.text.includes('"')) yield line;
    else {
      waiting.push(line);
      yield* settle(false);
    }
  }
  yield* settle(true);
}

/**
 * Rows of a CSV or JSONL file, plain or `.gz`, streamed, each with its line.
 *
 * @param onColumn Receives names that mean nothing here, each time they occur.
 * @throws HotValueError `CSV_HEADER` when a column is missing or there twice.
 */
export async function* readTextRows(path: string, rules: RowRules, onColumn: (name: string) => void): AsyncGenerator<ReadRow> {
  const isCsv = tableFormat(path) === "csv";
  const known = new Set<string>(COLUMNS);
  let read: ((line: string) => RowResult) | undefined = isCsv ? undefined : jsonReader(rules, (keys) => {
    for (const key of keys) if (!known.has(key)) onColumn(key);
  });
  for await (const { line, text } of isCsv ? csvRecords(readLines(path)) : readLines(path)) {
    if (read === undefined) {
      const reader = csvReader(text, rules);
      if ("missing" in reader) throw new HotValueError(`${path}:${line}: the header lacks, or has twice, ${reader.missing.join(", ")}`, { code: "CSV_HEADER", hint: "Give a header line with all twelve columns, in any order." });
      read = reader.read;
      for (const name of reader.extra) onColumn(name);
      continue;
    }
    if (text.trim() === "") continue;
    const result = read(text);
    yield result.ok ? { row: result.row, line, ...(result.warning && { warning: result.warning }) } : { rejected: { file: path, line, reason: result.error, field: result.field } };
  }
}
