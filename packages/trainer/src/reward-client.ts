import { setTimeout as sleep } from "node:timers/promises";
import type { RewardBreakdown } from "@dramascope/schema";
import { z } from "zod";
import { TrainerError } from "./errors.ts";
import { readReply, type Reply } from "./reward-reply.ts";
import type { RewardFn, RewardItem } from "./reward-function.ts";

/** Options of {@link createRewardClient}. */
export interface RewardClientOptions {
  /** Address of the server, http or https, without user or password, for example `http://127.0.0.1:8090`. */
  url: string;
  /** Name of the environment variable with the bearer token. Default: none is sent. */
  tokenEnv?: string | undefined;
  /** Seconds that one request may take. Default 60. */
  timeoutSeconds?: number;
  /** Repeats of a request that got no answer, before `onError` decides. Default 3. */
  retries?: number;
  /** Seconds before the first repeat; each next pause is twice as long, at most 10. Default 1. */
  backoffSeconds?: number;
  /**
   * What a server that stays away or parts that stay null do. `wait`: go on asking for `maxWaitSeconds`; parts that stay null end the run.
   * `stop`: end the run. `null`: leave the completions out as not scored. No policy makes up a 0. Default `wait`.
   */
  onError?: "wait" | "stop" | "null";
  /** Seconds without an answer after which `wait` ends the run. Default 3600. */
  maxWaitSeconds?: number;
  /** Told when the server is away, and when it is back. Default none. */
  onWarning?: ((text: string) => void) | undefined;
}

/** Rewards over HTTP. */
export interface RewardClient {
  /** Scores completions, in order. */
  reward: RewardFn;
  /**
   * Asks whether the server is alive and takes the token; waits as for a score.
   *
   * @returns The version of its rewards.
   */
  check: (signal?: AbortSignal) => Promise<string>;
}

/** Most items of one request; the server's own limit is 4096. */
const MAX_ITEMS = 1024;
/** Most UTF-16 units of one request's texts; the server takes 32 MiB. */
const MAX_UNITS = 4 * 2 ** 20;
const MAX_PAUSE_SECONDS = 10;
/** Most bytes of an answer. */
const MAX_REPLY_BYTES = 64 * 2 ** 20;

/** No answer, or one that asks to come again: worth a repeat. */
class Unavailable extends Error {
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds = 0, cause?: unknown) {
    super(message, { cause });
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const versionReply = z.looseObject({ version: z.string().min(1) });

function addressOf(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const refuse = (why: string): never => {
    throw new TrainerError(`the address of the reward server ${why}`, { code: "REWARD_SERVER_ADDRESS", hint: "Give it as http://host:port or https://host; a token goes through tokenEnv." });
  };
  if (!parsed) return refuse("is no URL");
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") refuse(`has the scheme ${JSON.stringify(parsed.protocol)}`);
  if (parsed.username !== "" || parsed.password !== "") refuse("holds a user or password");
  return parsed;
}

function tokenOf(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const token = process.env[name];
  if (token === undefined || token === "") throw new TrainerError(`the environment variable ${name} is not set`, { code: "REWARD_TOKEN_MISSING", hint: "Set it to the reward server's token." });
  return token;
}

/** Cuts items into requests that the server takes. */
function batchesOf(items: readonly RewardItem[]): RewardItem[][] {
  const batches: RewardItem[][] = [];
  let units = Infinity;
  let batch: RewardItem[] = [];
  for (const item of items) {
    const size = item.completion.length + item.sample.caption.length + item.sample.comments.reduce((sum, text) => sum + text.length, 0);
    if (batch.length >= MAX_ITEMS || units + size > MAX_UNITS) {
      batch = [];
      batches.push(batch);
      units = 0;
    }
    batch.push(item);
    units += size;
  }
  return batches;
}

/** One request's body; samples are named by their place, for their ids are foreign text. */
function bodyOf(batch: readonly RewardItem[], step: number, expectVersion: string | undefined): string {
  const places = new Map(batch.map(({ sample }) => [sample, ""]));
  for (const [place, sample] of [...places.keys()].entries()) places.set(sample, `r${place}`);
  const references = Object.fromEntries([...places].map(([{ quality, caption, comments }, key]) => [key, { solution: String(quality), caption, comments }]));
  return JSON.stringify({ engine: "dramascope", step, references, items: batch.map(({ sample, completion }, i) => ({ id: `c${i}`, completion, referenceKey: places.get(sample) })), ...(expectVersion !== undefined && { expectVersion }) });
}

async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_REPLY_BYTES) throw new TrainerError(`the reward server's answer is longer than ${MAX_REPLY_BYTES} bytes`, { code: "REWARD_REPLY_INVALID", hint: "Check that the address is a reward server's." });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Code and sentence of a refusal, for people; never the body itself. */
function problemOf(text: string): string {
  try {
    const { code, message } = (JSON.parse(text) as { error: { code: string; message: string } }).error;
    return `${code.slice(0, 64)}: ${message.slice(0, 300)}`;
  } catch {
    return "without a reason";
  }
}

/**
 * A client of `dramascope rewards serve`, or of any server that speaks `POST /v1/score`.
 *
 * A server that is away (no connection, a cut one, a time-out, 408, 429 or 5xx) is asked again with growing pauses, then `onError` decides. An answer of the wrong
 * length or form, or under another version than the first, ends the run. Redirects are not followed. No token, completion or reference is in a message.
 *
 * @throws TrainerError `REWARD_SERVER_ADDRESS`, `REWARD_TOKEN_MISSING`; its functions throw `REWARD_SERVER_AWAY`, `REWARD_SERVER_REFUSES`, `REWARD_REPLY_INVALID`,
 *                      `REWARD_VERSION`, `REWARD_NULL`, and the reason of the signal.
 */
export function createRewardClient(options: RewardClientOptions): RewardClient {
  const { timeoutSeconds = 60, retries = 3, backoffSeconds = 1, onError = "wait", maxWaitSeconds = 3600, onWarning } = options;
  const address = addressOf(options.url);
  const token = tokenOf(options.tokenEnv);
  let version: string | undefined;

  const ask = async (path: string, body?: string): Promise<string> => {
    let response: Response;
    let text: string;
    try {
      response = await fetch(new URL(path, address), {
        method: body === undefined ? "GET" : "POST",
        headers: { ...(body !== undefined && { "content-type": "application/json" }), ...(token !== undefined && { authorization: `Bearer ${token}` }) },
        ...(body !== undefined && { body }),
        redirect: "error",
        signal: AbortSignal.timeout(timeoutSeconds * 1000),
      });
      text = await textOf(response);
    } catch (error) {
      if (error instanceof TrainerError) throw error;
      const { name, message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
      throw new Unavailable(name === "TimeoutError" ? `gives no answer in ${timeoutSeconds} s` : `cannot be reached (${cause?.code ?? cause?.message ?? message})`, 0, error);
    }
    if (response.ok) return text;
    const { status } = response;
    if (status === 409) throw new TrainerError(`the reward server at ${address.origin} no longer scores by ${String(version)}`, { code: "REWARD_VERSION", hint: "Start it with the options and version of before, or begin a new run." });
    if (status === 408 || status === 429 || status >= 500) throw new Unavailable(`answers ${status} (${problemOf(text)})`, Number(response.headers.get("retry-after") ?? 0) || 0);
    throw new TrainerError(`the reward server at ${address.origin} refuses with ${status} (${problemOf(text)})`, { code: "REWARD_SERVER_REFUSES", hint: "Check the address, the token, and that the server speaks POST /v1/score." });
  };

  /** Asks until there is an answer; undefined where `onError` is `null` and there is none. */
  const insist = async <T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T | undefined> => {
    const started = performance.now();
    for (let attempt = 0; ; attempt++) {
      const waited = (): number => (performance.now() - started) / 1000;
      try {
        const result = await work();
        if (attempt > retries) onWarning?.(`the reward server at ${address.origin} is back after ${Math.round(waited())} s`);
        return result;
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        const isLong = attempt >= retries;
        if (isLong && onError === "null") return undefined;
        if (isLong && (onError === "stop" || waited() >= maxWaitSeconds)) {
          throw new TrainerError(`the reward server at ${address.origin} ${error.message}, after ${attempt + 1} requests in ${Math.round(waited())} s`, { code: "REWARD_SERVER_AWAY", cause: error, hint: "Start the server again; the same command then goes on from the last checkpoint." });
        }
        if (attempt === retries) onWarning?.(`the reward server at ${address.origin} ${error.message}; the run waits for it`);
        const pause = Math.max(Math.min(MAX_PAUSE_SECONDS, backoffSeconds * 2 ** Math.min(attempt, 10)), Math.min(MAX_PAUSE_SECONDS, error.retryAfterSeconds));
        await sleep(pause * 1000, undefined, signal ? { signal } : {});
      }
    }
  };

  const scoreBatch = async (batch: readonly RewardItem[], step: number, signal: AbortSignal | undefined): Promise<RewardBreakdown[]> => {
    const attempt = async (): Promise<Reply> => readReply(await ask("/v1/score", bodyOf(batch, step, version)), batch.length);
    for (let repeat = 0; ; repeat++) {
      const reply = await insist(attempt, signal);
      if (!reply) return batch.map(() => ({ caption: null, comments: null, accuracy: null, format: null, total: null, reasons: ["reward-server-away"], version: version ?? "unknown" }));
      if (version !== undefined && reply.version !== version) throw new TrainerError(`the reward server at ${address.origin} scores by ${JSON.stringify(reply.version)}, it began with ${JSON.stringify(version)}`, { code: "REWARD_VERSION", hint: "Start it with the options and version of before, or begin a new run." });
      version = reply.version;
      const bad = reply.faults.findIndex((fault) => fault !== null);
      if (bad < 0 || onError === "null") return reply.scores;
      if (repeat >= retries) throw new TrainerError(`sample ${batch[bad]!.sample.sampleId}: the reward server could not score a completion (${reply.faults[bad]!})`, { code: "REWARD_NULL", hint: "Mend the sample's references, or set onError to null to leave out what was not scored." });
      await sleep(backoffSeconds * 1000, undefined, signal ? { signal } : {});
    }
  };

  return {
    reward: async (items, { step, signal }) => {
      const scores: RewardBreakdown[] = [];
      for (const batch of batchesOf(items)) scores.push(...(await scoreBatch(batch, step, signal)));
      return scores;
    },
    check: async (signal) => {
      const text = await insist(() => ask("/v1/version"), signal);
      if (text === undefined) throw new TrainerError(`the reward server at ${address.origin} gives no answer`, { code: "REWARD_SERVER_AWAY", hint: "Start the server before the run." });
      let reply: z.infer<typeof versionReply>;
      try {
        reply = versionReply.parse(JSON.parse(text));
      } catch (error) {
        throw new TrainerError(`${address.origin} does not answer as a reward server`, { code: "REWARD_REPLY_INVALID", cause: error, hint: "Check the address." });
      }
      version ??= reply.version;
      return reply.version;
    },
  };
}
