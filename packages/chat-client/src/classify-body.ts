import { cleanLine } from "./clean-line.ts";
import { cleanCode, errorOf, parseJson } from "./classify-status.ts";
import { estimateUsage, textTokens } from "./estimate-usage.ts";
import type { ChatRequest, Outcome, Usage } from "./types.ts";

const MAX_NAME = 200;

/** A count of tokens as the provider reports it. */
const tokens = (value: unknown): number => (typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : 0);

/** Usage as reported; estimated where it is missing, zero or absurd. */
function usageOf(value: unknown, request: ChatRequest, content: string): Usage {
  const usage = (typeof value === "object" ? value : null) as { prompt_tokens?: unknown; completion_tokens?: unknown; prompt_tokens_details?: { cached_tokens?: unknown } | null; prompt_cache_hit_tokens?: unknown } | null;
  const [promptTokens, completionTokens] = [tokens(usage?.prompt_tokens), tokens(usage?.completion_tokens)];
  if (promptTokens === 0 || (completionTokens === 0 && content !== "")) return { promptTokens: estimateUsage(request).promptTokens, completionTokens: textTokens(content), source: "estimated" };
  const cachedTokens = tokens(usage?.prompt_tokens_details?.cached_tokens) || tokens(usage?.prompt_cache_hit_tokens);
  return { promptTokens, completionTokens, ...(cachedTokens > 0 ? { cachedTokens } : {}), source: "reported" };
}

/** Judges the body of a success. What is broken here may have been paid for. */
export function classifyBody(bytes: Uint8Array, request: ChatRequest, o: { contentType: string; requestId: string | null; ms: number; redact: (text: string) => string }): Outcome {
  const broken = (code: string): Outcome => ({ kind: "retry", code, maybePaid: true });
  const short = (value: unknown): string => (typeof value === "string" ? cleanLine(o.redact(value), MAX_NAME) : "");
  if (bytes.length === 0) return broken("EMPTY_BODY");
  if (!/\bjson\b/iu.test(o.contentType)) return broken("CONTENT_TYPE");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return broken("INVALID_UTF8");
  }
  const body = parseJson(text);
  if (typeof body !== "object" || body === null) return broken(text.trim() === "" ? "EMPTY_BODY" : "INVALID_JSON");
  if (errorOf(body)) return { kind: "retry", code: "ERROR_IN_200", maybePaid: false };

  const { choices, usage: reported, model: name } = body as Record<string, unknown>;
  const choice = (Array.isArray(choices) ? choices[0] : undefined) as { message?: Record<string, unknown> | null; finish_reason?: unknown } | null | undefined;
  if (typeof choice?.message !== "object" || choice.message === null) return { kind: "retry", code: "NO_CHOICES", maybePaid: true, usage: usageOf(reported, request, "") };
  const { content: given, refusal, reasoning_content: thoughts } = choice.message;
  const content = typeof given === "string" ? o.redact(given) : "";
  const usage = usageOf(reported, request, content);
  const [finish, model] = [cleanCode(short(choice.finish_reason)), short(name)];
  if (finish === "content_filter") return { kind: "blocked", code: "CONTENT_FILTER", usage };
  if (typeof refusal === "string" && refusal.trim() !== "") return { kind: "blocked", code: "REFUSAL", usage };
  if (finish === "length") return { kind: "unusable", code: "TRUNCATED", raw: content, finish, model, usage };
  if (content.trim() === "") return { kind: "unusable", code: "EMPTY", raw: content, finish, model, usage };
  return {
    kind: "ok",
    content,
    ...(typeof thoughts === "string" && thoughts !== "" ? { reasoning: o.redact(thoughts) } : {}),
    finish,
    model,
    usage,
    ...(o.requestId === null ? {} : { requestId: short(o.requestId) }),
    ms: o.ms,
  };
}
