import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pullModel, type PullOptions, type PullResult } from "@dramascope/qwen-vl";
import { afterEach, beforeEach, expect } from "vitest";
import { golden } from "./goldens.ts";

/** Files of the repository that a pull wants. */
export const WANTED = ["chat_template.jinja", "config.json", "generation_config.json", "model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors", "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors", "model.safetensors.index.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"];
/** One of its shards. */
export const SECOND = "model-00002-of-00004.safetensors";

/** Matches an error of the package. */
export const withCode = (code: string): Error => expect.objectContaining({ name: "QwenVlError", code }) as Error;

/** One request that came in. */
export interface SeenRequest {
  /** The hub itself, or the store that large files are kept in: another origin. */
  at: "hub" | "store";
  path: string;
  authorization: string | undefined;
  range: string | undefined;
}

/** What a test makes of a request for a file's bytes; undefined serves it as it should be. */
export type Disturb = (request: SeenRequest, name: string) => { status: number; headers?: Record<string, string>; body?: string } | { cutAfter: number } | { hangAfter: number } | { withoutRanges: true; cutAfter?: number } | undefined;

/** A hub on loopback with one repository. */
export interface TestHub {
  endpoint: string;
  repo: string;
  commit: string;
  /** Files by name; tests change them. */
  files: Map<string, Buffer>;
  /** Requests so far. */
  seen: SeenRequest[];
  /** Bytes of bodies by file name, as ranges. */
  sent: Map<string, [start: number, end: number][]>;
  disturb: Disturb;
  /** Changes the listing before it goes out. */
  changeListing: (entries: Record<string, unknown>[]) => unknown[];
  /** Set for a repository that is not public. */
  token: string | undefined;
  close: () => Promise<void>;
}

const gitSha1 = (bytes: Buffer): string => createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** Contents of the reference checkpoint, beside files that a pull has to leave. */
function repository(): Map<string, Buffer> {
  const files = new Map(readdirSync(golden("model")).map((name) => [name, readFileSync(golden(`model/${name}`))]));
  for (const name of ["README.md", ".gitattributes", "pytorch_model.bin", "modeling.py", "consolidated.pt"]) files.set(name, Buffer.from(`${name} is not wanted`));
  return files;
}

function listen(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<{ origin: string; close: () => Promise<void> }> {
  const server = createServer(handle);
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () =>
      resolve({
        origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            server.closeAllConnections();
          }),
      }),
    );
  });
}

/** Starts a hub: commits by name, a listing in pages, small files from itself, weights by redirect from a store. */
export async function startHub(): Promise<TestHub> {
  const isLarge = (name: string): boolean => name.endsWith(".safetensors");

  const sendBytes = (seen: SeenRequest, name: string, response: ServerResponse): void => {
    const bytes = started.files.get(name);
    const disturbance = started.disturb(seen, name);
    if (disturbance !== undefined && "status" in disturbance) {
      response.writeHead(disturbance.status, disturbance.headers).end(disturbance.body);
      return;
    }
    if (bytes === undefined) {
      response.writeHead(404).end();
      return;
    }
    const wants = { cutAfter: undefined, hangAfter: undefined, ...disturbance };
    const range = "withoutRanges" in wants ? null : /^bytes=(\d+)-$/u.exec(seen.range ?? "");
    const start = Number(range?.[1] ?? 0);
    response.writeHead(range ? 206 : 200, { "content-length": bytes.length - start, ...(range ? { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}) });
    const limit = wants.cutAfter ?? wants.hangAfter;
    const end = limit === undefined ? bytes.length : Math.min(bytes.length, start + limit);
    started.sent.set(name, [...(started.sent.get(name) ?? []), [start, end]]);
    if (limit === undefined) response.end(bytes.subarray(start));
    else if (wants.cutAfter === undefined) response.write(bytes.subarray(start, end));
    else response.write(bytes.subarray(start, end), () => setTimeout(() => response.destroy(), 20));
  };

  const note = (at: SeenRequest["at"], request: IncomingMessage): SeenRequest => {
    const seen = { at, path: request.url!, authorization: request.headers.authorization, range: request.headers.range };
    started.seen.push(seen);
    return seen;
  };

  const store = await listen((request, response) => {
    const seen = note("store", request);
    sendBytes(seen, new URL(seen.path, "http://store").pathname.slice(1), response);
  });

  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const seen = note("hub", request);
    const { pathname, searchParams } = new URL(seen.path, started.endpoint);
    const json = (value: unknown, headers: Record<string, string> = {}): void => void response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
    const fail = (status: number, code: string): void => void response.writeHead(status, { "content-type": "application/json", "x-error-code": code }).end(JSON.stringify({ error: `refused: ${seen.authorization ?? "no token"}` }));
    const files = `/${started.repo}/resolve/${started.commit}/`;
    if (started.token !== undefined && seen.authorization !== `Bearer ${started.token}`) fail(401, "RepoNotFound");
    else if (pathname === `/api/models/${started.repo}/revision/no-such`) fail(404, "RevisionNotFound");
    else if (pathname.startsWith(`/api/models/${started.repo}/revision/`)) json({ _id: "1", id: started.repo, sha: started.commit, lastModified: "2026-01-01T00:00:00.000Z" });
    else if (pathname === `/api/models/${started.repo}/tree/${started.commit}`) {
      const entries = started.changeListing([
        ...[...started.files].map(([path, bytes]) => ({ type: "file", path, size: bytes.length, oid: gitSha1(bytes), ...(isLarge(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 }, xetHash: sha256(bytes) } : {}) })),
        { type: "directory", path: "figures", size: 0, oid: "0".repeat(40) },
      ]);
      const from = Number(searchParams.get("cursor") ?? 0);
      json(entries.slice(from, from + 5), from + 5 < entries.length ? { link: `<${started.endpoint}${pathname}?cursor=${from + 5}>; rel="next"` } : {});
    } else if (pathname.startsWith("/cache/")) sendBytes(seen, pathname.slice(7), response);
    else if (!pathname.startsWith(files)) fail(404, "RepoNotFound");
    else if (request.headers.accept?.includes("vnd.xet-fileinfo")) json({ error: "this server speaks no xet" }, { "content-type": "application/vnd.xet-fileinfo+json" });
    else {
      const name = pathname.slice(files.length);
      response.writeHead(isLarge(name) ? 302 : 307, { location: isLarge(name) ? `${store.origin}/${name}?signature=secret-signature` : `/cache/${name}` }).end();
    }
  };

  const front = await listen(answer);
  const started: TestHub = {
    endpoint: front.origin,
    repo: "studio/tiny-vl",
    commit: "0123456789abcdef0123456789abcdef01234567",
    files: repository(),
    seen: [],
    sent: new Map(),
    disturb: () => undefined,
    changeListing: (entries) => entries,
    token: undefined,
    close: async () => {
      await front.close();
      await store.close();
    },
  };
  return started;
}

/** The hub of the test that runs. */
export let hub: TestHub;
/** Where it pulls to: not there yet, in a folder of its own. */
export let out: string;

/** Starts a hub before each test of a file and stops it after. */
export function hubForEach(): void {
  beforeEach(async () => {
    hub = await startHub();
    out = join(await mkdtemp(join(tmpdir(), "dramascope-pull-")), "tiny-vl");
  });
  afterEach(() => hub.close());
}

/** Pulls from the hub, without patience. */
export const pull = (options: PullOptions = {}): Promise<PullResult> => pullModel(hub.repo, { endpoint: hub.endpoint, out, attempts: 3, firstWaitSeconds: 0.001, ...options });

/** A file of the folder. */
export const read = (name: string): Promise<Buffer> => readFile(join(out, name));

/** The folder holds what is wanted, byte by byte, and nothing else. */
export async function expectWhole(): Promise<void> {
  expect((await readdir(out)).sort()).toEqual([...WANTED, "pulled.json"].sort());
  for (const name of WANTED) expect((await read(name)).equals(hub.files.get(name)!)).toBe(true);
}
