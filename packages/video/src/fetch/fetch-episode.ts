import { createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { isIP, isIPv6, type LookupFunction } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { getCACertificates } from "node:tls";
import { DramascopeError, unlessAborted } from "@dramascope/schema";
import { checkHost, describeUrl, parseEpisodeUrl, plainCause, type CheckedUrl, type HostRules } from "./checked-url.ts";
import { VideoError, type VideoErrorCode } from "../errors.ts";

/** Options of {@link fetchEpisode}. */
export interface FetchOptions extends HostRules {
  /** Largest episode. Default 2 GiB. */
  maxBytes?: number;
  /** Longest time from start to the last byte, redirects included. Default 600,000, ten minutes. */
  timeoutMs?: number;
  /** Default 3. */
  maxRedirects?: number;
  /** Certificate of an authority to trust beside the system's, PEM. */
  ca?: string;
  /** Folder in which the private folder is made. Default the system's for temporary files. */
  temporaryFolder?: string;
}

/** An episode in a private temporary folder. */
export interface FetchedEpisode {
  /** Absolute path of the file. */
  path: string;
  bytes: number;
  /** Removes the file and its folder. May be called twice. */
  remove: () => Promise<void>;
}

const DEFAULTS = { maxBytes: 2 * 2 ** 30, timeoutMs: 600_000, maxRedirects: 3 };
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

function failure(code: VideoErrorCode, url: URL, problem: string, hint: string, cause?: unknown): VideoError {
  const path = describeUrl(url);
  return new VideoError(`${path}: ${problem}`, { code, path, hint, ...(cause === undefined ? {} : { cause: plainCause(cause) }) });
}

/** Answers with the addresses that were checked, so that a second look-up cannot give another one. */
function pinned(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }));
  return (_hostname, { all }, answer) => {
    if (all) answer(null, found);
    else answer(null, found[0]!.address, found[0]!.family);
  };
}

/** Asks a checked host for a URL; answers with the head of what comes. No proxy, no kept connection, no cookie. */
function ask({ url, addresses }: CheckedUrl, ca: string | undefined, signal: AbortSignal): Promise<IncomingMessage> {
  const hostname = url.hostname.replace(/^\[|\]$/gu, "");
  return new Promise((resolve, reject) => {
    const asked = request({
      hostname,
      port: url.port === "" ? 443 : url.port,
      path: `${url.pathname}${url.search}`,
      agent: new Agent({ keepAlive: false }),
      headers: { accept: "video/*, application/octet-stream, */*;q=0.5", "accept-encoding": "identity", "user-agent": "dramascope" },
      lookup: pinned(addresses),
      servername: isIP(hostname) === 0 ? hostname : "",
      rejectUnauthorized: true, // whatever NODE_TLS_REJECT_UNAUTHORIZED says
      ...(ca === undefined ? {} : { ca: [...getCACertificates("default"), ca] }),
      signal,
    });
    const hungUp = (): void => reject(new Error("the server closed the connection without an answer"));
    asked.on("response", resolve).on("error", reject).on("close", hungUp).end();
  });
}

function checkAnswer(url: URL, answer: IncomingMessage, maxBytes: number): void {
  const { statusCode, headers } = answer;
  if (statusCode !== 200) throw failure("VIDEO_FETCH_FAILED", url, `the server answered with status ${String(statusCode)}`, "Check that the URL is right and still valid.");
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding.toLowerCase() !== "identity") throw failure("VIDEO_FETCH_FAILED", url, "the server packed the file although it was asked not to", "Fetch the episode yourself.");
  if (Number(headers["content-length"] ?? 0) > maxBytes) throw tooLarge(url, maxBytes);
}

const tooLarge = (url: URL, maxBytes: number): VideoError => failure("VIDEO_TOO_LARGE", url, `the file is larger than ${maxBytes} bytes`, "Raise maxBytes, or give a smaller file.");

async function download(url: URL, answer: IncomingMessage, path: string, maxBytes: number, signal: AbortSignal): Promise<number> {
  checkAnswer(url, answer, maxBytes);
  let bytes = 0;
  const counted = async function* (chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooLarge(url, maxBytes);
      yield chunk;
    }
  };
  await pipeline(answer, counted, createWriteStream(path, { flags: "wx", mode: 0o600 }), { signal });
  const announced = answer.headers["content-length"];
  if (announced !== undefined && Number(announced) !== bytes) throw failure("VIDEO_FETCH_FAILED", url, `${bytes} of ${Number(announced)} bytes came`, "Try again.");
  return bytes;
}

/**
 * Fetches an episode over https into a private temporary folder, where it is treated as any local file.
 *
 * The host is resolved once and every address is checked against the networks that are not the public internet; the connection goes to a
 * checked address, with the certificate checked for the host's name, and all of it again on each redirect. No proxy is used.
 * No error, cause included, holds the URL's query, fragment or credentials.
 *
 * @param url    https, without credentials.
 * @param signal Stops the fetch.
 * @throws       VideoError `VIDEO_PATH_REFUSED` for another scheme, credentials, an address that is not allowed and too many redirects;
 *               `VIDEO_TOO_LARGE`, `VIDEO_TIMEOUT`, `VIDEO_CANCELLED`; `VIDEO_FETCH_FAILED` for all else that network and server do.
 *               Nothing stays on the disk then.
 */
export async function fetchEpisode(url: string, options: FetchOptions = {}, signal?: AbortSignal): Promise<FetchedEpisode> {
  const { maxBytes, timeoutMs, maxRedirects } = { ...DEFAULTS, ...options };
  const deadline = AbortSignal.timeout(timeoutMs);
  const stop = AbortSignal.any(signal ? [signal, deadline] : [deadline]);
  let current = parseEpisodeUrl(url);
  const folder = await mkdtemp(join(options.temporaryFolder ?? tmpdir(), "dramascope-fetch-")).catch((error: unknown) => {
    throw failure("VIDEO_FETCH_FAILED", current, `no private folder can be made (${(error as Error).message})`, "Name a writable temporaryFolder.", error);
  });
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    for (let redirects = 0; ; redirects++) {
      if (redirects > maxRedirects) throw failure("VIDEO_PATH_REFUSED", current, `more than ${maxRedirects} redirects`, "Give the URL where the file is.");
      const answer = await ask(await unlessAborted(checkHost(current, options), stop), options.ca, stop);
      try {
        const { location } = answer.headers;
        if (!REDIRECTS.has(answer.statusCode!) || location === undefined) {
          const path = join(folder, "episode");
          return { path, bytes: await download(current, answer, path, maxBytes, stop), remove };
        }
        current = parseEpisodeUrl(location, current);
      } finally {
        answer.destroy();
      }
    }
  } catch (error) {
    await remove();
    if (DramascopeError.isInstance(error)) throw error;
    if (signal?.aborted) throw failure("VIDEO_CANCELLED", current, "the fetch was cancelled", "Start it again when it is wanted.");
    if (deadline.aborted) throw failure("VIDEO_TIMEOUT", current, `the fetch took longer than ${timeoutMs / 1000} s`, "Raise timeoutMs, or fetch the episode yourself.");
    throw failure("VIDEO_FETCH_FAILED", current, `the fetch failed (${plainCause(error).message})`, "Check the URL and the network, then try again.", error);
  }
}
