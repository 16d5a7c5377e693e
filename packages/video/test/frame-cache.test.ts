import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { canonicalJson, createRandom, sha256, type FrameManifest } from "@dramascope/schema";
import { beforeEach, describe, expect, it } from "vitest";
import { leaveMark, ownIdentity } from "../src/cache/marks.ts";
import { frameCacheKey, type FrameCacheKeyParts } from "../src/cache/frame-cache-key.ts";
import { FrameCache, type CachedFrames, type FrameCacheOptions } from "../src/cache/frame-cache.ts";
import { framesOf, writeFrames } from "./frame-writer.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const WRITER = fileURLToPath(new URL("frame-writer.ts", import.meta.url));
const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;
const keyOf = (name: string): string => sha256(name);

let root: string;
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), "frame-cache-")), "cache");
});

const writer = (name: string, options?: Parameters<typeof writeFrames>[2]) => (folder: string): Promise<FrameManifest> => writeFrames(folder, name, options);
async function store(cache: FrameCache, name: string, options?: Parameters<typeof writeFrames>[2]): Promise<CachedFrames> {
  const frames = await cache.put(keyOf(name), writer(name, options));
  await frames.release();
  return frames;
}
const never = (): Promise<FrameManifest> => Promise.reject(new Error("written although it is there"));
const listed = (...path: string[]): Promise<string[]> => readdir(join(root, ...path)).catch(() => []);
async function entries(): Promise<string[]> {
  return (await Promise.all((await listed("objects")).map((prefix) => listed("objects", prefix)))).flat();
}
async function contents(folder: string): Promise<Map<string, string>> {
  return new Map(await Promise.all((await readdir(folder)).sort().map(async (name) => [name, sha256(await readFile(join(folder, name)))] as const)));
}
async function flipByte(path: string, at: number): Promise<void> {
  const data = await readFile(path);
  data[at]! ^= 1;
  await writeFile(path, data);
}
/** Starts another process that puts frames; it says `writing` before its first frame, `frame N` after each, and `put FOLDER` at the end. */
function startWriter(...args: string[]): { child: ChildProcess; lines: AsyncIterableIterator<string>; ended: Promise<unknown> } {
  const child = spawn(process.execPath, ["--conditions=@dramascope/source", WRITER, root, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](), ended: once(child, "close") };
}

describe("frameCacheKey", () => {
  const parts: FrameCacheKeyParts = { sourceSha256: keyOf("source"), filter: "fps=1/1", frames: 2, width: 28, height: 56, labels: [0, 1], overlay: { enabled: true, dot: 2 }, format: "jpeg", quality: 90 };

  it("is the hash of the parts in any order, with the version", () => {
    const text = canonicalJson({ v: 1, ...parts });
    expect(frameCacheKey(parts)).toBe(sha256(text));
    expect(frameCacheKey(Object.fromEntries(Object.entries(parts).reverse()) as unknown as FrameCacheKeyParts)).toBe(sha256(text));
  });

  it.each<Partial<FrameCacheKeyParts>>([
    { sourceSha256: keyOf("other") }, { filter: "fps=1/2" }, { frames: 4 }, { width: 56 }, { height: 28 }, { labels: [1, 2] }, { overlay: { enabled: true, dot: 3 } }, { format: "png" }, { quality: 80 },
  ])("changes with %j", (change) => {
    expect(frameCacheKey({ ...parts, ...change })).not.toBe(frameCacheKey(parts));
  });
});

describe("an entry", () => {
  it.each(["jpg", "png", "rgb"] as const)("of %s files is written once and found again, also by another object", async (ending) => {
    const cache = new FrameCache(root, { verify: "sha256" });
    expect(await cache.get(keyOf("a"))).toBeNull();
    const put = await store(cache, "a", { ending });
    expect(put.warnings).toEqual([]);
    for (const reader of [cache, new FrameCache(root, { verify: "sha256" })]) {
      const hit = (await reader.get(keyOf("a")))!;
      expect(hit).toMatchObject({ key: keyOf("a"), folder: put.folder, manifest: put.manifest, warnings: [] });
      expect(await readFile(hit.manifestPath, "utf8")).toBe(`${canonicalJson(hit.manifest)}\n`);
      await hit.release();
      await hit.release();
      const again = await reader.put(keyOf("a"), never);
      await again[Symbol.asyncDispose]();
    }
    expect(put.folder).toBe(join(root, "objects", keyOf("a").slice(0, 2), keyOf("a")));
    expect([await listed("tmp"), await listed("leases"), await listed("evicting"), await listed("bad")]).toEqual([[], [], [], []]);
  });

  it("is written by one of several calls at once in a process", async () => {
    const cache = new FrameCache(root);
    let writes = 0;
    const put = (): Promise<CachedFrames> => cache.put(keyOf("a"), (folder) => {
      writes++;
      return writeFrames(folder, "a");
    });
    const all = await Promise.all(Array.from({ length: 5 }, put));
    expect([writes, new Set(all.map(({ folder }) => folder)).size, (await listed("leases")).length]).toEqual([1, 1, 5]);
  });

  it("is written by the next call when the first one fails", async () => {
    const cache = new FrameCache(root);
    const [first, second] = await Promise.allSettled([cache.put(keyOf("a"), never), cache.put(keyOf("a"), writer("a"))]);
    expect(first).toMatchObject({ status: "rejected", reason: { message: "written although it is there" } });
    expect(second.status).toBe("fulfilled");
    expect(await listed("tmp")).toEqual([]);
  });

  it.each<[string, (manifest: FrameManifest, folder: string) => unknown, string]>([
    ["a file shorter than listed", (_, folder) => truncate(join(folder, "000001.jpg"), 5), "VIDEO_FRAMES_INVALID"],
    ["a file that was not written", (_, folder) => rm(join(folder, "000001.jpg")), "VIDEO_FRAMES_INVALID"],
    ["a file that is not listed", (_, folder) => writeFile(join(folder, "000099.jpg"), "x"), "VIDEO_FRAMES_INVALID"],
    ["a manifest of its own", (_, folder) => writeFile(join(folder, "manifest.json"), "{}"), "VIDEO_FRAMES_INVALID"],
    ["a frame without a file", (manifest) => delete manifest.frames[0]!.file, "VIDEO_FRAMES_INVALID"],
    ["a frame without bytes", (manifest) => delete manifest.frames[0]!.bytes, "VIDEO_FRAMES_INVALID"],
    ["a frame without a hash", (manifest) => delete manifest.frames[0]!.sha256, "VIDEO_FRAMES_INVALID"],
    ["a path for a name", (manifest) => Object.assign(manifest.frames[0]!, { file: "../000000.jpg" }), "VIDEO_FRAMES_INVALID"],
    ["a wrong hash", (manifest) => Object.assign(manifest.frames[0]!, { sha256: keyOf("wrong") }), "VIDEO_FRAMES_INVALID"],
    ["no manifest", (manifest) => Object.assign(manifest, { kind: "other" }), "INVALID_RECORD"],
  ])("never gets its name with %s", async (_, spoil, expected) => {
    const cache = new FrameCache(root, { verify: "sha256" });
    const put = cache.put(keyOf("a"), async (folder) => {
      const manifest = await writeFrames(folder, "a");
      await spoil(manifest, folder);
      return manifest;
    });
    await expect(put).rejects.toThrow(code(expected));
    expect([await entries(), await listed("tmp"), await listed("leases"), await cache.get(keyOf("a"))]).toEqual([[], [], [], null]);
  });

  it.each(["", "a", "../".repeat(21) + "x", keyOf("a").toUpperCase(), `${keyOf("a")}\n`, `${keyOf("a")}/`, "__proto__", "\0".repeat(64), "０".repeat(64)])("has no key %j", async (key) => {
    const cache = new FrameCache(root);
    await expect(cache.get(key)).rejects.toThrow(code("VIDEO_PATH_REFUSED"));
    await expect(cache.put(key, never)).rejects.toThrow(code("VIDEO_PATH_REFUSED"));
    expect(await listed()).toEqual([]);
  });
});

describe("a damaged entry", () => {
  const manifestWith = (change: (manifest: FrameManifest) => unknown) => async (folder: string): Promise<void> => {
    const path = join(folder, "manifest.json");
    const manifest = JSON.parse(await readFile(path, "utf8")) as FrameManifest;
    change(manifest);
    await writeFile(path, canonicalJson(manifest));
  };
  const damages: [string, FrameCacheOptions["verify"], (folder: string) => Promise<unknown>][] = [
    ["a flipped byte in a frame", "sha256", (folder) => flipByte(join(folder, "000002.jpg"), 40)],
    ["a flipped byte in the manifest", "size", async (folder) => flipByte(join(folder, "manifest.json"), (await readFile(join(folder, "manifest.json"), "utf8")).indexOf('"label":1') + 8)],
    ["a truncated file", "size", (folder) => truncate(join(folder, "000000.jpg"), 10)],
    ["a longer file", "size", (folder) => appendFile(join(folder, "000000.jpg"), "x")],
    ["a missing file", "size", (folder) => rm(join(folder, "000001.jpg"))],
    ["a folder for a file", "size", async (folder) => (await rm(join(folder, "000001.jpg")), mkdir(join(folder, "000001.jpg")))],
    ["no manifest", "size", (folder) => rm(join(folder, "manifest.json"))],
    ["a folder for the manifest", "size", async (folder) => (await rm(join(folder, "manifest.json")), mkdir(join(folder, "manifest.json")))],
    ["a garbage manifest", "size", (folder) => writeFile(join(folder, "manifest.json"), "\0garbage")],
    ["a half manifest", "size", (folder) => truncate(join(folder, "manifest.json"), 100)],
    ["a manifest that names another folder's file", "size", manifestWith((manifest) => Object.assign(manifest.frames[0]!, { file: "../../../secret.jpg" }))],
    ["a manifest of another kind", "size", manifestWith((manifest) => Object.assign(manifest, { kind: "other" }))],
    ["nothing in it", "size", async (folder) => (await rm(folder, { recursive: true }), mkdir(folder))],
    ["a file in its place", "size", async (folder) => (await rm(folder, { recursive: true }), writeFile(folder, "x"))],
  ];

  it.each(damages)("with %s is set aside and made again", async (_, verify, damage) => {
    const cache = new FrameCache(root, { verify: verify! });
    const { folder } = await store(cache, "a");
    const before = await contents(folder);
    await damage(folder);
    expect(await cache.get(keyOf("a"))).toBeNull();
    expect([(await listed("bad")).length, await entries(), await listed("leases")]).toEqual([1, [], []]);
    const again = await store(cache, "a");
    expect([again.warnings, await contents(folder)]).toEqual([["CACHE_REPAIRED"], before]);
    const hit = await cache.get(keyOf("a"));
    expect(hit!.warnings).toEqual([]);
  });

  it("in raw form is told by the piece of the file that changed", async () => {
    const cache = new FrameCache(root, { verify: "sha256" });
    const { folder } = await store(cache, "a", { ending: "rgb" });
    await flipByte(join(folder, "frames.rgb"), (await stat(join(folder, "frames.rgb"))).size - 1);
    const again = await store(cache, "a", { ending: "rgb" });
    expect(again.warnings).toEqual(["CACHE_REPAIRED"]);
  });

  it("is kept for a day", async () => {
    let now = Date.now();
    const cache = new FrameCache(root, { now: () => now });
    const { folder } = await store(cache, "a");
    await truncate(join(folder, "000000.jpg"), 10);
    await cache.get(keyOf("a"));
    now += DAY - HOUR;
    await cache.prune();
    expect(await listed("bad")).toHaveLength(1);
    now += 2 * HOUR;
    expect((await cache.prune()).rubbish).toBe(1);
    expect(await listed("bad")).toEqual([]);
  });
});

describe("several processes", () => {
  it("leave one entry when the other one wins, and both use it", async () => {
    const cache = new FrameCache(root, { verify: "sha256" });
    const { lines, ended } = startWriter("a");
    const frames = await cache.put(keyOf("a"), async (folder) => {
      for await (const line of lines) if (line.startsWith("put")) expect(line).toBe(`put ${join(root, "objects", keyOf("a").slice(0, 2), keyOf("a"))}`);
      await ended;
      return writeFrames(folder, "a");
    });
    expect([await entries(), await listed("tmp"), frames.warnings]).toEqual([[keyOf("a")], [], []]);
    expect((await contents(frames.folder)).size).toBe(framesOf("a").length + 1);
  });

  it("leave one entry when both write at once", async () => {
    const writers = [startWriter("a", "5"), startWriter("a", "5")];
    const put = await Promise.all(
      writers.map(async ({ lines }) => {
        const said: string[] = [];
        for await (const line of lines) said.push(line);
        return said.at(-1);
      }),
    );
    expect(new Set(put)).toEqual(new Set([`put ${join(root, "objects", keyOf("a").slice(0, 2), keyOf("a"))}`]));
    expect([await entries(), await listed("tmp"), await listed("bad")]).toEqual([[keyOf("a")], [], []]);
    expect(await new FrameCache(root, { verify: "sha256" }).get(keyOf("a"))).not.toBeNull();
  });

  it("may be killed in the middle of a put, 20 times, without a partial entry to be seen", async () => {
    const random = createRandom(7);
    const whole = await store(new FrameCache(join(root, "..", "reference")), "a");
    const expected = await contents(whole.folder);
    const reader = new FrameCache(root, { verify: "sha256" });
    const names = Array.from({ length: 20 }, (_, i) => `kill ${i}`);
    let partial = 0;
    for (const [i, name] of names.entries()) {
      const { child, lines, ended } = startWriter("a", "3", keyOf(name), "hold");
      const last = i % 2 === 0 ? `frame ${random.below(6)}` : "written"; // half of them while files are flushed and renamed
      for await (const line of lines) {
        if (line === last) {
          if (last === "written") await pause(random.uniform() * 4);
          child.kill("SIGKILL");
        }
        const hit = await reader.get(keyOf(name));
        if (hit) expect(await contents(hit.folder)).toEqual(expected);
        else if (line === last) partial++;
        await hit?.release();
      }
      await ended;
      expect(child.signalCode).toBe("SIGKILL");
    }
    expect(partial).toBeGreaterThanOrEqual(10);
    expect(await listed("bad")).toEqual([]);
    for (const name of names) {
      const hit = await reader.get(keyOf(name));
      const frames = hit ?? (await reader.put(keyOf(name), writer("a")));
      expect([frames.warnings, await contents(frames.folder)]).toEqual([[], expected]);
      await frames.release();
    }
    await new FrameCache(root, { now: () => Date.now() + 2 * DAY }).prune();
    expect([await listed("tmp"), await listed("leases"), (await entries()).length]).toEqual([[], [], 20]);
  });
});

describe("eviction", () => {
  it("removes the least recently used first, when a put makes the cache too large", async () => {
    let now = Date.now();
    const { manifest } = await store(new FrameCache(join(root, "..", "size")), "a");
    const bytes = manifest.frames.reduce((sum, frame) => sum + (frame.repeat ? 0 : frame.bytes!), 0) + canonicalJson(manifest).length + 1;
    const cache = new FrameCache(root, { maxBytes: bytes * 3.5, now: () => now });
    for (const name of ["a", "b", "c"]) {
      await store(cache, name);
      now += HOUR;
    }
    await (await cache.get(keyOf("a")))!.release();
    now += HOUR;
    await store(cache, "d");
    expect((await entries()).sort()).toEqual(["a", "c", "d"].map(keyOf).sort());
    expect((await listed("used")).sort()).toEqual(["a", "c", "d"].map(keyOf).sort());
    const report = await new FrameCache(root, { maxBytes: 0, now: () => now }).prune();
    expect(report).toEqual({ entries: 0, bytes: 0, evicted: ["c", "a", "d"].map(keyOf), evictedBytes: bytes * 3, rubbish: 0 });
    expect([await entries(), await listed("used"), await listed("tmp"), await listed("evicting")]).toEqual([[], [], [], []]);
  });

  it("keeps entries younger than ten minutes", async () => {
    let now = Date.now();
    const cache = new FrameCache(root, { maxBytes: 0, now: () => now });
    await store(cache, "a");
    now += 599_000;
    expect((await cache.prune()).entries).toBe(1);
    now += 2000;
    expect((await cache.prune()).evicted).toEqual([keyOf("a")]);
  });

  it("keeps an entry in use here or in another process, until it is released", async () => {
    const later = new FrameCache(root, { maxBytes: 0, now: () => Date.now() + HOUR });
    const held = await new FrameCache(root).put(keyOf("a"), writer("a"));
    const { child, lines, ended } = startWriter("b", "0", keyOf("b"), "hold");
    for await (const line of lines) {
      if (!line.startsWith("put")) continue;
      expect((await later.prune()).entries).toBe(2);
      child.kill("SIGKILL");
    }
    await ended;
    expect(await listed("leases")).toHaveLength(2);
    expect(await later.prune()).toMatchObject({ evicted: [keyOf("b")], entries: 1, rubbish: 1 });
    await held.release();
    expect((await later.prune()).evicted).toEqual([keyOf("a")]);
  });

  it("trusts a lease only of the process that took it", async () => {
    const now = (): number => Date.now() + HOUR;
    const held = await new FrameCache(root).put(keyOf("a"), writer("a"));
    const [lease] = await listed("leases");
    const [key, machine, pid, start, mark] = lease!.split(".") as [string, string, string, string, string];
    await held.release();
    const prune = (): Promise<unknown> => new FrameCache(root, { maxBytes: 0, now }).prune();
    const leave = (...parts: string[]): Promise<void> => writeFile(join(root, "leases", parts.join(".")), "");
    await leave(key, "0".repeat(16), "1", "1", mark); // of another machine: believed for a day
    expect(await prune()).toMatchObject({ evicted: [], rubbish: 0 });
    await rm(join(root, "leases"), { recursive: true });
    await mkdir(join(root, "leases"));
    await leave(key, machine, pid, `${Number(start) + (process.platform === "linux" ? 1 : 0)}`, mark); // a later process with the same id
    await leave(key, machine, "4194305", "1", mark); // above the largest process id
    await leave("no lease at all");
    expect(await prune()).toMatchObject({ evicted: [key], rubbish: 2 });
  });

  it("is waited for by a reader that comes when it has begun, unless the evicting process is gone", async () => {
    const cache = new FrameCache(root);
    const { folder } = await store(cache, "a");
    const own = await ownIdentity();
    await leaveMark(join(root, "evicting"), keyOf("a"), { ...own, pid: 4_194_305 }); // above the largest process id
    await (await cache.get(keyOf("a")))!.release();
    const intent = await leaveMark(join(root, "evicting"), keyOf("a"), own);
    const hit = cache.get(keyOf("a"));
    await pause(50);
    await rename(folder, join(root, "tmp", "evicted"));
    await rm(intent);
    expect(await hit).toBeNull();
    expect([await listed("leases"), await listed("bad")]).toEqual([[], []]);
  });

  it("never takes the files of a hit away", async () => {
    const reader = new FrameCache(root);
    const evictor = new FrameCache(root, { maxBytes: 0, now: () => Date.now() + HOUR });
    let hits = 0;
    for (let round = 0; round < 40; round++) {
      await store(reader, "a");
      const pruning = evictor.prune();
      for (let hit = await reader.get(keyOf("a")); hit; hit = hits % 3 === 0 ? null : await reader.get(keyOf("a"))) {
        hits++;
        const { size } = await contents(hit.folder);
        expect(size).toBe(framesOf("a").length + 1);
        await hit.release();
      }
      await pruning;
    }
    expect(hits).toBeGreaterThan(0);
    expect(await listed("bad")).toEqual([]);
  });

  it("measures entries without a stamp, and removes what a crashed writer left a day ago", async () => {
    const cache = new FrameCache(root);
    const { bytes } = await store(cache, "a").then(() => cache.prune());
    await rm(join(root, "used"), { recursive: true });
    await mkdir(join(root, "tmp", "crashed"));
    await mkdir(join(root, "tmp", "running"));
    await utimes(join(root, "tmp", "crashed"), (Date.now() - 2 * DAY) / 1000, (Date.now() - 2 * DAY) / 1000);
    expect(await cache.prune()).toEqual({ entries: 1, bytes, evicted: [], evictedBytes: 0, rubbish: 1 });
    expect(await listed("tmp")).toEqual(["running"]);
    expect(await cache.get(keyOf("a"))).not.toBeNull();
    expect(await listed("used")).toEqual([keyOf("a")]);
  });
});

describe("a cache that cannot be written", () => {
  it.each(["", "objects", "tmp", "leases", "used"])("says so, naming the path (a file for %j)", async (name) => {
    await mkdir(join(root, name, ".."), { recursive: true });
    await writeFile(join(root, name), "a file");
    const cache = new FrameCache(root);
    const put = cache.put(keyOf("a"), writer("a"));
    await expect(put).rejects.toThrow(code("CACHE_IO"));
    await expect(put).rejects.toMatchObject({ path: expect.stringContaining(join(root, name)) as string, hint: expect.stringContaining("writable") as string });
    if (name !== "tmp") expect(await listed("tmp")).toEqual([]);
  });

  it("reports a full disk, and takes the half entry away", async () => {
    const cache = new FrameCache(root);
    const put = cache.put(keyOf("a"), async (folder) => {
      await writeFile(join(folder, "000000.jpg"), "half");
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write", errno: -28 });
    });
    await expect(put).rejects.toMatchObject({ code: "CACHE_IO", path: root, hint: expect.stringContaining("space") as string });
    expect([await listed("tmp"), await listed("leases"), await entries()]).toEqual([[], [], []]);
  });
});

describe("sourceSha256", () => {
  it("reads a settled file once, and again when it changed", async () => {
    const source = join(root, "..", "episode.mp4");
    await writeFile(source, "episode");
    const cache = new FrameCache(root, { now: () => Date.now() + HOUR });
    expect(await cache.sourceSha256(source)).toBe(sha256("episode"));
    const [record] = await listed("sources");
    await writeFile(join(root, "sources", record!), `${keyOf("remembered")}\n`);
    expect(await cache.sourceSha256(source)).toBe(sha256("episode"));
    expect(await new FrameCache(root).sourceSha256(source)).toBe(keyOf("remembered"));
    await writeFile(join(root, "sources", record!), "garbage");
    expect(await new FrameCache(root).sourceSha256(source)).toBe(sha256("episode"));
    await writeFile(source, "EPISODE");
    expect(await cache.sourceSha256(source)).toBe(sha256("EPISODE"));
    await cp(source, `${source}.copy`);
    expect(await cache.sourceSha256(`${source}.copy`)).toBe(sha256("EPISODE"));
  });

  it("does not remember a file that may still change within one tick of the clock", async () => {
    const source = join(root, "..", "episode.mp4");
    await writeFile(source, "episode");
    await new FrameCache(root).sourceSha256(source);
    expect(await listed("sources")).toEqual([]);
  });

  it("refuses a file that changes while it is read", async () => {
    const source = join(root, "..", "growing.mp4");
    await writeFile(source, Buffer.alloc(4 * 2 ** 20));
    let reading = true;
    const hash = new FrameCache(root, { now: () => Date.now() + HOUR }).sourceSha256(source).finally(() => (reading = false));
    const refused = expect(hash).rejects.toThrow(code("VIDEO_CHANGED"));
    do await appendFile(source, "more");
    while (reading as boolean);
    await refused;
    expect(await listed("sources")).toEqual([]);
  });

  it.each([["missing", "VIDEO_NOT_FOUND"], [".", "VIDEO_NOT_A_FILE"]])("refuses %j", async (name, expected) => {
    await expect(new FrameCache(root).sourceSha256(join(root, "..", name))).rejects.toThrow(code(expected));
  });
});
