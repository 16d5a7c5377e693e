import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { isPublicAddress } from "@dramascope/schema";
import { QwenVlError } from "./errors.ts";

/** Gives the addresses of a host name. */
export type Resolve = (hostname: string) => Promise<readonly string[]>;

/** An address to ask, and where its host is. */
export interface Hop {
  url: URL;
  /** IPv4 or IPv6 addresses to connect to; undefined leaves the choice to the system. */
  addresses: readonly string[] | undefined;
}

const systemResolve: Resolve = async (hostname) => (await lookup(hostname, { all: true })).map(({ address }) => address);

const isLoopbackAddress = (address: string): boolean => address === "::1" || /^127(?:\.\d{1,3}){3}$/u.test(address);

/** A URL's host as the network knows it, without the brackets of IPv6. */
export const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[|\]$/gu, "");

const isLoopback = (url: URL): boolean => url.hostname === "localhost" || isLoopbackAddress(hostOf(url));

/** An address without its query, which may hold a signature, and without user and password. */
export const shown = (url: URL): string => `${url.origin}${url.pathname}`.slice(0, 300);

/**
 * The address of a hub, checked: https, or http on this machine; without user, password, query and fragment.
 *
 * @throws QwenVlError `PULL_OPTIONS`.
 */
export function parseEndpoint(text: string): URL {
  const url = URL.parse(text);
  const isPlain = url?.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (url === null || !isPlain || (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback(url)))) {
    throw new QwenVlError("the endpoint is no usable address", { code: "PULL_OPTIONS", hint: "Give an https address without user, password and query; http only for this machine." });
  }
  return new URL(url.href.replace(/\/*$/u, "/"));
}

/**
 * Where a hub may lead: to itself, over https to hosts of the public internet, and, when it is on this machine itself, to others here.
 * A host is resolved once; the connection has to go to the addresses that were checked.
 *
 * @throws QwenVlError `HUB_DAMAGED` for all other places; neither credentials nor queries are named.
 */
export async function checkHop(url: URL | null, endpoint: URL, resolve: Resolve = systemResolve): Promise<Hop> {
  const refuse = (why: string): never => {
    throw new QwenVlError(`${endpoint.origin} redirects to an address that is not allowed: ${why}`, { code: "HUB_DAMAGED", hint: "Ask whoever runs the server; only https addresses of the public internet are followed." });
  };
  if (url === null) return refuse("it cannot be read");
  const isHttps = url.protocol === "https:";
  if (!isHttps && url.protocol !== "http:") refuse(`it begins with ${url.protocol.slice(0, 20)}`);
  const where = shown(url);
  if (url.username !== "" || url.password !== "") refuse(`${where} with credentials in it`);
  if (url.origin === endpoint.origin) return { url, addresses: undefined };
  const host = hostOf(url);
  const addresses = isIP(host) === 0 ? await resolve(host) : [host];
  if (addresses.length === 0) refuse(`${where}, whose host has no address`);
  const isHere = isLoopback(endpoint) && addresses.every(isLoopbackAddress);
  if (!isHttps && !isHere) refuse(`${where} is not https`);
  const closed = isHere ? undefined : addresses.find((address) => !isPublicAddress(address));
  if (closed !== undefined) refuse(`${where}, whose host is at ${closed.slice(0, 64)}, outside the public internet`);
  return { url, addresses };
}
