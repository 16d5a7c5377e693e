import { Refusal } from "./refusal.ts";

/** Part of a text, with the place where it begins in the whole. */
export interface Piece {
  text: string;
  start: number;
}

/** Deepest nesting that is parsed. */
const MAX_DEPTH = 32;

/** Where a string that opens at `at` ends (exclusive); the end of the text when it is never closed. */
function stringEnd(text: string, at: number): number {
  for (let end = at + 1; end < text.length; end++) {
    if (text[end] === "\\") end++;
    else if (text[end] === '"') return end + 1;
  }
  return text.length;
}

/** Where the brackets that open at `start` are closed again (exclusive). */
function closingOf(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"') at = stringEnd(text, at) - 1;
    else if (character === "{" || character === "[") {
      if (++depth > MAX_DEPTH) throw new Refusal("TOO_DEEP");
    } else if ((character === "}" || character === "]") && --depth === 0) return at + 1;
  }
  throw new Refusal("INVALID_JSON");
}

/**
 * Top-level objects and arrays of a text, whatever stands between them. Every character is looked at a bounded number of times.
 *
 * @throws Refusal `TOO_DEEP` for more than 32 levels, before anything is parsed; `INVALID_JSON` for brackets that are never closed.
 */
export function jsonSpans({ text, start }: Piece): Piece[] {
  const found: Piece[] = [];
  for (let at = text.search(/[[{]/u); at >= 0 && at < text.length; ) {
    const end = closingOf(text, at);
    found.push({ text: text.slice(at, end), start: start + at });
    at = end;
    while (at < text.length && text[at] !== "{" && text[at] !== "[") at++;
  }
  return found;
}

/** Spaces in place of commas before a closing bracket, so that no place moves: the only repair. */
export function withoutTrailingCommas(text: string): string {
  let kept = "";
  let done = 0;
  let comma = -1; // with nothing but white space after it
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === ",") comma = at;
    else if ((character === "}" || character === "]") && comma >= 0) {
      kept += `${text.slice(done, comma)} `;
      done = comma + 1;
      comma = -1;
    } else if (!" \t\r\n".includes(character)) {
      comma = -1;
      if (character === '"') at = stringEnd(text, at) - 1;
    }
  }
  return kept + text.slice(done);
}
