import { createHash, timingSafeEqual } from "node:crypto";
import { performance } from "node:perf_hooks";
import { DramascopeError } from "@dramascope/schema";
import { HttpProblem } from "./http-problem.ts";
import { createMetrics } from "./metrics.ts";
import type { RewardPool } from "./pool.ts";
import { readBody, type BodyMemory } from "./request-body.ts";
import { parseScoreRequest, scoreReply } from "./score-request.ts";
import { unscored } from "./task.ts";

/** Options of {@link rewardHandler}. */
export interface RewardHandlerOptions {
  /** Scores the items; its options hold for all requests. */
  pool: RewardPool;
  /** Bearer token that every route but `/healthz` asks for. Default: none is asked for. */
  token?: string;
  /** Items that are scored or wait at once; above, requests get 429. A request that comes when nothing waits is always taken. Default 16384. */
  maxQueuedItems?: number;
  /** Seconds that a body may take to arrive; then 408. Default 30. */
  bodyTimeoutSeconds?: number;
  /** Once aborted, new requests get 503 and every answer closes its connection; requests that were taken before are answered. Default: never. */
  drain?: AbortSignal;
}

const METHODS = new Map([["/healthz", "GET"], ["/readyz", "GET"], ["/metrics", "GET"], ["/v1/version", "GET"], ["/v1/score", "POST"]]);

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Comparing digests takes the same time wherever the texts differ. */
function isAuthorized(request: Request, token: string): boolean {
  const given = request.headers.get("authorization") ?? "";
  return timingSafeEqual(digest(given.slice(0, 7).toLowerCase() + given.slice(7)), digest(`bearer ${token}`));
}

function json(status: number, body: object, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });
}

function problemOf(error: unknown, request: Request): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (request.signal.aborted) return new HttpProblem(499, "ABORTED", "the client went away");
  if (DramascopeError.isInstance(error) && (error.code === "WORKER_UNAVAILABLE" || error.code === "POOL_CLOSED")) return new HttpProblem(503, error.code, error.message, { "retry-after": "1" });
  return new HttpProblem(500, "INTERNAL", "the server failed; nothing was scored");
}

/**
 * The reward service as a web-standard handler: `POST /v1/score`, `GET /healthz`, `/readyz`, `/v1/version`, `/metrics`.
 *
 * The same body gets the same bytes. Items stand in the order of the request; an item that cannot be scored is null with its error, never 0, and the others
 * are scored; under `onError: "fail"` the same answer has status 422. Errors are `{ "error": { "code", "message" } }` with 400, 401, 404, 405, 408, 409, 413,
 * 415, 429, 500 or 503. Nothing is logged.
 *
 * @returns A function from request to response that never rejects.
 */
export function rewardHandler(options: RewardHandlerOptions): (request: Request) => Promise<Response> {
  const { pool, token, maxQueuedItems = 16_384, bodyTimeoutSeconds = 30, drain } = options;
  const metrics = createMetrics();
  const memory: BodyMemory = { held: 0 };
  let queued = 0;
  const isDraining = (): boolean => drain?.aborted ?? false;
  const draining = (): HttpProblem => new HttpProblem(503, "DRAINING", "the server is shutting down", { "retry-after": "1" });
  const busy = (): HttpProblem => new HttpProblem(429, "BUSY", `${queued} items wait already`, { "retry-after": "1" });

  const score = async (request: Request): Promise<Response> => {
    if (isDraining()) throw draining();
    if (queued >= maxQueuedItems) throw busy();
    const { text, release } = await readBody(request, memory, bodyTimeoutSeconds);
    try {
      const start = performance.now();
      const { ids, items, faults, onError, expectVersion, scoring, ...labels } = parseScoreRequest(text);
      if (expectVersion !== undefined && expectVersion !== pool.version) throw new HttpProblem(409, "VERSION_DIFFERS", `this server scores by ${pool.version}`);
      if (queued > 0 && queued + items.length > maxQueuedItems) throw busy();
      queued += items.length;
      const scores = await pool.score(items, { ...scoring, signal: request.signal }).finally(() => (queued -= items.length));
      for (const [place, fault] of faults) scores[place] = unscored(fault, pool.version);
      metrics.batch((performance.now() - start) / 1000, scores, labels);
      const hasFailed = onError === "fail" && scores.some(({ error }) => error !== null);
      return json(hasFailed ? 422 : 200, scoreReply(ids, scores, pool.version));
    } finally {
      release();
    }
  };

  const answer = async (request: Request, path: string): Promise<Response> => {
    const method = METHODS.get(path);
    if (token !== undefined && path !== "/healthz" && !isAuthorized(request, token)) throw new HttpProblem(401, "UNAUTHORIZED", "a bearer token is asked for", { "www-authenticate": "Bearer" });
    if (method === undefined) throw new HttpProblem(404, "NOT_FOUND", "no such route");
    if (request.method !== method) throw new HttpProblem(405, "METHOD_NOT_ALLOWED", `the route takes ${method}`, { allow: method });
    switch (path) {
      case "/healthz":
        return json(200, { status: "alive" });
      case "/readyz":
        if (isDraining()) throw draining();
        if (pool.ready === 0) throw new HttpProblem(503, "STARTING", "no worker thread is up", { "retry-after": "1" });
        return json(200, { status: "ready", workers: pool.ready });
      case "/v1/version":
        return json(200, { version: pool.version });
      case "/metrics":
        return new Response(metrics.text({ version: pool.version, ready: pool.ready, queued }), { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } });
      default:
        return score(request);
    }
  };

  return async (request) => {
    const path = new URL(request.url).pathname;
    let response: Response;
    try {
      response = await answer(request, path);
    } catch (error) {
      const { status, code, message, headers } = problemOf(error, request);
      response = json(status, { error: { code, message } }, headers);
    }
    if (isDraining()) response.headers.set("connection", "close");
    metrics.request(METHODS.has(path) ? path : "other", response.status);
    return response;
  };
}
