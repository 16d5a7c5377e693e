import { redact } from "./redact.ts";

/** A comment as it may leave the house. */
export interface PreparedComment {
  /** Redacted, without invisible marks, without white space around; empty when nothing is left. */
  text: string;
  /** The end is missing: the comment was longer than allowed. */
  isCut: boolean;
}

/** Longest comment that is sent, in UTF-16 units. */
const MAX_CHARS = 500;
/** A character that would be halved by a cut, or the beginning of a label such as `[phone]`. */
const HALF = /(?:[\ud800-\udbff\u200d]|\[[a-z]{0,7})$/u;

/** Redacts a comment and then cuts it, with `…` at its end, to 500 UTF-16 units, so that a cut never hides half a number from the redaction. */
export function prepareComment(text: string): PreparedComment {
  const clean = redact(text).trim();
  if (clean.length <= MAX_CHARS) return { text: clean, isCut: false };
  return { text: `${clean.slice(0, MAX_CHARS - 1).replace(HALF, "").trimEnd()}…`, isCut: true };
}
