import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { DramascopeError, unlessAborted } from "@dramascope/schema";
import { QwenVlError } from "./errors.ts";
import { checkHop, shown, type Resolve } from "./pull-address.ts";
import { ask } from "./pull-request.ts";

/** How a hub is asked. */
export interface HubClientOptions {
  /** Address of the hub, as {@link parseEndpoint} gives it. */
  endpoint: URL;
  /** Sent to the endpoint's own origin and nowhere else. */
  token: string | undefined;
  /** Tries in a row without a new byte. */
  attempts: number;
  /** Wait after the first failure; doubled after each further one. */
  firstWaitSeconds: number;
  /** A connection without a byte for this long is broken. */
  idleSeconds: number;
  signal: AbortSignal | undefined;
  /** Addresses of a host name. Default: the system's resolver. */
  resolve?: Resolve;
  /** Told before each wait. */
  onWait: (seconds: number, why: string) => void;
}

/** An answer with status 200 to 299. */
interface HubAnswer {
  status: number;
  headers: Headers;
  /** The body, piece by piece; to be read or cancelled. */
  chunks: () => AsyncGenerator<Uint8Array>;
  cancel: () => void;
}

/** Asks a hub by GET. */
export interface HubClient {
  endpoint: URL;
  /** One try, redirects followed. */
  get: (url: URL, headers?: Readonly<Record<string, string>>) => Promise<HubAnswer>;
  /** Waits before the next try, or throws when there is to be none. `failures` counts tries in a row that brought nothing. */
  waitAfter: (error: unknown, failures: number) => Promise<void>;
}

const MAX_REDIRECTS = 8;
const MAX_WAIT_SECONDS = 30;
/** Longest wait that a server may ask for. */
const MAX_ASKED_SECONDS = 300;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];
/** Failures that a wrong address gives as well; before the first answer, waiting would only hide the typing error. */
const WRONG_ADDRESS = /^(?:ECONNREFUSED|ENOTFOUND|CERT_|DEPTH_ZERO|ERR_TLS|ERR_SSL|SELF_SIGNED|UNABLE_TO)/u;

/** A failure that may pass: a broken connection, a server in trouble, too many requests. */
export class PassingFailure extends Error {
  /** Wait that the server asked for. */
  readonly retryAfterSeconds: number | undefined;

  constructor(message: string, details: { cause?: unknown; retryAfterSeconds?: number | undefined } = {}) {
    super(message, { cause: details.cause });
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

/** Seconds of a Retry-After header; a date counts from the server's own clock. */
function retryAfterOf(headers: Headers): number | undefined {
  const text = headers.get("retry-after")?.trim();
  if (text === undefined || text === "") return undefined;
  const seconds = /^\d+$/u.test(text) ? Number(text) : (Date.parse(text) - Date.parse(headers.get("date") ?? "")) / 1000;
  return Number.isFinite(seconds) ? Math.min(MAX_ASKED_SECONDS, Math.max(0, seconds)) : undefined;
}

/** What a refusing answer means. Its text is left out: it is not ours to trust, and may repeat what was sent. */
function refusalOf({ status, headers }: Pick<HubAnswer, "status" | "headers">, url: URL, endpoint: URL, hasToken: boolean): Error {
  const isEndpoint = url.origin === endpoint.origin;
  if (status === 401 || (status === 403 && isEndpoint)) {
    const isGated = headers.get("x-error-code") === "GatedRepo";
    return new QwenVlError(`${shown(url)} is refused (status ${status})${isGated ? ": its owner asks every reader to agree to terms first" : ""}`, {
      code: "PULL_DENIED",
      hint: hasToken ? "Check the repository's name and that the token may read it." : "Check the repository's name; one that is not public needs a token.",
    });
  }
  if (status === 404 && isEndpoint) {
    const what = headers.get("x-error-code") === "RevisionNotFound" ? "no such revision" : "not found";
    return new QwenVlError(`${shown(url)}: ${what} (status 404)`, { code: "PULL_NOT_FOUND", hint: "Check the names of repository and revision." });
  }
  // A store's signed address may have run out; asking the hub again gives a new one.
  if (status === 403 || status === 408 || status === 429 || status >= 500) return new PassingFailure(`${url.origin} answers with status ${status}`, { retryAfterSeconds: retryAfterOf(headers) });
  return new QwenVlError(`${shown(url)} answers with status ${status}`, { code: "HUB_DAMAGED", hint: "Check that the endpoint is a hub." });
}

function headersOf({ rawHeaders }: IncomingMessage): Headers {
  const headers = new Headers();
  for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
  return headers;
}

/** What made a connection fail: the innermost cause, with its code if it has one. */
function rootOf(error: unknown): { code: string | undefined; message: string } {
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  return cause !== undefined ? rootOf(cause) : { code: typeof code === "string" ? code : undefined, message: String(message) };
}

/** A client of one hub. */
export function createHubClient(options: HubClientOptions): HubClient {
  const { endpoint, token, signal, idleSeconds } = options;
  let hasAnswered = false;

  const connectionFailure = (error: unknown, url: URL): Error => {
    signal?.throwIfAborted();
    if (error instanceof PassingFailure || DramascopeError.isInstance(error)) return error;
    const root = rootOf(error);
    const message = `the connection to ${url.origin} failed (${root.code ?? root.message})`;
    if (root.code !== undefined && (hasAnswered || !WRONG_ADDRESS.test(root.code))) return new PassingFailure(message, { cause: error });
    return new QwenVlError(message, { code: "HUB_UNAVAILABLE", cause: error, hint: "Check the endpoint and the network." });
  };

  /** Ends a connection that stands still. */
  const watch = (): { signal: AbortSignal; touch: () => void; stop: () => void } => {
    const idle = new AbortController();
    const timer = setTimeout(() => idle.abort(new PassingFailure(`nothing came for ${idleSeconds} s`)), idleSeconds * 1000);
    return { signal: AbortSignal.any([idle.signal, ...(signal ? [signal] : [])]), touch: () => void timer.refresh(), stop: () => clearTimeout(timer) };
  };

  async function* chunksOf(answer: IncomingMessage, url: URL, watched: ReturnType<typeof watch>): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of answer) {
        watched.touch();
        yield chunk as Uint8Array;
        watched.touch();
      }
    } catch (error) {
      throw watched.signal.aborted ? connectionFailure(watched.signal.reason, url) : connectionFailure(error, url);
    } finally {
      watched.stop();
    }
  }

  return {
    endpoint,
    async get(start, headers = {}) {
      let next: URL | null = start;
      for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
        const watched = watch();
        const url: URL = next ?? start;
        let answer: IncomingMessage;
        try {
          const target = await unlessAborted(checkHop(next, endpoint, options.resolve), watched.signal);
          answer = await ask(target, { ...headers, ...(token !== undefined && url.origin === endpoint.origin ? { authorization: `Bearer ${token}` } : {}) }, watched.signal);
        } catch (error) {
          watched.stop();
          throw connectionFailure(watched.signal.aborted ? watched.signal.reason : error, url);
        }
        hasAnswered = true;
        const status = answer.statusCode!;
        const found = headersOf(answer);
        const cancel = (): void => {
          watched.stop();
          answer.destroy();
        };
        const isPacked = (found.get("content-encoding") ?? "identity") !== "identity";
        const location = REDIRECTS.includes(status) ? found.get("location") : null;
        if (location !== null) {
          cancel();
          next = URL.parse(location, url.href);
        } else if (status >= 200 && status < 300 && !isPacked) {
          return { status, headers: found, chunks: () => chunksOf(answer, url, watched), cancel };
        } else {
          cancel();
          if (status < 300) throw new QwenVlError(`${shown(url)} is packed although asked not to be`, { code: "HUB_DAMAGED", hint: "Ask whoever runs the server." });
          throw refusalOf({ status, headers: found }, url, endpoint, token !== undefined);
        }
      }
      throw new QwenVlError(`${shown(start)} redirects more than ${MAX_REDIRECTS} times`, { code: "HUB_DAMAGED", hint: "Ask whoever runs the server." });
    },
    async waitAfter(error, failures) {
      if (!(error instanceof PassingFailure)) throw error;
      if (failures >= options.attempts) {
        throw new QwenVlError(`${error.message}; given up after ${failures} tries`, { code: "HUB_UNAVAILABLE", cause: error, hint: "Run the same command again later: it goes on where it stopped." });
      }
      const seconds = error.retryAfterSeconds ?? Math.min(MAX_WAIT_SECONDS, options.firstWaitSeconds * 2 ** (failures - 1));
      options.onWait(seconds, error.message);
      await sleep(seconds * 1000, undefined, signal ? { signal } : {}).catch((cause: unknown) => {
        signal?.throwIfAborted();
        throw cause;
      });
    },
  };
}
