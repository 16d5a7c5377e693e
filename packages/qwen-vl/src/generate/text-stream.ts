import type { QwenTokenizer } from "../model-types.ts";

/** Tokens whose bytes end inside a character, at most, unless the bytes are no text at all. */
const TAIL = 16;

/**
 * Text that each new token of one answer adds. What ends inside a character waits for the rest of it, or for the last token; only the tokens since
 * the last whole character are decoded, so that the parts of an answer add up to its text at a cost that does not grow with it.
 */
export function createTextStream(tokenizer: QwenTokenizer): (id: number, isLast: boolean) => string {
  const decode = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecial: true });
  let tail: number[] = [];
  /** Characters of the tail that were given away. */
  let shown = 0;
  return (id, isLast) => {
    tail.push(id);
    const text = decode(tail);
    const end = !isLast && text.endsWith("\uFFFD") ? text.length - 1 : text.length;
    const added = text.slice(shown, end);
    shown = end;
    if (end === text.length) {
      tail = [];
      shown = 0;
    } else if (tail.length > TAIL) {
      const first = decode(tail.slice(0, -TAIL / 2));
      const rest = tail.slice(-TAIL / 2);
      // Bytes that are no text never end a character: where the parts decode alone as together, the first will not change.
      if (first.length <= shown && first + decode(rest) === text) {
        tail = rest;
        shown -= first.length;
      }
    }
    return added;
  };
}
