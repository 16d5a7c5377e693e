import { jsonSpans, withoutTrailingCommas, type Piece } from "./json-spans.ts";
import { JsonObject, parseJsonValue, type JsonValue } from "./json-value.ts";
import { Refusal } from "./refusal.ts";

/** A teacher's message as it came. */
export interface RawAnswer {
  /** Null where the provider sent none. */
  content: string | null;
  /** Why the provider ended the answer: `stop`, `length`, `content_filter` … Default `stop`. */
  finish?: string;
  /** The provider's own refusal beside the content. Default none. */
  refusal?: string;
}

/** Longest answer that is read, in UTF-16 units. */
const MAX_CHARS = 200_000;

const strip = ({ text, start }: Piece): Piece => ({ text: text.trim(), start: start + text.length - text.trimStart().length });

const after = ({ text, start }: Piece, at: number): Piece => ({ text: text.slice(at), start: start + at });

/** The text of an answer without thoughts before it. */
function answerText({ content, finish = "stop", refusal }: RawAnswer, flags: Set<string>): Piece {
  if (refusal !== undefined || finish === "content_filter") throw new Refusal("BLOCKED");
  if (finish === "length") throw new Refusal("TRUNCATED");
  if (content === null) throw new Refusal("EMPTY");
  let piece = strip({ text: content, start: 0 });
  if (piece.text === "") throw new Refusal("EMPTY");
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
  return piece;
}

/** What stands in the one fenced block of a text; the text itself where there is none, or where it begins with JSON. */
function withoutFence(piece: Piece, flags: Set<string>): Piece {
  if (piece.text.startsWith("{") || piece.text.startsWith("[")) return piece;
  const fences = piece.text.matchAll(/(```[a-zA-Z]*[^\S\n]*\n)([\s\S]*?)```/gu);
  const first = fences.next().value;
  if (first === undefined) return piece;
  if (fences.next().value !== undefined) throw new Refusal("AMBIGUOUS");
  flags.add("fenced");
  return strip({ text: first[2]!, start: piece.start + first.index + first[1]!.length });
}

/** True for U+FFFD and for half a surrogate pair: characters were lost on the way. */
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

/**
 * The one JSON value of an answer, whatever stands around it, and where it begins.
 *
 * @throws Refusal for an answer without exactly one readable value.
 */
export function loadAnswer(raw: RawAnswer, flags: Set<string>, repeatedKeys: "refused" | "kept"): { value: JsonValue; start: number } {
  const piece = withoutFence(answerText(raw, flags), flags);
  const [found, second] = jsonSpans(piece);
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
  if (repeatedKeys === "refused" && hasRepeatedKey(value)) throw new Refusal("DUPLICATE_KEY");
  if (hasBrokenText(value)) throw new Refusal("BAD_ENCODING");
  return { value, start: found.start };
}
