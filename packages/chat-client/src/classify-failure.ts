import type { Outcome } from "./types.ts";

/** Failures before the request was out. */
const NOT_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);
const TLS = /CERT|TLS|SSL|EPROTO/u;

/** Codes down a chain of causes; names where there is no code. */
function* codes(error: unknown): Generator<string> {
  for (let at = error, depth = 0; typeof at === "object" && at !== null && depth < 8; at = (at as { cause?: unknown }).cause, depth++) {
    const { code, name } = at as { code?: unknown; name?: unknown };
    yield typeof code === "string" ? code : String(name);
  }
}

/**
 * Judges an exchange that broke. Only a refused connection and a reset before the first byte of an answer are surely not paid: a
 * connection that the other side closes in silence may be a gateway's that lost its patience while the model worked.
 */
export function classifyFailure(error: unknown, { isTimeout, hasHeaders }: { isTimeout: boolean; hasHeaders: boolean }): Outcome {
  if (isTimeout) return { kind: "retry", code: "TIMEOUT", maybePaid: true };
  const seen = [...codes(error)];
  const unsent = seen.find((code) => NOT_SENT.has(code) || TLS.test(code));
  if (unsent !== undefined && !hasHeaders) return { kind: "retry", code: "CONNECT_FAILED", maybePaid: false };
  if (seen.some((code) => code === "HTTPParserError" || code.startsWith("HPE_"))) return { kind: "retry", code: "BAD_HTTP", maybePaid: true };
  if (seen.some((code) => code.startsWith("Z_"))) return { kind: "retry", code: "BAD_COMPRESSION", maybePaid: true };
  if (hasHeaders) return { kind: "retry", code: "BODY_LOST", maybePaid: true };
  const isReset = seen.includes("ECONNRESET") || seen.includes("EPIPE");
  return { kind: "retry", code: isReset ? "CONNECTION_RESET" : "CONNECTION_LOST", maybePaid: !isReset };
}
