import { closeSync, openSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom } from "@dramascope/schema";
import { Agent, fetch } from "undici";
import { classifyBody, classifyStatus, retryAfterMs, type Attempt } from "./classify.ts";
import { ChatError } from "./errors.ts";
import type { ChatRequest, Outcome, TeacherClient, Usage } from "./types.ts";

/** Price per million tokens. */
export interface Prices {
  input: number;
  output: number;
}

/** Options of {@link createTeacherClient}. */
export interface TeacherClientOptions {
  /** Without `/chat/completions`. */
  baseURL: string;
  model: string;
  /** Bearer token; never written anywhere. */
  apiKey?: string;
  /** Whole call, milliseconds. Default 900000. */
  callTimeoutMs?: number;
  /** Attempts that count before a call is parked. Default 6. */
  maxAttempts?: number;
  /** First pause between attempts, milliseconds; doubles up to 60 s. Default 1000. */
  backoffMs?: number;
  /** Default 0 and 0. */
  prices?: Prices;
  /** No call is started that could bring the spending above this. Default no limit. */
  maxCost?: number;
  /** JSONL file that gets a line before and one after each attempt. */
  journal?: string;
  /** Whether the provider takes `metadata`. Default false. */
  sendsMetadata?: boolean;
  /** Seed of the pauses. Default 0. */
  seed?: number;
  /** Milliseconds since 1970. */
  now?: () => number;
}

const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
const MAX_PAUSE_MS = 60_000;
const TOKENS_PER_PICTURE = 256;
const CHARS_PER_TOKEN = 4;

interface WireMessage {
  role: string;
  content: string | Record<string, unknown>[];
}

function wireMessages(request: ChatRequest): WireMessage[] {
  return request.messages.map(({ role, content }) => ({
    role,
    content:
      typeof content === "string"
        ? content
        : content.map((part) => (part.type === "text" ? { type: "text", text: part.text } : { type: "image_url", image_url: { url: `data:image/jpeg;base64,${Buffer.from(part.data).toString("base64")}` } })),
  }));
}

function estimateTokens(request: ChatRequest): number {
  let tokens = 0;
  for (const { content } of request.messages) {
    for (const part of typeof content === "string" ? [{ type: "text" as const, text: content }] : content) tokens += part.type === "text" ? Math.ceil(part.text.length / CHARS_PER_TOKEN) : TOKENS_PER_PICTURE;
  }
  return tokens;
}

/** Reads a body up to the limit. */
async function readBody(response: Awaited<ReturnType<typeof fetch>>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk as Uint8Array);
    size += (chunk as Uint8Array).length;
    if (size > MAX_ANSWER_BYTES) throw new Error("the answer is too large");
  }
  return Buffer.concat(chunks);
}

/**
 * Makes a client of an OpenAI-compatible provider: its own retries by class of error, a budget, a journal, no limit of silence but the
 * call's own. Redirects are never followed.
 *
 * @throws ChatError `CHAT_OPTIONS` for an address that is not http or https.
 */
export function createTeacherClient(options: TeacherClientOptions): TeacherClient {
  const { model, apiKey, callTimeoutMs = 900_000, maxAttempts = 6, backoffMs = 1000, prices = { input: 0, output: 0 }, maxCost = Infinity, sendsMetadata = false, now = () => Date.now() } = options;
  if (!/^https?:\/\//u.test(options.baseURL)) throw new ChatError(`the provider's address is ${JSON.stringify(options.baseURL)}`, { code: "CHAT_OPTIONS", hint: "Give an http or https address such as https://provider.example/v1." });
  const url = `${options.baseURL.replace(/\/+$/u, "")}/chat/completions`;
  const agent = new Agent({ headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 30_000, connect: { timeout: 15_000 } });
  const journal = options.journal === undefined ? undefined : openSync(options.journal, "a");
  const random = createRandom(options.seed ?? 0, { stream: 0xc4a7 });
  let spent = 0;
  let reserved = 0;
  let calls = 0;

  const note = (record: Record<string, unknown>): void => {
    if (journal !== undefined) writeSync(journal, `${JSON.stringify(record)}\n`);
  };
  const costOf = (usage: Pick<Usage, "promptTokens" | "completionTokens">): number => (usage.promptTokens * prices.input + usage.completionTokens * prices.output) / 1e6;

  const attempt = async (body: string, signal: AbortSignal | undefined): Promise<Attempt> => {
    const limit = AbortSignal.timeout(callTimeoutMs);
    try {
      const response = await fetch(url, {
        method: "POST",
        redirect: "manual",
        dispatcher: agent,
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
        headers: { "content-type": "application/json", ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }) },
        body,
      });
      const bytes = await readBody(response);
      if (!response.ok) return classifyStatus(response.status, Buffer.from(bytes).toString("utf8"), retryAfterMs(response.headers.get("retry-after"), now()));
      return classifyBody(bytes, response.headers.get("content-type") ?? "");
    } catch (error) {
      signal?.throwIfAborted();
      const cause = (error as { cause?: { code?: string } }).cause?.code;
      if (cause === "ECONNREFUSED" || cause === "ENOTFOUND") return { kind: "retry", code: cause, maybePaid: false, counts: true };
      return { kind: "retry", code: limit.aborted ? "TIMEOUT" : "CONNECTION_LOST", maybePaid: true, counts: true };
    }
  };

  const call = async (request: ChatRequest, signal?: AbortSignal): Promise<Outcome> => {
    const estimate: Usage = { promptTokens: estimateTokens(request), completionTokens: request.maxTokens, source: "estimated" };
    const estimatedCost = costOf(estimate);
    const id = calls++;
    const body = JSON.stringify({
      model,
      messages: wireMessages(request),
      temperature: request.temperature,
      top_p: request.topP ?? 1,
      max_tokens: request.maxTokens,
      ...(request.seed === undefined ? {} : { seed: request.seed }),
      ...(sendsMetadata ? { metadata: { task: request.task, drama_id: request.trace?.drama ?? "", round: String(request.trace?.round ?? "") } } : {}),
    });
    let cost = 0;
    let counted = 0;
    for (let attempts = 1; ; attempts++) {
      if (spent + reserved + estimatedCost > maxCost) return { kind: "budget", attempts: attempts - 1 };
      reserved += estimatedCost;
      note({ event: "start", call: id, attempt: attempts, at: now(), task: request.task, drama: request.trace?.drama, round: request.trace?.round });
      let result: Attempt;
      try {
        result = await attempt(body, signal);
      } finally {
        reserved -= estimatedCost;
      }
      const usage: Usage | null =
        result.kind === "ok"
          ? (result.usage ?? { ...estimate, completionTokens: Math.ceil(result.content.length / CHARS_PER_TOKEN) })
          : result.kind === "unusable" || (result.kind === "blocked" && result.usage !== null)
            ? (result.usage ?? estimate)
            : result.kind === "retry" && result.maybePaid
              ? estimate
              : null;
      const paid = usage === null ? 0 : costOf(usage);
      spent += paid;
      cost += paid;
      note({ event: "end", call: id, attempt: attempts, at: now(), outcome: result.kind, code: result.kind === "ok" ? undefined : result.code, cost: paid, usage });
      if (result.kind === "ok") return { kind: "ok", content: result.content, finish: result.finish, model: result.model, usage: usage!, cost, attempts };
      if (result.kind === "fatal") return { ...result, attempts };
      if (result.kind !== "retry") return { kind: result.kind, code: result.code, usage, cost, attempts };
      if (result.counts && ++counted >= maxAttempts) return { kind: "parked", code: result.code, cost, attempts };
      const pause = result.retryAfterMs ?? Math.min(MAX_PAUSE_MS, backoffMs * 2 ** Math.max(0, counted - 1)) * random.uniform();
      await sleep(pause + (result.retryAfterMs === undefined ? 0 : 50 * random.uniform()), undefined, signal ? { signal } : {});
    }
  };

  return {
    call,
    spent: () => spent,
    close: async () => {
      if (journal !== undefined) closeSync(journal);
      await agent.close();
    },
  };
}
