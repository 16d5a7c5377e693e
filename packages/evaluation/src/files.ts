import { DataError, describeIssues, readLines, type NumberedLine } from "@dramascope/schema";
import { z } from "zod";
import { EvaluationError } from "./errors.ts";
import { checkNew, parseJsonMap, type JsonEntry } from "./json-map.ts";
import { parseLabel, parsePrediction, type CoerceOptions, type Prediction } from "./predictions.ts";
import type { SliceValues } from "./slices.ts";

const record = z.looseObject({ dramaId: z.string({ error: "must be a string: numbers lose digits beyond 2^53" }).min(1) });
type DataRecord = z.infer<typeof record>;

const isJsonl = (path: string): boolean => /\.(?:jsonl|ndjson)(?:\.gz)?$/u.test(path);

function parseLine(path: string, { line, text, isUtf8 }: NumberedLine): DataRecord {
  const fail = (problem: string, cause?: unknown): never => {
    throw new DataError(`${path}:${line}: ${problem}`, { code: "BAD_LINE", cause, hint: "Mend or remove the line." });
  };
  if (!isUtf8) return fail("not UTF-8 text; convert the file");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return fail(`not JSON (${(error as Error).message})`, error);
  }
  const parsed = record.safeParse(value);
  return parsed.success ? parsed.data : fail(describeIssues(parsed.error));
}

/** Entries by id of a JSON object or of JSONL records, in file order. */
async function readEntries(path: string, valueOf: (record: DataRecord, where: string) => unknown): Promise<JsonEntry[]> {
  if (!isJsonl(path)) {
    const texts: string[] = [];
    for await (const { line, text, isUtf8 } of readLines(path)) {
      if (!isUtf8) throw new EvaluationError(`${path}:${line} is not UTF-8 text`, { code: "FILE_INVALID", hint: "Convert the file." });
      texts.push(text);
    }
    return parseJsonMap(texts.join("\n"), path);
  }
  const entries: JsonEntry[] = [];
  const lines = new Map<string, number>();
  for await (const numbered of readLines(path)) {
    if (numbered.text.trim() === "") continue;
    const parsed = parseLine(path, numbered);
    checkNew(lines, path, parsed.dramaId, numbered.line);
    lines.set(parsed.dramaId, numbered.line);
    entries.push({ key: parsed.dramaId, value: valueOf(parsed, `${path}:${numbered.line}`), line: numbered.line });
  }
  return entries;
}

/** Options of {@link readTruth} and {@link readSlices}. */
export interface ReadFileOptions {
  /** Told in one sentence what was left out. Default: nobody is. */
  onWarning?: (sentence: string) => void;
}

/**
 * True classes by id: a JSON object of ids, or JSONL with `dramaId` and `quality` (records without a class are left out); `.gz` is unpacked.
 *
 * @throws EvaluationError `FILE_INVALID`, `DUPLICATE_ID` with both lines, `GOLD_INVALID`, `NO_TRUTH` when no record has a class; DataError `BAD_LINE`, `FILE_UNREADABLE`.
 */
export async function readTruth(path: string, { onWarning }: ReadFileOptions = {}): Promise<Map<string, number>> {
  const entries = await readEntries(path, ({ quality }) => quality);
  const labelled = isJsonl(path) ? entries.filter(({ value }) => value !== null && value !== undefined) : entries;
  const without = entries.length - labelled.length;
  if (labelled.length === 0) throw new EvaluationError(`${path} holds no true class in ${entries.length} records`, { code: "NO_TRUTH", hint: "Give JSONL records with dramaId and quality, or a JSON object of ids and classes." });
  if (without > 0) onWarning?.(`${without} of ${entries.length} records of ${path} have no class`);
  return new Map(labelled.map(({ key, value, line }) => [key, parseLabel(value, `${path}:${line}: the class of ${key}`)]));
}

/** What a record says of its drama: `{ expected, p1 … }`, an assessment's `score` with its `distribution`, else its `quality`. */
function answerOf(record: DataRecord, where: string): unknown {
  if (!["expected", "score", "quality"].some((name) => Object.hasOwn(record, name))) {
    throw new DataError(`${where}: the prediction of ${record.dramaId} has none of score, quality and expected`, { code: "BAD_LINE", hint: "Name the column of the answers score, quality or expected; write null for a missing answer." });
  }
  if (Object.hasOwn(record, "expected")) return record;
  const { score, quality, distribution } = record;
  if (score === null || score === undefined) return quality ?? null;
  return typeof distribution === "object" && distribution !== null ? { ...distribution, expected: score } : score;
}

/**
 * Predictions by id: a JSON object of ids, or JSONL of assessments or of `{ dramaId, expected, p1 … p5 }`, the five shares being optional; `.gz` is unpacked.
 * A missing answer is null and must be written: a record without `score`, `quality` and `expected` is an error.
 *
 * @throws EvaluationError `FILE_INVALID`, `DUPLICATE_ID` with both lines, `PREDICTION_INVALID`; DataError `BAD_LINE`, `FILE_UNREADABLE`.
 */
export async function readPredictions(path: string, options: CoerceOptions = {}): Promise<Map<string, Prediction | null>> {
  const entries = await readEntries(path, answerOf);
  return new Map(entries.map(({ key, value, line }) => [key, parsePrediction(value, `${path}:${line}: the prediction of ${key}`, options)]));
}

/**
 * Targets by id, such as click rates: a JSON object of ids and numbers, or JSONL with `dramaId` and `target`; `.gz` is unpacked.
 *
 * @throws EvaluationError `FILE_INVALID`, `DUPLICATE_ID` with both lines, `TARGET_INVALID`; DataError `BAD_LINE`, `FILE_UNREADABLE`.
 */
export async function readTargets(path: string): Promise<Map<string, number>> {
  const entries = await readEntries(path, ({ target }) => target);
  return new Map(
    entries.map(({ key, value, line }) => {
      if (typeof value !== "number" || !Number.isFinite(value)) throw new EvaluationError(`${path}:${line}: the target of ${key} is ${JSON.stringify(value)}`, { code: "TARGET_INVALID", hint: "Targets are finite numbers; leave items without one out." });
      return [key, value];
    }),
  );
}

/** Fields that name or date single items rather than kinds of them. */
const NOT_SLICED = new Set(["dramaId", "title"]);
/** Values of a dimension above which it names items rather than kinds of them. */
const MAX_SLICES = 50;
/** Longest name of a slice, in UTF-16 units. */
const MAX_SLICE_NAME = 64;

/** Whether there is such a day in the calendar. */
function isDay(text: string): boolean {
  const time = new Date(`${text}T00:00:00Z`).getTime();
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text);
}

/** A metadata value as the name of a slice: dates become quarters, lists, objects and fractions are none. */
function sliceName(value: unknown): string | undefined {
  if (typeof value === "boolean" || (typeof value === "number" && Number.isInteger(value))) return String(value);
  if (typeof value !== "string" || value === "") return undefined;
  const date = /^((\d{4})-(\d{2})-\d{2})(?:T.*)?$/u.exec(value);
  return date && isDay(date[1]!) ? `${date[2]}-Q${Math.ceil(Number(date[3]) / 3)}` : value;
}

/**
 * Metadata to slice by: JSONL with `dramaId` and fields such as `genre`, or a JSON object of ids and objects; `.gz` is unpacked.
 * Texts, whole numbers and truth values are dimensions, dates by quarter; titles are not, nor are fields with more than 50 different values
 * or with one longer than 64 characters: those are free text or names of single items.
 *
 * @throws EvaluationError `FILE_INVALID`, `DUPLICATE_ID` with both lines; DataError `BAD_LINE`, `FILE_UNREADABLE`.
 */
export async function readSlices(path: string, { onWarning }: ReadFileOptions = {}): Promise<SliceValues> {
  const slices = new Map<string, Map<string, string>>();
  for (const { key, value } of await readEntries(path, (record) => record)) {
    if (typeof value !== "object" || value === null) continue;
    for (const [dimension, raw] of Object.entries(value)) {
      const name = NOT_SLICED.has(dimension) ? undefined : sliceName(raw);
      if (name === undefined) continue;
      const own = slices.get(dimension) ?? new Map<string, string>();
      slices.set(dimension, own.set(key, name));
    }
  }
  const kept = [...slices].filter(([dimension, values]) => {
    const names = new Set(values.values());
    const problem = names.size > MAX_SLICES ? `more than ${MAX_SLICES} different values` : [...names].some((name) => name.length > MAX_SLICE_NAME) ? `a value longer than ${MAX_SLICE_NAME} characters` : undefined;
    if (problem !== undefined) onWarning?.(`${path} is not sliced by ${dimension.slice(0, MAX_SLICE_NAME)}: the field has ${problem}`);
    return problem === undefined;
  });
  return new Map(kept.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Franchises by id, for folds that keep a franchise together: JSONL with `dramaId` and `franchiseId`, or a JSON object of ids and objects; `.gz` is unpacked.
 * Empty when no record has one.
 *
 * @throws EvaluationError `FILE_INVALID`, `DUPLICATE_ID` with both lines; DataError `BAD_LINE`, `FILE_UNREADABLE`.
 */
export async function readFranchises(path: string): Promise<Map<string, string>> {
  const entries = await readEntries(path, (record) => record);
  return new Map(
    entries.flatMap(({ key, value }): [string, string][] => {
      const franchise = typeof value === "object" && value !== null && Object.hasOwn(value, "franchiseId") ? (value as { franchiseId: unknown }).franchiseId : undefined;
      return (typeof franchise === "string" && franchise !== "") || Number.isSafeInteger(franchise) ? [[key, String(franchise)]] : [];
    }),
  );
}
