import type { Usage } from "./types.ts";

/** One attempt, judged. */
export type Attempt =
  | { kind: "ok"; content: string; finish: string; model: string; usage: Usage | null }
  | { kind: "retry"; code: string; retryAfterMs?: number; maybePaid: boolean; counts: boolean }
  | { kind: "blocked" | "unusable"; code: string; usage: Usage | null }
  | { kind: "fatal"; code: string; message: string };

const SAFETY = /sensitive|content_filter|contentfilter|safety|DataInspectionFailed/iu;
const MAX_MESSAGE = 300;

/** Milliseconds of a Retry-After header: seconds, with or without a fraction, or an HTTP date. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  if (header.trim() !== "" && Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

interface ErrorBody {
  code: string;
  message: string;
}

function errorOf(body: unknown): ErrorBody | undefined {
  const error = (body as { error?: { code?: unknown; message?: unknown } } | null)?.error;
  if (typeof error !== "object") return undefined;
  return { code: typeof error.code === "string" ? error.code : "", message: typeof error.message === "string" ? error.message.slice(0, MAX_MESSAGE) : "" };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Judges a response that is not a success. */
export function classifyStatus(status: number, text: string, retryAfter: number | undefined): Attempt {
  const { code, message } = errorOf(parse(text)) ?? { code: "", message: "" };
  if (status === 429) return { kind: "retry", code: "RATE_LIMITED", maybePaid: false, counts: false, ...(retryAfter === undefined ? {} : { retryAfterMs: retryAfter }) };
  if (status === 408 || status === 409 || status >= 500) return { kind: "retry", code: `HTTP_${status}`, maybePaid: false, counts: true };
  if (status >= 300 && status < 400) return { kind: "retry", code: "REDIRECT", maybePaid: false, counts: true };
  if (status === 400 && code === "ContentSecurityDetectionError") return { kind: "retry", code, maybePaid: false, counts: true };
  if (status === 400 && SAFETY.test(code)) return { kind: "blocked", code, usage: null };
  return { kind: "fatal", code: code || `HTTP_${status}`, message: message || `the provider answered ${status}` };
}

function usageOf(body: Record<string, unknown>): Usage | null {
  const usage = body["usage"] as { prompt_tokens?: unknown; completion_tokens?: unknown } | undefined;
  const [prompt, completion] = [usage?.prompt_tokens, usage?.completion_tokens];
  return typeof prompt === "number" && typeof completion === "number" && prompt > 0 ? { promptTokens: prompt, completionTokens: completion, source: "reported" } : null;
}

/** Judges the body of a success. Everything broken here may have been paid for. */
export function classifyBody(bytes: Uint8Array, contentType: string): Attempt {
  const broken = (code: string): Attempt => ({ kind: "retry", code, maybePaid: true, counts: true });
  if (!contentType.includes("json")) return broken("CONTENT_TYPE");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return broken("INVALID_UTF8");
  }
  const body = parse(text);
  if (typeof body !== "object" || body === null) return broken(text.trim() === "" ? "EMPTY_BODY" : "INVALID_JSON");
  const record = body as Record<string, unknown>;
  const error = errorOf(record);
  if (error) return { kind: "retry", code: "ERROR_IN_200", maybePaid: false, counts: true };
  const choice = (record["choices"] as { message?: { content?: unknown; refusal?: unknown }; finish_reason?: unknown }[] | undefined)?.[0];
  if (choice?.message === undefined) return broken("NO_CHOICES");
  const usage = usageOf(record);
  const { content, refusal } = choice.message;
  if (choice.finish_reason === "content_filter" || typeof refusal === "string") return { kind: "blocked", code: "REFUSED", usage };
  if (choice.finish_reason === "length") return { kind: "unusable", code: "TRUNCATED", usage };
  if (typeof content !== "string" || content.trim() === "") return { kind: "unusable", code: "EMPTY", usage };
  return { kind: "ok", content, finish: typeof choice.finish_reason === "string" ? choice.finish_reason : "stop", model: typeof record["model"] === "string" ? record["model"] : "", usage };
}
