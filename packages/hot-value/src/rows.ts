import type { IndicatorRow } from "@dramascope/schema";
import { INDICATORS } from "./indicators.ts";

/** Why a row is refused. */
export type RowProblem =
  | "malformed-line"
  | "id-missing"
  | "id-not-string"
  | "id-invalid"
  | "date-invalid"
  | "released-on-invalid"
  | "before-release"
  | "missing-indicator"
  | "not-a-number"
  | "not-finite"
  | "negative"
  | "out-of-range"
  | "completion-out-of-range";

/** A row, or what is wrong with it and where. */
export type RowResult = { ok: true; row: IndicatorRow; warning?: "precision-loss" } | { ok: false; error: RowProblem; field: string | null };

type Fields = Readonly<Record<string, unknown>>;

const MAX_VALUE = 1e300;
const CSV_NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/u;
const NULL_WORDS = new Set(["", "null", "NULL", "\\N"]);
const HEADER = ["dramaId", "date", "releasedOn", ...INDICATORS, "completionRate"];

function isDate(value: unknown): value is string {
  if (typeof value !== "string" || !/^\d{4}-\d{2}-\d{2}$/u.test(value)) return false;
  const time = Date.parse(`${value}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().slice(0, 10) === value;
}

 
const isId = (id: string): boolean => id.length >= 1 && id.length <= 128 && !/[\u0000-\u001f\u007f]/u.test(id) && id.trim() === id;

/** A number as given: JSON numbers, or NaN with the reason. */
type NumberCheck = { value: number | null; problem?: "not-a-number" | "not-finite" };

function checkRow(fields: Fields, numberOf: (value: unknown) => NumberCheck): RowResult {
  const own = (name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined);
  const refuse = (error: RowProblem, field: string | null): RowResult => ({ ok: false, error, field });
  const id = own("dramaId");
  if (id === undefined || id === null) return refuse("id-missing", "dramaId");
  if (typeof id !== "string") return refuse("id-not-string", "dramaId");
  if (!isId(id)) return refuse("id-invalid", "dramaId");
  const date = own("date");
  if (!isDate(date)) return refuse("date-invalid", "date");
  const releasedOn = own("releasedOn");
  if (!isDate(releasedOn)) return refuse("released-on-invalid", "releasedOn");
  if (date < releasedOn) return refuse("before-release", "date");
  const values: Record<string, number | null> = {};
  let isRounded = false;
  for (const name of INDICATORS) {
    const { value, problem } = numberOf(own(name));
    if (problem) return refuse(problem, name);
    if (value === null) return refuse("missing-indicator", name);
    if (value < 0) return refuse("negative", name);
    if (value > MAX_VALUE) return refuse("out-of-range", name);
    if (Number.isInteger(value) && value > Number.MAX_SAFE_INTEGER && value < 2 ** 64) isRounded = true;
    values[name] = value + 0; // −0 becomes 0
  }
  const completion = numberOf(own("completionRate"));
  if (completion.problem) return refuse(completion.problem, "completionRate");
  if (completion.value !== null && !(completion.value >= 0 && completion.value <= 1)) return refuse("completion-out-of-range", "completionRate");
  const row = { dramaId: id, date, releasedOn, ...values, completionRate: completion.value } as IndicatorRow;
  return isRounded ? { ok: true, row, warning: "precision-loss" } : { ok: true, row };
}

function jsonNumber(value: unknown): NumberCheck {
  if (value === undefined || value === null) return { value: null };
  if (typeof value !== "number") return { value: null, problem: "not-a-number" };
  return Number.isFinite(value) ? { value } : { value: null, problem: "not-finite" };
}

function csvNumber(value: unknown): NumberCheck {
  if (typeof value !== "string") return { value: null };
  const text = value.trim();
  if (NULL_WORDS.has(text)) return { value: null };
  if (/^[+-]?Infinity$/u.test(text)) return { value: null, problem: "not-finite" };
  if (!CSV_NUMBER.test(text)) return { value: null, problem: "not-a-number" };
  return jsonNumber(Number(text));
}

/** Reads one line of JSONL. */
export function parseRowJson(line: string): RowResult {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { ok: false, error: "malformed-line", field: null };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { ok: false, error: "malformed-line", field: null };
  return checkRow(value as Fields, jsonNumber);
}

/** Cells of one CSV line with RFC 4180 quotes; null when a quote stays open. */
function cells(line: string): string[] | null {
  const out: string[] = [];
  for (let at = 0; ; at++) {
    if (line[at] === '"') {
      let cell = "";
      for (at++; ; at++) {
        if (at >= line.length) return null;
        if (line[at] !== '"') cell += line.charAt(at);
        else if (line[at + 1] === '"') cell += line.charAt(at++);
        else break;
      }
      out.push(cell);
      at++;
    } else {
      const end = line.indexOf(",", at);
      out.push(line.slice(at, end < 0 ? undefined : end));
      at = end < 0 ? line.length : end;
    }
    if (at >= line.length) return out;
    if (line[at] !== ",") return null;
  }
}

/** Reader for the lines below a CSV header; undefined when a required column is missing. */
export function csvReader(header: string): { read: (line: string) => RowResult; extra: string[] } | { missing: string[] } {
  const names = (cells(header.replace(/^\uFEFF/u, "")) ?? []).map((name) => name.trim());
  const missing = HEADER.filter((name) => !names.includes(name));
  if (missing.length > 0) return { missing };
  const read = (line: string): RowResult => {
    const values = cells(line);
    if (values?.length !== names.length) return { ok: false, error: "malformed-line", field: null };
    const fields = Object.fromEntries(names.map((name, i): [string, unknown] => [name, ["dramaId", "date", "releasedOn"].includes(name) && values[i] === "" ? undefined : values[i]]));
    return checkRow(fields, csvNumber);
  };
  return { read, extra: names.filter((name) => !HEADER.includes(name)) };
}

/** Reads one line of CSV under a header. */
export function parseRowCsv(line: string, header: string): RowResult {
  const reader = csvReader(header);
  return "missing" in reader ? { ok: false, error: "malformed-line", field: reader.missing[0]! } : reader.read(line);
}
