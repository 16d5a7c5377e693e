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

/** The `error` of a body: an object, or a text; undefined where there is none. */
export function errorOf(body: unknown, redact: (text: string) => string): { code: string; message: string } | undefined {
  const error = (body as { error?: unknown } | null | undefined)?.error;
  if (typeof error === "string") return { code: "", message: redact(error).slice(0, MAX_MESSAGE) };
  if (typeof error !== "object" || error === null) return undefined;
  const { code, type, message } = error as { code?: unknown; type?: unknown; message?: unknown };
  const text = typeof code === "string" ? redact(code) : code;
  return { code: cleanCode(text) || cleanCode(typeof type === "string" ? redact(type) : type), message: typeof message === "string" ? redact(message).slice(0, MAX_MESSAGE) : "" };
}

/** Where a request stands that the provider refuses for an unknown reason: it is the first of its client, or comes after one that was refused; the first is still under way; or others have been taken. */
export type Standing = "first" | "untried" | "proven";

/** Judges a response that is not a success. `text` may be broken or empty. */
export function classifyStatus(status: number, text: string, o: { retryAfterMs?: number | undefined; standing: Standing; redact: (text: string) => string }): Outcome {
  const { code, message } = errorOf(parseJson(text), o.redact) ?? { code: "", message: "" };
  const pause = o.retryAfterMs === undefined ? {} : { retryAfterMs: o.retryAfterMs };
  const fatal: Outcome = { kind: "fatal", code: code || `HTTP_${status}`, message: message || `the provider answered ${status}` };
  if (OVERDUE.test(code)) return fatal;
  if (status === 429) return { kind: "retry", code: "RATE_LIMITED", maybePaid: false, ...pause };
  if (status === 408 || status === 409 || status >= 500) return { kind: "retry", code: `HTTP_${status}`, maybePaid: false, ...pause };
  if (status < 400) return { kind: "retry", code: "REDIRECT", maybePaid: false };
  if (FILE_GONE.test(code)) return { kind: "retry", code, maybePaid: false };
  if (status === 413) return { kind: "unusable", code: "REQUEST_TOO_LARGE" };
  if (status !== 400 && status !== 422) return fatal;
  if (code === PASSING_CHECK) return { kind: "retry", code, maybePaid: false };
  if (SAFETY.test(code)) return { kind: "blocked", code };
  if (o.standing === "proven") return { kind: "unusable", code: code || `HTTP_${status}`, ...(message === "" ? {} : { raw: message }) };
  // The first request speaks for the set-up. Until it has been answered nobody knows what the others' refusals mean: they come back later.
  return o.standing === "first" ? fatal : { kind: "retry", code: code || `HTTP_${status}`, maybePaid: false };
}
