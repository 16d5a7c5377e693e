import { Agent as PlainAgent, request as plainRequest, type IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { isIP, isIPv6, type LookupFunction } from "node:net";
import { hostOf, type Hop } from "./pull-address.ts";

/** Answers with the addresses that were checked, so that a second look-up cannot give another one. */
function pinned(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }));
  return (_hostname, { all }, answer) => {
    if (all === true) answer(null, found);
    else answer(null, found[0]!.address, found[0]!.family);
  };
}

/** Asks for a URL by GET and answers with the head of what comes. No proxy, no kept connection, no cookie, no redirect. */
export function ask({ url, addresses }: Hop, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<IncomingMessage> {
  const hostname = hostOf(url);
  const options = {
    hostname,
    port: url.port,
    path: `${url.pathname}${url.search}`,
    headers: { "accept-encoding": "identity", "user-agent": "dramascope", ...headers },
    signal,
    ...(addresses === undefined ? {} : { lookup: pinned(addresses) }),
  };
  return new Promise((resolve, reject) => {
    const asked =
      url.protocol === "http:"
        ? plainRequest({ ...options, agent: new PlainAgent({ keepAlive: false }) })
        : // The certificate counts, whatever NODE_TLS_REJECT_UNAUTHORIZED says.
          request({ ...options, agent: new Agent({ keepAlive: false }), servername: isIP(hostname) === 0 ? hostname : "", rejectUnauthorized: true });
    const hungUp = (): void => reject(Object.assign(new Error("the server closed the connection without an answer"), { code: "ECONNRESET" }));
    asked.on("response", resolve).on("error", reject).on("close", hungUp).end();
  });
}
