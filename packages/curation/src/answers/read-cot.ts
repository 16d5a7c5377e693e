import type { Quality } from "@dramascope/schema";
import { JsonObject, type JsonValue } from "./json-value.ts";
import { loadAnswer, type RawAnswer } from "./load-answer.ts";
import { noteExtraKeys } from "./extra-keys.ts";
import { attempt, Refusal, type AnswerCode } from "./refusal.ts";

/** Answer of a sampling round. */
export interface CotAnswer {
  /** Class that the answer names, 1 lowest. */
  answer: Quality;
  /** Its reasons, not blank. */
  think: string;
}

/**
 * {@link CotAnswer}, or why there is none. `scoreAt` is where the score begins and ends (exclusive) in `content`, in UTF-16 units: its digit,
 * or the whole JSON value when no digit alone says the class (an escape, an exponent, a leading zero).
 */
export type ParsedCot = { ok: true; value: CotAnswer; flags: string[]; scoreAt: [start: number, end: number] } | { ok: false; error: AnswerCode };

/** Longest string that is looked at for a score. */
const MAX_SCORE_CHARS = 100;

function inRange(score: number): Quality {
  if (score < 1 || score > 5) throw new Refusal("SCORE_RANGE");
  return score as Quality;
}

function readScore(value: JsonValue | undefined, flags: Set<string>): Quality {
  if (value === undefined || value === null) throw new Refusal("SCORE_MISSING");
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Refusal("SCORE_FORM");
    if (!Number.isInteger(value)) throw new Refusal("SCORE_NOT_INTEGER");
    return inRange(value);
  }
  if (typeof value !== "string" || value.length > MAX_SCORE_CHARS) throw new Refusal("SCORE_FORM");
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

/**
 * Reads the answer of a sampling round: `{"think", "answer"}`, the score an integer 1 … 5, `4.0`, or one of the strings `4`, `4/5`, `4.0`, also in
 * full-width digits. A score is never guessed.
 */
export function readCot(raw: RawAnswer): ParsedCot {
  return attempt((flags) => {
    const { value, start } = loadAnswer(raw, flags, "refused");
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
