import type { Parsed, RawAnswer } from "../answers/read-answer.ts";
import { safeText } from "../safe-text.ts";

/** Many times what a summary needs; a longer text is something else. */
const MAX_CHARS = 20_000;
const THOUGHT = /^\s*<(think|thinking)>/u;
const FENCE = /^```[a-z]*\n/u;

/** Whether a text is a JSON object or list: an answer to some other question. */
function isJson(text: string): boolean {
  if (!/^[{[]/u.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Reads a plot summary: plain text without a reasoning model's thoughts before it or a fence around it, clean of invisible marks. */
export function readCaption({ content }: RawAnswer): Parsed<string> {
  let text = content ?? "";
  if (/\ufffd|\p{Surrogate}/u.test(text)) return { ok: false, error: "BAD_ENCODING" };
  for (let open = THOUGHT.exec(text); open; open = THOUGHT.exec(text)) {
    const end = text.indexOf(`</${open[1]!}>`);
    if (end < 0) return { ok: false, error: "TRUNCATED" };
    text = text.slice(end + open[1]!.length + 3);
  }
  text = safeText(text).trim();
  const fence = FENCE.exec(text);
  if (fence && text.endsWith("\n```")) text = text.slice(fence[0].length, -4).trim();
  if (text === "") return { ok: false, error: "EMPTY" };
  if (text.length > MAX_CHARS) return { ok: false, error: "TOO_LARGE" };
  return isJson(text) ? { ok: false, error: "NOT_TEXT" } : { ok: true, value: text, flags: [] };
}
