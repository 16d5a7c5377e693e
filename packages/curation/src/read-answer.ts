import type { Quality } from "@dramascope/schema";
import { JsonObject, parseJsonValue, type JsonValue } from "./json-value.ts";

/** A teacher's message as it came. */
export interface RawAnswer {
  content: string | null;
  /** Default `stop`. */
  finish?: string;
  refusal?: string;
}

/** Why an answer is not usable. */
export type AnswerCode =
  | "AMBIGUOUS" | "BAD_ENCODING" | "BLOCKED" | "DUPLICATE_KEY" | "EMPTY" | "INVALID_JSON" | "LABELS_FORM" | "NOT_OBJECT" | "NO_JSON" | "SCORE_FORM" | "SCORE_MISSING" | "SCORE_NOT_INTEGER"
  | "SCORE_RANGE" | "THINK_FORM" | "THINK_MISSING" | "TOO_DEEP" | "TOO_LARGE" | "TRUNCATED" | "VALID_FORM" | "VALID_MISSING";

/** A usable answer with what was odd about it, or the reason why there is none. */
export type Parsed<T> = { ok: true; value: T; flags: string[] } | { ok: false; error: AnswerCode };

/** Answer of a sampling round. */
export interface CotAnswer {
  answer: Quality;
  think: string;
}

/**
 * {@link CotAnswer}, or why there is none. `scoreAt` is where the score begins and ends (exclusive) in `content`, in UTF-16 units: its digit,
 * or the whole JSON value when no digit alone says the class (an escape, an exponent, a leading zero).
 */
export type ParsedCot = { ok: true; value: CotAnswer; flags: string[]; scoreAt: [start: number, end: number] } | { ok: false; error: AnswerCode };

/** Verdict on a chain of thought. */
export interface FilterAnswer {
  valid: boolean;
  reason: string;
}

/** Labels of comments, in their order: 1 about the drama, 0 not, null unresolved. */
export interface LabelsAnswer {
  labels: (0 | 1 | null)[];
  /** Positions without a label. */
  unresolved: number[];
}

const MAX_CHARS = 200_000;
const MAX_DEPTH = 32;

class Refusal extends Error {
  readonly code: AnswerCode;

  constructor(code: AnswerCode) {
    super(code);
    this.code = code;
  }
}

/** Part of a text, with the place where it begins in the whole. */
interface Piece {
  text: string;
  start: number;
}

const strip = ({ text, start }: Piece): Piece => ({ text: text.trim(), start: start + text.length - text.trimStart().length });

const after = ({ text, start }: Piece, at: number): Piece => ({ text: text.slice(at), start: start + at });

/** Calls `visit` for each character outside strings. */
function scan(text: string, start: number, visit: (character: string, at: number) => boolean): void {
  let isString = false;
  let isEscaped = false;
  for (let at = start; at < text.length; at++) {
    const character = text[at]!;
    if (isEscaped) isEscaped = false;
    else if (isString) {
      if (character === "\\") isEscaped = true;
      else if (character === '"') isString = false;
    } else if (character === '"') isString = true;
    else if (visit(character, at)) return;
  }
}

function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  scan(text, 0, (character) => {
    if (character === "{" || character === "[") deepest = Math.max(deepest, ++depth);
    else if (character === "}" || character === "]") depth--;
    return false;
  });
  return deepest;
}

/** Top-level objects and arrays of a text. */
function spans({ text, start }: Piece): Piece[] {
  const found: Piece[] = [];
  for (let at = 0; at < text.length; ) {
    if (text[at] !== "{" && text[at] !== "[") {
      at++;
      continue;
    }
    let depth = 0;
    let end = -1;
    scan(text, at, (character, place) => {
      if (character === "{" || character === "[") depth++;
      else if ((character === "}" || character === "]") && --depth === 0) end = place;
      return end >= 0;
    });
    if (end < 0) throw new Refusal("INVALID_JSON");
    found.push({ text: text.slice(at, end + 1), start: start + at });
    at = end + 1;
  }
  return found;
}

/** Spaces in place of commas before a closing bracket: the only repair. */
function withoutTrailingCommas(text: string): string {
  const drop = new Set<number>();
  let comma = -1;
  scan(text, 0, (character, at) => {
    if (character === ",") comma = at;
    else if ((character === "}" || character === "]") && comma >= 0 && text.slice(comma + 1, at).trim() === "") drop.add(comma);
    return false;
  });
  let kept = "";
  let done = 0;
  for (const at of drop) {
    kept += `${text.slice(done, at)} `;
    done = at + 1;
  }
  return kept + text.slice(done);
}

const isBroken = (text: string): boolean => text.includes("\uFFFD") || !text.isWellFormed();

function hasBrokenText(value: JsonValue): boolean {
  if (typeof value === "string") return isBroken(value);
  if (Array.isArray(value)) return value.some(hasBrokenText);
  return value instanceof JsonObject && value.entries.some(([key, entry]) => isBroken(key) || hasBrokenText(entry));
}

function hasRepeatedKey(value: JsonValue): boolean {
  if (Array.isArray(value)) return value.some(hasRepeatedKey);
  if (!(value instanceof JsonObject)) return false;
  const keys = value.keys();
  return new Set(keys).size < keys.length || value.entries.some(([, entry]) => hasRepeatedKey(entry));
}

/** The one JSON value of an answer, whatever stands around it, and where it begins. */
function load({ content, finish = "stop", refusal }: RawAnswer, flags: Set<string>, mayRepeatKeys: boolean): { value: JsonValue; start: number } {
  if (refusal !== undefined || finish === "content_filter") throw new Refusal("BLOCKED");
  if (finish === "length") throw new Refusal("TRUNCATED");
  let piece = strip({ text: content ?? "", start: 0 });
  if (content === null || piece.text === "") throw new Refusal("EMPTY");
  if (content.length > MAX_CHARS) throw new Refusal("TOO_LARGE");
  for (;;) {
    const { text } = piece;
    const tag = ["think", "thinking"].find((name) => text.startsWith(`<${name}>`));
    if (tag === undefined) break;
    const end = text.indexOf(`</${tag}>`);
    if (end < 0) throw new Refusal("TRUNCATED");
    piece = strip(after(piece, end + tag.length + 3));
    flags.add("think_block");
  }
  if (piece.text === "") throw new Refusal("EMPTY");
  if (piece.text[0] !== "{" && piece.text[0] !== "[") {
    const fences = [...piece.text.matchAll(/(```[a-zA-Z]*[^\S\n]*\n)([\s\S]*?)```/gu)];
    if (fences.length > 1) throw new Refusal("AMBIGUOUS");
    if (fences.length === 1) {
      const [{ index, 1: open, 2: inside }] = fences as [RegExpExecArray];
      piece = strip({ text: inside!, start: piece.start + index + open!.length });
      flags.add("fenced");
    }
  }
  if (depthOf(piece.text) > MAX_DEPTH) throw new Refusal("TOO_DEEP");
  const [found, second] = spans(piece);
  if (found === undefined) throw new Refusal("NO_JSON");
  if (second !== undefined) throw new Refusal("AMBIGUOUS");
  if (found.text !== piece.text) flags.add("wrapped");
  let value = parseJsonValue(found.text);
  if (value === undefined) {
    const repaired = withoutTrailingCommas(found.text);
    value = repaired === found.text ? undefined : parseJsonValue(repaired);
    if (value === undefined) throw new Refusal("INVALID_JSON");
    flags.add("repaired");
  }
  if (!mayRepeatKeys && hasRepeatedKey(value)) throw new Refusal("DUPLICATE_KEY");
  if (hasBrokenText(value)) throw new Refusal("BAD_ENCODING");
  return { value, start: found.start };
}

function readScore(value: JsonValue | undefined, flags: Set<string>): Quality {
  const inRange = (score: number): Quality => {
    if (score < 1 || score > 5) throw new Refusal("SCORE_RANGE");
    return score as Quality;
  };
  if (value === undefined || value === null) throw new Refusal("SCORE_MISSING");
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Refusal("SCORE_FORM");
    if (!Number.isInteger(value)) throw new Refusal("SCORE_NOT_INTEGER");
    return inRange(value);
  }
  if (typeof value !== "string" || value.length > 100) throw new Refusal("SCORE_FORM");
  const match = /^\s*(-?\d+)(?:\.0+)?(?:\s*\/\s*5)?\s*$/u.exec(value.normalize("NFKC"));
  if (!match) throw new Refusal(/^\s*\d+\.\d+\s*$/u.test(value) ? "SCORE_NOT_INTEGER" : "SCORE_FORM");
  flags.add("coerced");
  return inRange(Number(match[1]));
}

/** Where the digit stands in the JSON text of a score; the whole text when no digit alone says the class. */
function scorePlace(json: string): [start: number, end: number] {
  const plain = /^"?\s*([1-5])(?:\.0+)?(?:\s*\/\s*5)?\s*"?$/du.exec(json);
  return plain ? plain.indices![1]! : [0, json.length];
}

const noteExtraKeys = (object: JsonObject, known: readonly string[], flags: Set<string>): void => {
  if (object.keys().some((key) => !known.includes(key))) flags.add("extra_keys");
};

function attempt<T extends object>(read: (flags: Set<string>) => T): (T & { ok: true; flags: string[] }) | { ok: false; error: AnswerCode } {
  const flags = new Set<string>();
  try {
    return { ok: true, ...read(flags), flags: [...flags].sort() };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, error: error.code };
    throw error;
  }
}

/** Reads the answer of a sampling round; a score is never guessed. */
export function readCot(raw: RawAnswer): ParsedCot {
  return attempt((flags) => {
    const { value, start } = load(raw, flags, false);
    if (!(value instanceof JsonObject)) throw new Refusal("NOT_OBJECT");
    const answer = readScore(value.get("answer"), flags);
    const think = value.get("think");
    if (think === undefined) throw new Refusal("THINK_MISSING");
    if (typeof think !== "string") throw new Refusal("THINK_FORM");
    if (think.trim() === "") throw new Refusal("THINK_MISSING");
    noteExtraKeys(value, ["think", "answer"], flags);
    const [from, to] = value.placeOf("answer")!;
    const [digit, end] = scorePlace(raw.content!.slice(start + from, start + to));
    return { value: { answer, think }, scoreAt: [start + from + digit, start + from + end] as [number, number] };
  });
}

/** Reads a verdict on a chain of thought. */
export function readFilter(raw: RawAnswer): Parsed<FilterAnswer> {
  return attempt((flags) => {
    const { value } = load(raw, flags, false);
    if (!(value instanceof JsonObject)) throw new Refusal("NOT_OBJECT");
    let valid = value.get("valid");
    if (valid === undefined || valid === null) throw new Refusal("VALID_MISSING");
    if (typeof valid === "string" && /^\s*(?:true|false)\s*$/iu.test(valid)) {
      valid = valid.trim().toLowerCase() === "true";
      flags.add("coerced");
    }
    if (typeof valid !== "boolean") throw new Refusal("VALID_FORM");
    const given = value.get("reason");
    const reason = typeof given === "string" ? given : "";
    if (reason.trim() === "") flags.add("no_reason");
    noteExtraKeys(value, ["reason", "valid"], flags);
    return { value: { valid, reason } };
  });
}

function toBit(value: JsonValue | undefined): 0 | 1 | null {
  if (value === true || value === 1) return 1;
  if (value === false || value === 0) return 0;
  const text = typeof value === "string" ? value.trim() : "";
  return text === "0" ? 0 : text === "1" ? 1 : null;
}

/** Text as it is compared: compatibility forms, white space folded. */
export const normalText = (text: string): string => text.normalize("NFKC").replace(/\s+/gu, " ").trim();

/** Reads labels of comments, by number or, as `keyed`, by their text. What is missing or contradictory is unresolved, never 1. */
export function readLabels(raw: RawAnswer, comments: readonly string[], shape: "indexed" | "keyed" = "indexed"): Parsed<LabelsAnswer> {
  return attempt((flags) => {
    const { value } = load(raw, flags, shape === "keyed");
    const got = new Map<number, 0 | 1>();
    const conflicts = new Set<number>();
    const put = (place: number, label: 0 | 1 | null): void => {
      if (label === null) return;
      if (got.has(place) && got.get(place) !== label) conflicts.add(place);
      else got.set(place, label);
    };
    if (shape === "keyed") putKeyed(value, comments, put, conflicts, flags);
    else putIndexed(value, comments.length, put, flags);
    if (conflicts.size > 0) flags.add("conflict");
    const labels = comments.map((_, i) => (conflicts.has(i) ? null : (got.get(i) ?? null)));
    return { value: { labels, unresolved: labels.flatMap((label, i) => (label === null ? [i] : [])) } };
  });
}

type Put = (place: number, label: 0 | 1 | null) => void;

function putIndexed(value: JsonValue, count: number, put: Put, flags: Set<string>): void {
  const items = value instanceof JsonObject ? value.get("labels") : value;
  if (!Array.isArray(items)) throw new Refusal("LABELS_FORM");
  if (items.length > 0 && items.every((item) => toBit(item) !== null)) {
    if (items.length !== count) throw new Refusal("LABELS_FORM");
    flags.add("positional");
    items.forEach((item, i) => put(i, toBit(item)));
    return;
  }
  for (const item of items) {
    const place = item instanceof JsonObject ? item.get("i") : undefined;
    if (!(item instanceof JsonObject) || typeof place !== "number" || !Number.isInteger(place)) flags.add("bad_items");
    else if (place < 0 || place >= count) flags.add("unknown_items");
    else {
      const label = toBit(item.get("label"));
      if (label === null) flags.add("bad_items");
      else put(place, label);
    }
  }
}

function putKeyed(value: JsonValue, comments: readonly string[], put: Put, conflicts: Set<number>, flags: Set<string>): void {
  if (!(value instanceof JsonObject)) throw new Refusal("LABELS_FORM");
  const exact = new Map<string, number[]>();
  const loose = new Map<string, number[]>();
  comments.forEach((text, i) => {
    exact.set(text, [...(exact.get(text) ?? []), i]);
    loose.set(normalText(text), [...(loose.get(normalText(text)) ?? []), i]);
  });
  const seen = new Map<string, string>();
  for (const [key, entry] of value.entries) {
    const places = exact.get(key) ?? loose.get(normalText(key));
    if (places === undefined) {
      flags.add("unknown_items");
      continue;
    }
    const label = toBit(entry instanceof JsonObject ? entry.get("label") : entry);
    if (seen.has(key) && seen.get(key) !== String(label)) places.forEach((place) => conflicts.add(place));
    seen.set(key, String(label));
    places.forEach((place) => put(place, label));
  }
}

/** Reads an answer of a sampling round. */
export function parseAnswer(task: "cot", raw: RawAnswer): ParsedCot;
/** Reads a verdict. */
export function parseAnswer(task: "cot_filter", raw: RawAnswer): Parsed<FilterAnswer>;
/** Reads an answer by its task. */
export function parseAnswer(task: "cot" | "cot_filter", raw: RawAnswer): ParsedCot | Parsed<FilterAnswer> {
  return task === "cot" ? readCot(raw) : readFilter(raw);
}
