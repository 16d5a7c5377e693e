/** Why an answer is not usable. */
export type AnswerCode =
  | "AMBIGUOUS" | "BAD_ENCODING" | "BLOCKED" | "DUPLICATE_KEY" | "EMPTY" | "INVALID_JSON" | "LABELS_FORM" | "NOT_OBJECT" | "NOT_TEXT" | "NO_JSON" | "SCORE_FORM" | "SCORE_MISSING" | "SCORE_NOT_INTEGER"
  | "SCORE_RANGE" | "THINK_FORM" | "THINK_MISSING" | "TOO_DEEP" | "TOO_LARGE" | "TRUNCATED" | "VALID_FORM" | "VALID_MISSING";

/** A usable answer with what was odd about it, or the reason why there is none. */
export type Parsed<T> = { ok: true; value: T; flags: string[] } | { ok: false; error: AnswerCode };

/** Ends the reading of an answer with its reason; {@link attempt} turns it into a value. */
export class Refusal extends Error {
  readonly code: AnswerCode;

  constructor(code: AnswerCode) {
    super(code);
    this.code = code;
  }
}

/** What `read` makes of an answer, with the flags it set in order of their names, or why there is nothing. */
export function attempt<T extends object>(read: (flags: Set<string>) => T): (T & { ok: true; flags: string[] }) | { ok: false; error: AnswerCode } {
  const flags = new Set<string>();
  try {
    return { ok: true, ...read(flags), flags: [...flags].sort() };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, error: error.code };
    throw error;
  }
}
