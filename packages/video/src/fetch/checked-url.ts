import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { isPublicAddress } from "@dramascope/schema";
import { VideoError } from "../errors.ts";

/** Which hosts may be asked. */
export interface HostRules {
  /** True for an address outside the public internet that may be reached all the same. Default: none. */
  allowAddress?: (address: string) => boolean;
  /** Addresses of a host name. Default: the system's resolver. */
  lookup?: (hostname: string) => Promise<readonly string[]>;
}

/** A URL whose host may be reached at these addresses. */
export interface CheckedUrl {
  url: URL;
  /** IPv4 or IPv6, at least one. */
  addresses: readonly string[];
}

/** A URL for people: origin and path. Credentials, query and fragment, which may hold secrets, are left out. */
export function describeUrl(url: string | URL): string {
  const parsed = URL.parse(String(url));
  if (parsed === null) return "(no URL)";
  const { protocol, host, pathname } = parsed;
  return protocol === "https:" || protocol === "http:" ? `${protocol}//${host}${pathname}` : `${protocol}…`;
}

/** An error's text and code alone: what else it carries, such as the bytes of an answer, may repeat secrets of the URL. */
export function plainCause(error: unknown): Error {
  const { message, code } = error as NodeJS.ErrnoException;
  return Object.assign(new Error(message === "" ? code : message), code === undefined ? {} : { code }); // failed attempts on several addresses have no text
}

const resolve = async (hostname: string): Promise<string[]> => (await lookup(hostname, { all: true })).map(({ address }) => address);

/** Parses a URL and checks its form: https, without credentials. */
export function parseEpisodeUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  const refuse = (problem: string): never => {
    const path = describeUrl(url ?? text);
    throw new VideoError(`${path} ${problem}`, { code: "VIDEO_PATH_REFUSED", path, hint: "Give an https URL without user name and password, or a local file." });
  };
  if (url === null) return refuse("cannot be read as a URL");
  if (url.protocol !== "https:") refuse("is not an https URL");
  if (url.username !== "" || url.password !== "") refuse("has credentials in it");
  return url;
}

/**
 * Resolves a URL's host, once, and checks every address.
 *
 * @throws VideoError `VIDEO_PATH_REFUSED` when one of them is not allowed, `VIDEO_FETCH_FAILED` when there is none.
 */
export async function checkHost(url: URL, rules: HostRules): Promise<CheckedUrl> {
  const path = describeUrl(url);
  const hostname = url.hostname.replace(/^\[|\]$/gu, "");
  const failed = (cause?: unknown): VideoError =>
    new VideoError(`${path}: the host's name has no address`, { code: "VIDEO_FETCH_FAILED", path, ...(cause === undefined ? {} : { cause: plainCause(cause) }), hint: "Check the URL and the network." });
  let addresses: readonly string[];
  try {
    addresses = isIP(hostname) === 0 ? await (rules.lookup ?? resolve)(hostname) : [hostname];
  } catch (error) {
    throw failed(error);
  }
  if (addresses.length === 0) throw failed();
  const closed = addresses.find((address) => !isPublicAddress(address) && rules.allowAddress?.(address) !== true);
  if (closed === undefined) return { url, addresses };
  throw new VideoError(`${path}: the host's address ${closed.slice(0, 64)} is not on the public internet`, { code: "VIDEO_PATH_REFUSED", path, hint: "Fetch the episode yourself, or allow this address." });
}
