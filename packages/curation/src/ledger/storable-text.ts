import { CurationError } from "../errors.ts";

/** Text as every ledger can keep it: well-formed, without NUL. Halves of surrogate pairs become U+FFFD. */
export function storableText(text: string): string;
export function storableText(text: string | null): string | null;
export function storableText(text: string | null): string | null {
  return text === null ? null : text.toWellFormed().replaceAll("\0", "");
}

/** Whether a name comes out of a ledger as it went in. */
export const isStorable = (name: string): boolean => name.isWellFormed() && !name.includes("\0");

/**
 * Checks names that tell records apart: changed ones could fall together.
 *
 * @throws CurationError `LEDGER_TEXT`.
 */
export function checkNames(what: string, ...names: readonly string[]): void {
  const wrong = names.find((name) => !isStorable(name));
  if (wrong === undefined) return;
  throw new CurationError(`${what} ${JSON.stringify(wrong)} holds NUL or half a surrogate pair`, { code: "LEDGER_TEXT", hint: "Give ids of well-formed text without NUL." });
}
