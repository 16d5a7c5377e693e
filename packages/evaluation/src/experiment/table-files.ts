import { csvCells, readLines, type RejectedLine } from "@dramascope/schema";
import { EvaluationError } from "../errors.ts";

/** A line of a table as fields by column, or why it is none. */
export type TableLine = { line: number; fields: Record<string, unknown> } | { line: number; problem: string };

/** Columns of a table that are wanted, by what they hold. */
export interface WantedColumns {
  /** Text as it stands; empty cells are null. */
  texts: readonly string[];
  /** Numbers; empty cells, `null` and `\N` are null, anything else stays text. */
  numbers: readonly string[];
}

const NUMBER = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/u;
const EMPTY = new Set(["", "null", "NULL", "\\N"]);

const csvText = (cell: string): string | null => (cell === "" ? null : cell);

function csvNumber(cell: string): number | string | null {
  const text = cell.trim();
  return NUMBER.test(text) ? Number(text) : EMPTY.has(text) ? null : text;
}

/** Reader of the lines below a header. */
function csvLines(path: string, header: string, { texts, numbers }: WantedColumns): (line: number, text: string) => TableLine {
  const found = csvCells(header);
  const names = Array.isArray(found) ? found.map((name) => name.trim()) : [];
  const missing = [...texts, ...numbers].filter((name) => !names.includes(name));
  if (missing.length > 0) throw new EvaluationError(`${path}:1: the header lacks ${missing.join(", ")}`, { code: "CSV_HEADER", hint: "Give a first line with the names of the columns, in any order." });
  const wanted = [...texts.map((name) => ({ name, read: csvText })), ...numbers.map((name) => ({ name, read: csvNumber }))].map(({ name, read }) => ({ name, read, at: names.indexOf(name) }));
  const twice = wanted.find(({ name, at }) => names.lastIndexOf(name) !== at);
  if (twice) throw new EvaluationError(`${path}:1: the header has ${twice.name} twice`, { code: "CSV_HEADER", hint: "Give each column a name of its own." });
  return (line, text) => {
    const cells = csvCells(text);
    if (!Array.isArray(cells)) return { line, problem: "a quote stays open or stands inside a cell; double it, and keep each row on one line" };
    if (cells.length !== names.length) return { line, problem: `${cells.length} cells where the header has ${names.length}` };
    const fields: Record<string, unknown> = {};
    for (const { name, read, at } of wanted) fields[name] = read(cells[at]!);
    return { line, fields };
  };
}

function jsonLine(line: number, text: string): TableLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { line, problem: `not JSON: ${(error as Error).message}` };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { line, problem: "not a JSON object" };
  return { line, fields: value as Record<string, unknown> };
}

/**
 * Lines of a CSV or JSONL file (`.gz` accepted), streamed. Blank lines are passed over.
 *
 * @throws EvaluationError `FILE_FORMAT` for another name, `CSV_HEADER` when the header is absent, lacks a wanted column or has one twice, `NO_ROWS` for JSONL without a line; DataError `FILE_UNREADABLE`.
 */
export async function* readTable(path: string, wanted: WantedColumns): AsyncGenerator<TableLine> {
  const format = /\.(csv|jsonl|ndjson)(?:\.gz)?$/u.exec(path)?.[1];
  if (format === undefined) throw new EvaluationError(`${path}: the name does not end in .csv, .jsonl or .ndjson (with or without .gz)`, { code: "FILE_FORMAT", hint: "Convert the file, or name it by what it holds." });
  let read = format === "csv" ? undefined : jsonLine;
  let isEmpty = true;
  for await (const { line, text, isUtf8 } of readLines(path)) {
    if (text.trim() === "") continue;
    isEmpty = false;
    if (read === undefined) read = csvLines(path, text, wanted);
    else if (!isUtf8) yield { line, problem: "not UTF-8 text; convert the file" };
    else yield read(line, text);
  }
  if (isEmpty && format === "csv") throw new EvaluationError(`${path} is empty: it lacks a header`, { code: "CSV_HEADER", hint: "Give a first line with the names of the columns, in any order." });
  if (isEmpty) throw new EvaluationError(`${path} holds no row`, { code: "NO_ROWS", hint: "Give one JSON object a line." });
}

/** Options of reading rows from files. */
export interface ReadRowsOptions {
  /** Receives each bad line, which is then left out. Default: the first bad line is an error. */
  onRejected?: (rejected: RejectedLine) => void;
}

/** Passes a bad line on, or fails. */
export function reject(path: string, line: number, reason: string, { onRejected }: ReadRowsOptions): void {
  if (!onRejected) throw new EvaluationError(`${path}:${line}: ${reason}`, { code: "BAD_LINE", hint: "Mend or remove the line." });
  onRejected({ file: path, line, reason });
}
