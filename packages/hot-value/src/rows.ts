import { csvCells, type IndicatorRow } from "@dramascope/schema";
import { INDICATORS, SCORE_NAMES } from "./indicators.ts";
import { DEFAULTS, type CompletionOptions, type ResolvedOptions } from "./options.ts";

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

/** How missing values and completion rates are read. */
export interface RowOptions {
  /** A missing count or duration refuses the row, or is 0. Default `reject`. */
  missing?: "reject" | "zero";
  /** How a completion rate is read. Default a ratio, refused outside 0 … 1, 0 when unknown. */
  completion?: CompletionOptions;
}

/** {@link RowOptions} with every value. */
export type RowRules = Pick<ResolvedOptions, "missing" | "completion">;

/** Row options with their defaults. */
export const rowRules = ({ missing = DEFAULTS.missing, completion }: RowOptions = {}): RowRules => ({ missing, completion: { ...DEFAULTS.completion, ...completion } });

/** The twelve columns of a row. */
export const COLUMNS = ["dramaId", "date", "releasedOn", ...SCORE_NAMES] as const;

type Fields = Readonly<Record<string, unknown>>;

/** Largest accepted count or duration. */
export const MAX_VALUE = 1e300;
const CSV_NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/u;
const NULL_WORDS = new Set(["", "null", "NULL", "\\N"]);

const isDay = (text: string): boolean => {
  if (!/^\d{4}-\d{2}-\d{2}$/u.test(text) || text < "0001") return false;
  const time = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().slice(0, 10) === text;
};

/** Days repeat from row to row, so the last few hundred verdicts are kept. */
function createDayCheck(): (value: unknown) => value is string {
  const known = new Map<string, boolean>();
  return (value): value is string => {
    if (typeof value !== "string") return false;
    const verdict = known.get(value);
    if (verdict !== undefined) return verdict;
    if (known.size >= 4096 || value.length > 10) known.clear();
    const found = isDay(value);
    known.set(value, found);
    return found;
  };
}

/** U+FFFD and lone surrogates are what is left of a text in another encoding: two such ids could be the same by accident. */
const isId = (id: string): boolean => id.length >= 1 && id.length <= 128 && !/[\u0000-\u001f\u007f\ufffd]/u.test(id) && id.trim() === id && id.isWellFormed();

/** A number as given: null when there is none, or what is wrong with it. */
type NumberCheck = { value: number | null; problem?: "not-a-number" | "not-finite" };

/** A completion rate as a ratio; null when it lies outside and that is refused. */
function ratioOf(value: number, { unit, outOfRange }: RowRules["completion"]): number | null {
  const ratio = unit === "percent" ? value / 100 : value;
  if (ratio >= 0 && ratio <= 1) return ratio + 0;
  return outOfRange === "clamp" ? (ratio < 0 ? 0 : 1) : null;
}

/** Checker of rows whose fields are read by `numberOf`. */
export function createRowCheck(numberOf: (value: unknown) => NumberCheck, rules: RowRules): (fields: Fields) => RowResult {
  const isDate = createDayCheck();
  const refuse = (error: RowProblem, field: string | null): RowResult => ({ ok: false, error, field });
  return (fields) => {
    const own = (name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined);
    const id = own("dramaId");
    if (id === undefined || id === null) return refuse("id-missing", "dramaId");
    if (typeof id !== "string") return refuse("id-not-string", "dramaId");
    if (!isId(id)) return refuse("id-invalid", "dramaId");
    const date = own("date");
    if (!isDate(date)) return refuse("date-invalid", "date");
    const releasedOn = own("releasedOn");
    if (!isDate(releasedOn)) return refuse("released-on-invalid", "releasedOn");
    if (date < releasedOn) return refuse("before-release", "date");
    const row = { dramaId: id, date, releasedOn } as IndicatorRow;
    let isRounded = false;
    for (const name of INDICATORS) {
      const { value: given, problem } = numberOf(own(name));
      if (problem) return refuse(problem, name);
      const value = given === null && rules.missing === "zero" ? 0 : given;
      if (value === null) return refuse("missing-indicator", name);
      if (value < 0) return refuse("negative", name);
      if (value > MAX_VALUE) return refuse("out-of-range", name);
      if (isPrecisionLost(value)) isRounded = true;
      row[name] = value + 0; // −0 becomes 0
    }
    const { value: completion, problem } = numberOf(own("completionRate"));
    if (problem) return refuse(problem, "completionRate");
    if (completion === null && rules.completion.null === "reject") return refuse("missing-indicator", "completionRate");
    const ratio = completion === null ? null : ratioOf(completion, rules.completion);
    if (completion !== null && ratio === null) return refuse("completion-out-of-range", "completionRate");
    row.completionRate = ratio;
    return isRounded ? { ok: true, row, warning: "precision-loss" } : { ok: true, row };
  };
}

/** Whether an integer is so large that its neighbours are lost in a double. */
const isPrecisionLost = (value: number): boolean => value > Number.MAX_SAFE_INTEGER && value < 2 ** 64 && Number.isInteger(value);

/** Numbers of JSON, of memory and of typed columns. */
export function jsonNumber(value: unknown): NumberCheck {
  if (value === undefined || value === null) return { value: null };
  if (typeof value !== "number" || Number.isNaN(value)) return { value: null, problem: "not-a-number" };
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

/** Reader of lines of JSONL; `onKeys` receives the own keys of each row. */
export function jsonReader(rules: RowRules, onKeys?: (keys: readonly string[]) => void): (line: string) => RowResult {
  const check = createRowCheck(jsonNumber, rules);
  return (line) => {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return { ok: false, error: "malformed-line", field: null };
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) return { ok: false, error: "malformed-line", field: null };
    onKeys?.(Object.keys(value));
    return check(value as Fields);
  };
}

/** Reads one line of JSONL. */
export function parseRowJson(line: string, options?: RowOptions): RowResult {
  return jsonReader(rowRules(options))(line);
}

/** Reader for the records below a CSV header, its columns that mean nothing here, or the columns it lacks or has twice. */
export function csvReader(header: string, rules: RowRules): { read: (record: string) => RowResult; extra: string[] } | { missing: string[] } {
  const found = csvCells(header.replace(/^\uFEFF/u, ""));
  const names = (Array.isArray(found) ? found : []).map((name) => name.trim());
  const missing = COLUMNS.filter((name) => names.filter((one) => one === name).length !== 1);
  if (missing.length > 0) return { missing };
  const at = COLUMNS.map((name) => names.indexOf(name));
  const check = createRowCheck(csvNumber, rules);
  const read = (record: string): RowResult => {
    const values = csvCells(record);
    if (!Array.isArray(values) || values.length !== names.length) return { ok: false, error: "malformed-line", field: null };
    const fields: Record<string, unknown> = {};
    COLUMNS.forEach((name, i) => (fields[name] = i < 3 && values[at[i]!] === "" ? undefined : values[at[i]!]));
    return check(fields);
  };
  return { read, extra: names.filter((name) => !(COLUMNS as readonly string[]).includes(name)) };
}

/** Reads one record of CSV under a header. */
export function parseRowCsv(line: string, header: string, options?: RowOptions): RowResult {
  const reader = csvReader(header, rowRules(options));
  return "missing" in reader ? { ok: false, error: "malformed-line", field: reader.missing[0]! } : reader.read(line);
}
