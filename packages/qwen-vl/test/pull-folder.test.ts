import { execFileSync } from "node:child_process";
import { lstat, mkdir, readdir, readFile, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { planPull } from "@dramascope/qwen-vl";
import { describe, expect, it } from "vitest";
import { expectWhole, hub, hubForEach, out, pull, read, SECOND, withCode } from "./pull-hub.ts";

hubForEach();

/** Flips a byte and leaves length and, if asked to, the date. */
async function damage(name: string, options: { keepDate: boolean }): Promise<void> {
  const path = join(out, name);
  const { atime, mtime } = await lstat(path);
  const bytes = await readFile(path);
  bytes[bytes.length - 100]! ^= 0xff;
  await writeFile(path, bytes);
  await utimes(path, atime, options.keepDate ? mtime : new Date(Date.now() + 60_000));
}

describe("a complete folder", () => {
  it("with a file that was written to since is mended", async () => {
    await pull();
    await damage(SECOND, { keepDate: false });
    expect((await planPull(hub.repo, { endpoint: hub.endpoint, out })).presentBytes).toBeLessThan((await pull()).bytes);
    await expectWhole();
    expect(hub.sent.get(SECOND)).toHaveLength(2);
    expect(hub.sent.get("model-00001-of-00004.safetensors")).toHaveLength(1);
  });

  it("with damage that shows in no date is mended when it is verified", async () => {
    await pull();
    await damage(SECOND, { keepDate: true });
    expect((await pull()).fetchedBytes).toBe(0);
    const read: (number | null)[] = [];
    const { fetchedBytes, bytes } = await pull({ verify: true, onProgress: ({ phase, done, total }) => phase === "verify" && read.push(done, total ?? null) });
    expect(fetchedBytes).toBe(hub.files.get(SECOND)!.length);
    expect(read.slice(-2)).toEqual([bytes, bytes]);
    await expectWhole();
    expect((await pull({ verify: true })).fetchedBytes).toBe(0);
  });

  it("stops being verified with the signal", async () => {
    await pull();
    const abort = new AbortController();
    const verifying = pull({ verify: true, signal: abort.signal, onProgress: () => abort.abort() });
    await expect(verifying).rejects.toThrow(expect.objectContaining({ name: "AbortError" }) as Error);
    await expectWhole();
  });

  it.each([
    ["no files", (state: object) => JSON.stringify({ ...state, files: [] })],
    ["a digest that is none", (state: { files?: object[] }) => JSON.stringify({ ...state, files: [{ ...state.files![0], digest: "0" }] })],
    ["half a byte", (state: { files?: object[] }) => JSON.stringify({ ...state, files: [{ ...state.files![0], bytes: 0.5 }] })],
    ["a torn end", (state: object) => JSON.stringify(state).slice(0, 40)],
  ])("whose list has %s is no pull's", async (_, write) => {
    await pull();
    await writeFile(join(out, "pulled.json"), write(JSON.parse((await read("pulled.json")).toString()) as { files?: object[] }));
    await expect(pull()).rejects.toThrow(expect.objectContaining({ code: "PULL_FOLDER", hint: "Remove the folder, or give another one." }) as Error);
  });
});

describe("a folder in which others have laid something", () => {
  const under = { repo: "studio/tiny-vl", revision: "main", commit: "b".repeat(40), files: [{ name: "merges.txt", bytes: 1, algorithm: "git-sha1", digest: "0".repeat(40) }] };

  it.each(["config.json", "config.json.part", `${SECOND}.part`])("is refused when %s is a link; what it leads to stays", async (name) => {
    await mkdir(out);
    const victim = join(out, "..", "victim");
    await writeFile(victim, "precious");
    await writeFile(join(out, "pulling.json"), JSON.stringify({ ...under, commit: hub.commit }));
    await symlink(victim, join(out, name));
    await expect(pull()).rejects.toThrow(withCode("PULL_FOLDER"));
    expect(await readFile(victim, "utf8")).toBe("precious");
    expect(await readdir(out)).not.toContain("pulled.json");
  });

  it.each(["config.json", "config.json.part"])("does not wait for ever when %s is a pipe", async (name) => {
    await mkdir(out);
    await writeFile(join(out, "pulling.json"), JSON.stringify({ ...under, commit: hub.commit }));
    execFileSync("mkfifo", [join(out, name)]);
    await expect(pull()).rejects.toThrow(withCode("PULL_FOLDER"));
  });
});
