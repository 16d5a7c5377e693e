import { cleanLine } from "./clean-line.ts";
import type { Outcome } from "./types.ts";

/** Content that the provider refuses. */
const SAFETY = /sensitive|content_?filter|content_?policy|data_?inspection_?failed|risk_?detect|safety/iu;
/** No money, whatever the status. */
const OVERDUE = /insufficient_quota|overdue|arrear|billing|setlimitexceeded/iu;
/** Files that the provider has let go: the next run gives new ones. */
const FILE_GONE = /file.*(?:not_?found|expired)|(?:not_?found|expired).*file/iu;
/** A check of the provider's that failed itself: passes the next time, although it is a 400. */
const PASSING_CHECK = "ContentSecurityDetectionError";
const MAX_MESSAGE = 300;
const MAX_CODE = 80;

/** A code from outside: short, and of letters that are harmless in files and pages. */
export const cleanCode = (value: unknown): string => (typeof value === "string" || typeof value === "number" ? String(value).replace(/[^\w.:-]+/gu, "_").slice(0, MAX_CODE) : "");

/** JSON or undefined. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The `error` of a body, as it is: an object, or a text; undefined where there is none. */
export function errorOf(body: unknown): { code: string; message: string } | undefined {
  const error = (body as { error?: unknown } | null | undefined)?.error;
  if (typeof error === "string") return { code: "", message: error };
  if (typeof error !== "object" || error === null) return undefined;
  const { code, type, message } = error as { code?: unknown; type?: unknown; message?: unknown };
  const given = [code, type].find((name) => cleanCode(name) !== "");
  return { code: typeof given === "string" || typeof given === "number" ? String(given) : "", message: typeof message === "string" ? message : "" };
}

/**
 * Where a request stands that the provider refuses for an unknown reason. `proven`: others have been taken, or it was refused before with none other
 * under way, so it is to blame itself. `hopeless`: two different ones in a row were refused and none was ever taken. `untried`: nobody knows yet.
 */
export type Standing = "proven" | "hopeless" | "untried";

/** Judges a response that is not a success. `text` may be broken or empty. `standing` is asked only where it matters. */
export function classifyStatus(status: number, text: string, o: { retryAfterMs?: number | undefined; standing: () => Standing; redact: (text: string) => string }): Outcome {
  const error = errorOf(parseJson(text)) ?? { code: "", message: "" };
  // Judged as it came, for a key may be part of any word.
  const given = cleanCode(error.code);
  const [code, message] = [cleanCode(o.redact(error.code)), cleanLine(o.redact(error.message), MAX_MESSAGE)];
  const pause = o.retryAfterMs === undefined ? {} : { retryAfterMs: o.retryAfterMs };
  const fatal: Outcome = { kind: "fatal", code: code || `HTTP_${status}`, message: message || `the provider answered ${status}` };
  if (OVERDUE.test(given)) return fatal;
  if (status === 429) return { kind: "retry", code: "RATE_LIMITED", maybePaid: false, ...pause };
  if (status === 408 || status === 409 || status >= 500) return { kind: "retry", code: `HTTP_${status}`, maybePaid: false, ...pause };
  if (status < 400) return { kind: "retry", code: "REDIRECT", maybePaid: false };
  if (FILE_GONE.test(given)) return { kind: "retry", code, maybePaid: false };
  if (status === 413) return { kind: "unusable", code: "REQUEST_TOO_LARGE" };
  if (status !== 400 && status !== 422) return fatal;
  if (given === PASSING_CHECK) return { kind: "retry", code, maybePaid: false };
  if (SAFETY.test(given)) return { kind: "blocked", code };
  switch (o.standing()) {
    case "proven":
      return { kind: "unusable", code: code || `HTTP_${status}`, ...(message === "" ? {} : { raw: message }) };
    case "hopeless":
      return fatal;
    case "untried":
      return { kind: "retry", code: code || `HTTP_${status}`, maybePaid: false };
  }
}
