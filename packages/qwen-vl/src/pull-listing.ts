import { DramascopeError } from "@dramascope/schema";
import { parseConfig } from "./config.ts";
import { QwenVlError } from "./errors.ts";
import type { HubClient } from "./pull-client.ts";
import { checkpointFiles, type PullFile } from "./pull-files.ts";
import { createFileHash } from "./pull-part.ts";

const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_ANSWERS = 50;

/** Where the bytes of a file are. */
export function fileUrl({ endpoint }: HubClient, repo: string, commit: string, name: string): URL {
  return new URL(`${repo}/resolve/${commit}/${name}`, endpoint);
}

/** A whole small answer, tried again where that may help. */
async function getBytes(client: HubClient, url: URL, maxBytes: number): Promise<{ bytes: Buffer; headers: Headers }> {
  for (let failures = 1; ; failures++) {
    try {
      const { headers, chunks } = await client.get(url, { accept: "application/json, */*" });
      const pieces: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of chunks()) {
        length += chunk.length;
        if (length > maxBytes) throw new QwenVlError(`${url.origin}${url.pathname} is longer than ${maxBytes} bytes`, { code: "HUB_DAMAGED", hint: "Check that the endpoint is a hub." });
        pieces.push(chunk);
      }
      return { bytes: Buffer.concat(pieces), headers };
    } catch (error) {
      await client.waitAfter(error, failures);
    }
  }
}

/** The client in the form in which the hub's library calls it. The library gets no token: the client adds it where it may go. */
function fetchBy(client: HubClient): typeof fetch {
  let answers = 0;
  return async (input) => {
    if (++answers > MAX_ANSWERS) throw new QwenVlError(`${client.endpoint.origin} gives a listing of more than ${MAX_ANSWERS} pages`, { code: "PULL_LISTING", hint: "Check endpoint and name." });
    const { bytes, headers } = await getBytes(client, new URL(input instanceof Request ? input.url : input), MAX_ANSWER_BYTES);
    const link = headers.get("link");
    return new Response(bytes, { headers: link === null ? {} : { link } });
  };
}

/**
 * The commit that a revision means, and the files of its checkpoint.
 *
 * @throws QwenVlError when there is no such repository or revision, or its listing is not one of a checkpoint.
 */
export async function readListing(client: HubClient, repo: string, revision: string): Promise<{ commit: string; list: () => Promise<PullFile[]> }> {
  const { listFiles, modelInfo } = await import("@huggingface/hub");
  const access = { hubUrl: client.endpoint.href.replace(/\/$/u, ""), fetch: fetchBy(client) };
  const asked = async <T>(question: Promise<T>): Promise<T> => {
    try {
      return await question;
    } catch (error) {
      if (DramascopeError.isInstance(error) || (error as Error).name === "AbortError") throw error;
      throw new QwenVlError(`${client.endpoint.origin} does not answer as a hub does: ${(error as Error).message}`, { code: "HUB_DAMAGED", cause: error, hint: "Check the endpoint." });
    }
  };
  const { sha } = await asked(modelInfo({ name: repo, revision, additionalFields: ["sha"], ...access }));
  if (typeof sha !== "string" || !/^[0-9a-f]{40}$/u.test(sha)) throw new QwenVlError(`${client.endpoint.origin} names no commit for ${repo} at ${revision}`, { code: "HUB_DAMAGED", hint: "Check the endpoint." });
  const list = async (): Promise<PullFile[]> => {
    const entries: unknown[] = [];
    for await (const entry of listFiles({ repo: { type: "model", name: repo }, revision: sha, ...access })) entries.push(entry);
    return checkpointFiles(entries);
  };
  return { commit: sha, list: () => asked(list()) };
}

/**
 * Reads a repository's configuration before anything large is fetched.
 *
 * @throws QwenVlError when it is damaged or not one of a Qwen2.5-VL model.
 */
export async function checkRemoteConfig(client: HubClient, repo: string, commit: string, files: readonly PullFile[]): Promise<void> {
  const file = files.find(({ name }) => name === "config.json")!;
  const { bytes } = await getBytes(client, fileUrl(client, repo, commit, file.name), MAX_ANSWER_BYTES);
  if (createFileHash(file).update(bytes).digest("hex") !== file.digest) throw new QwenVlError(`${file.name} of ${repo} is not the file of the listing`, { code: "HUB_DAMAGED", hint: "Run the command again; if it stays so, name another endpoint." });
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new QwenVlError(`${file.name} of ${repo} is not JSON: ${(error as Error).message}`, { code: "PULL_LISTING", cause: error, hint: "Name the repository of a Qwen2.5-VL checkpoint." });
  }
  parseConfig(json);
}
