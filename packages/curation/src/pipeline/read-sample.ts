import { readCot, type CotAnswer, type Parsed, type RawAnswer } from "../answers/read-answer.ts";
import { safeText } from "../safe-text.ts";

/** Reads an answer of a sampling round, clean of invisible marks. */
export function readSample(raw: RawAnswer): Parsed<CotAnswer> {
  const parsed = readCot(raw);
  if (!parsed.ok) return parsed;
  const think = safeText(parsed.value.think).trim();
  return think === "" ? { ok: false, error: "THINK_MISSING" } : { ok: true, value: { ...parsed.value, think }, flags: parsed.flags };
}
