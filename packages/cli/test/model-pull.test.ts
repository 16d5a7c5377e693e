import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { main, type ExitCode } from "@dramascope/cli";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fixture } from "./cli.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const TOKEN = "hf_canary_1234567890";
const NAMES = ["config.json", "model.safetensors", "tokenizer.json"];

let server: Server;
let endpoint: string;
let out: string;
let isDown: boolean;
let tokens: (string | undefined)[];

/** A hub with one repository, `studio/base`. */
beforeEach(async () => {
  out = join(await mkdtemp(join(tmpdir(), "dramascope-model-pull-")), "base");
  isDown = false;
  tokens = [];
  const files = new Map(await Promise.all(NAMES.map(async (name) => [name, await readFile(fixture(`models/demo-base/${name}`))] as const)));
  const listing = [...files].map(([path, bytes]) => ({ type: "file", path, size: bytes.length, oid: createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex") }));
  server = createServer(({ url, headers }, response) => {
    tokens.push(headers.authorization);
    const path = url!.split("?")[0]!;
    const bytes = files.get(path.split("/").at(-1)!);
    if (isDown) response.writeHead(503, { "retry-after": "0" }).end();
    else if (path === "/api/models/studio/base/revision/main") response.end(JSON.stringify({ sha: COMMIT }));
    else if (path === `/api/models/studio/base/tree/${COMMIT}`) response.end(JSON.stringify(listing));
    else if (path.startsWith(`/studio/base/resolve/${COMMIT}/`) && bytes) response.end(bytes);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
});

async function pull(repo: string, ...more: string[]): Promise<{ code: ExitCode; stdout: string; stderr: string }> {
  let [stdout, stderr] = ["", ""];
  const code = await main(["model", "pull", repo, "--out", out, "--endpoint", endpoint, ...more], {
    stdout: (text) => (stdout += text), stderr: (text) => (stderr += text), env: { HF_TOKEN: "hf_of_another_hub", MY_TOKEN: TOKEN }, isTTY: false, now: () => 0, onStop: () => () => undefined,
  });
  return { code, stdout, stderr };
}

describe("model pull", () => {
  it("shows what it will fetch, fetches it, and leaves a complete folder alone", async () => {
    const { code, stdout, stderr } = await pull("studio/base", "--json");
    expect([code, stderr]).toEqual([0, expect.stringMatching(/studio\/base at 0123456789ab: 3 files, 1\.9 MB; 1\.9 MB to fetch into .* free\n/u) as string]);
    expect(JSON.parse(stdout)).toMatchObject({ repo: "studio/base", commit: COMMIT, folder: out });
    expect((await readdir(out)).sort()).toEqual([...NAMES, "pulled.json"].sort());
    expect((await pull("studio/base")).stderr).toContain("is complete, nothing was fetched");
  });

  it("verifies a complete folder when asked to, and mends it", async () => {
    await pull("studio/base");
    expect((await pull("studio/base", "--verify")).stderr).toContain("is complete, every hash is right, nothing was fetched");
    const path = join(out, "tokenizer.json");
    const [{ atime, mtime }, bytes] = [await stat(path), await readFile(path)];
    await writeFile(path, bytes.with(0, 0x20));
    await utimes(path, atime, mtime);
    expect((await pull("studio/base")).stderr).toContain("nothing was fetched");
    expect((await pull("studio/base", "--verify")).stderr).toContain("were fetched");
    expect((await readFile(path)).equals(bytes)).toBe(true);
  });

  it("only plans when asked to", async () => {
    const { code, stdout } = await pull("studio/base", "--plan");
    expect([code, stdout]).toEqual([0, expect.stringContaining("3 files") as string]);
    await expect(readdir(out)).rejects.toThrow("ENOENT");
  });

  it("sends a token only where it is meant to go", async () => {
    await pull("studio/base", "--plan");
    expect(new Set(tokens)).toEqual(new Set([undefined]));
    tokens = [];
    const { stdout, stderr } = await pull("studio/base", "--token-env", "MY_TOKEN", "--json");
    expect(new Set(tokens)).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(stdout + stderr).not.toContain(TOKEN);
  });

  it.each([
    [["studio/other"], 3, "PULL_NOT_FOUND"],
    [["../../etc"], 3, "PULL_OPTIONS"],
    [["studio/base", "--endpoint", "http://example.com"], 3, "PULL_OPTIONS"],
    [["studio/base", "--endpoint", "http://127.0.0.1:9"], 4, "HUB_UNAVAILABLE"],
    [["studio/base", "--token-env", "NOT_SET"], 2, "USAGE"],
  ] as [[string, ...string[]], number, string][])("%j ends with %i and says %s", async (args, code, name) => {
    const result = await pull(...args);
    expect([result.code, result.stderr]).toEqual([code, expect.stringMatching(new RegExp(`^${name}: .*\\n {2}→ `, "mu")) as string]);
  });

  it("gives up on a server in trouble", async () => {
    isDown = true;
    const { code, stderr } = await pull("studio/base");
    expect([code, stderr]).toEqual([4, expect.stringContaining("HUB_UNAVAILABLE") as string]);
  });
});
