import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { createAdaptorServer } from "@hono/node-server";
import { rewardHandler, type RewardPool } from "@dramascope/rewards";
import { CliError } from "./errors.ts";

/** Options of {@link serveRewards}. */
export interface ServeRewardsOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Scores the items; closed when the server ends or cannot start. */
  pool: RewardPool;
  /** Bearer token; undefined asks for none. */
  token: string | undefined;
  bodyTimeoutSeconds: number;
  /** Ends the server: what was accepted is answered first. */
  signal: AbortSignal;
  /** Called with the address once requests are taken. */
  onListening: (address: string) => void;
}

/** Time for the headers of a request. */
const HEADERS_TIMEOUT_MS = 10_000;
/** A client that keeps its connection is not cut off between two steps of training. */
const KEEP_ALIVE_MS = 120_000;
/** Time that clients get to fetch their last answers. */
const LAST_ANSWERS_MS = 10_000;
const POLL_MS = 50;

const LISTEN_ERRORS = new Map([
  ["EADDRINUSE", "another program has the port"],
  ["EACCES", "the system does not allow this port"],
  ["EADDRNOTAVAIL", "this machine has no such address"],
]);

async function listen(server: Server, port: number, host: string): Promise<string> {
  server.listen(port, host);
  await once(server, "listening").catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    const why = (code === undefined ? undefined : LISTEN_ERRORS.get(code)) ?? (error as Error).message;
    throw new CliError(`cannot listen on ${host}:${port}: ${why}`, { code: "ADDRESS_UNAVAILABLE", cause: error, hint: "Choose another --port; 0 takes a free one." });
  });
  const { address, port: taken, family } = server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${taken}`;
}

/** Closes connections as their last answers go out. */
async function close(server: Server): Promise<void> {
  const closed = once(server, "close").then(() => true);
  server.close();
  for (let waited = 0; waited < LAST_ANSWERS_MS; waited += POLL_MS) {
    server.closeIdleConnections();
    if (await Promise.race([closed, setTimeout(POLL_MS, false)])) return;
  }
  server.closeAllConnections();
  await closed;
}

/**
 * Serves rewards over HTTP until the signal: then new requests get 503, accepted ones are answered, and the promise resolves with the number of requests.
 *
 * @throws CliError `ADDRESS_UNAVAILABLE`; RewardError `WORKER_UNAVAILABLE`.
 */
export async function serveRewards(options: ServeRewardsOptions): Promise<number> {
  const { host, port, pool, token, bodyTimeoutSeconds, signal, onListening } = options;
  try {
    await pool.whenReady();
    const handle = rewardHandler({ pool, bodyTimeoutSeconds, drain: signal, ...(token === undefined ? {} : { token }) });
    let running = 0;
    let requests = 0;
    const server = createAdaptorServer({
      overrideGlobalObjects: false,
      serverOptions: { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: bodyTimeoutSeconds * 1000 + HEADERS_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS, connectionsCheckingInterval: 1000 },
      fetch: async (request) => {
        running++;
        requests++;
        return handle(request).finally(() => running--);
      },
    }) as Server;
    onListening(await listen(server, port, host));
    if (!signal.aborted) await once(signal, "abort");
    while (running > 0) await setTimeout(POLL_MS);
    await close(server);
    return requests;
  } finally {
    await pool.close();
  }
}
