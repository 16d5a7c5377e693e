import { Agent, fetch, type Response } from "undici";
import { systemClock, type Clock } from "./clock.ts";
import { classifyBody } from "./classify-body.ts";
import { classifyFailure } from "./classify-failure.ts";
import { classifyStatus, type Standing } from "./classify-status.ts";
import { ChatError } from "./errors.ts";
import { estimateUsage } from "./estimate-usage.ts";
import { redactSecret } from "./redact-secrets.ts";
import { retryAfterMs } from "./retry-after.ts";
import type { Capabilities, ChatRequest, Outcome, TeacherClient } from "./types.ts";
import { encodeRequest, traceHeaders } from "./wire.ts";

/** Options of {@link createTeacherClient}. */
export interface TeacherClientOptions {
  /** Address without `/chat/completions`, http or https. */
  baseURL: string;
  /** Bearer token; goes into the request's header and nowhere else. Default none. */
  apiKey?: string;
  /** Longest call from sending to the last byte, milliseconds, 1 … 2³¹−1. Default 900000. */
  callTimeoutMs?: number;
  /** What the provider takes. Default pictures alone. */
  capabilities?: Partial<Capabilities>;
  /** Default the system's. */
  clock?: Clock;
}

const CAPABILITIES: Capabilities = {
  frames: true,
  videoUrl: false,
  fpsWhere: "none",
  fileId: false,
  jsonSchema: false,
  metadata: false,
  traceHeaders: false,
  thinkingParam: "none",
};

const CONNECT_TIMEOUT_MS = 15_000;
const CALL_TIMEOUT_MS = 900_000;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
/** Keys of so few characters, such as `EMPTY`, are no secrets but words and figures. */
const MIN_SECRET = 8;
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
const MAX_ERROR_BYTES = 64 * 1024;

function endpoint(baseURL: string): string {
  const url = URL.parse(baseURL);
  const hint = "Give an http or https address such as https://provider.example/v1, without name and password.";
  if (!url || !/^https?:$/u.test(url.protocol)) throw new ChatError("the provider's address is not an http or https address", { code: "CHAT_OPTIONS", hint });
  if (url.username !== "" || url.password !== "") throw new ChatError(`the provider's address at ${url.host} holds a name or a password`, { code: "CHAT_OPTIONS", hint });
  url.pathname = `${url.pathname.replace(/\/+$/u, "")}/chat/completions`;
  return url.href;
}

/** Reads a body; null when it is longer than the limit. */
async function readBody({ body }: Response, limit: number): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    chunks.push(chunk as Uint8Array);
    size += (chunk as Uint8Array).length;
    if (size > limit) return null;
  }
  return Buffer.concat(chunks);
}

/**
 * Makes a client of an OpenAI-compatible provider. One attempt a call, judged; {@link createTeacher} adds retries, limits and a budget.
 * There is no limit of silence but the whole call's. Redirects are never followed, streaming is not used.
 *
 * @throws ChatError `CHAT_OPTIONS` for an address, a key or a timeout that cannot be used.
 */
export function createTeacherClient(options: TeacherClientOptions): TeacherClient {
  const { apiKey, callTimeoutMs = CALL_TIMEOUT_MS, clock = systemClock } = options;
  const url = endpoint(options.baseURL);
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/u.test(apiKey)) {
    throw new ChatError("the provider's key is empty or holds blanks, line ends or letters beyond ASCII", { code: "CHAT_OPTIONS", hint: "Set the key's environment variable again, without a line end." });
  }
  if (!(callTimeoutMs >= 1 && callTimeoutMs <= MAX_TIMEOUT_MS)) throw new ChatError(`callTimeoutMs is ${callTimeoutMs}`, { code: "CHAT_OPTIONS", hint: "Give milliseconds from 1 to 2147483647." });
  const capabilities = { ...CAPABILITIES, ...options.capabilities };
  const redact = redactSecret(apiKey);
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, connect: { timeout: CONNECT_TIMEOUT_MS } });
  // Taken out of answers a short key would damage them, and tells nothing.
  const redactAnswer = (apiKey?.length ?? 0) < MIN_SECRET ? (text: string): string => text : redact;
  let isProven = false;
  let underWay = 0;
  /** Messages of the last request that was refused for an unknown reason; they are the same ones in all attempts. */
  let refused: ChatRequest["messages"] | undefined;

  /** Known when an answer is there, not before. */
  const standingOf = ({ messages }: ChatRequest): Standing => {
    if (isProven || (refused === messages && underWay === 1)) return "proven";
    const isSecond = refused !== undefined && refused !== messages && underWay === 1;
    refused = messages;
    return isSecond ? "hopeless" : "untried";
  };

  const exchange = async (request: ChatRequest, body: Buffer, signal: AbortSignal, onHeaders: () => void): Promise<Outcome> => {
    const start = clock.now();
    const response = await fetch(url, {
      method: "POST",
      redirect: "manual",
      dispatcher: agent,
      signal,
      headers: { "content-type": "application/json", accept: "application/json", ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }), ...traceHeaders(request, capabilities) },
      body,
    });
    onHeaders();
    const { headers, ok, status } = response;
    if (!ok) {
      // The status alone decides; a body that breaks says no more.
      const text = await readBody(response, MAX_ERROR_BYTES).then((bytes) => Buffer.from(bytes ?? []).toString("utf8"), () => "");
      return classifyStatus(status, text, { retryAfterMs: retryAfterMs(headers.get("retry-after"), headers.get("date"), clock.now()), standing: () => standingOf(request), redact });
    }
    const bytes = await readBody(response, MAX_ANSWER_BYTES);
    if (bytes === null) return { kind: "unusable", code: "TOO_LARGE", usage: estimateUsage(request) };
    return classifyBody(bytes, request, { contentType: headers.get("content-type") ?? "", requestId: headers.get("x-request-id"), ms: clock.now() - start, redact: redactAnswer });
  };

  const call = async (request: ChatRequest, signal?: AbortSignal): Promise<Outcome> => {
    signal?.throwIfAborted();
    const body = encodeRequest(request, capabilities);
    if (body === null) return { kind: "unusable", code: "REQUEST_TOO_LARGE" };
    const stop = new AbortController();
    const onAbort = (): void => stop.abort();
    signal?.addEventListener("abort", onAbort);
    let isTimeout = false;
    const timer = setTimeout(() => {
      isTimeout = true;
      stop.abort();
    }, callTimeoutMs);
    let hasHeaders = false;
    underWay++;
    try {
      const outcome = await exchange(request, body, stop.signal, () => (hasHeaders = true));
      // A refusal of one request says nothing of others.
      isProven ||= outcome.kind === "ok" || outcome.kind === "blocked" || (outcome.kind === "unusable" && outcome.usage !== undefined);
      return outcome;
    } catch (error) {
      signal?.throwIfAborted();
      return classifyFailure(error, { isTimeout, hasHeaders });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      underWay--;
    }
  };

  return { call, capabilities: () => ({ ...capabilities }), close: () => agent.destroy() };
}
