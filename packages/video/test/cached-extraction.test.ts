import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { decodeDrama, extractFrames, FrameCache, readFrames, type DramaOptions, type FrameProgress } from "@dramascope/video";
import { beforeAll, expect, it } from "vitest";
import { decodesIn, makeFilm, processesNaming, SMALL, temporaryFolder, wrapFfmpeg } from "./real-ffmpeg.ts";

const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;
const PLAN = { ...SMALL, maxPairTokens: 64 };

let folder: string;
let film: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  film = await makeFilm(join(folder, "film.mp4"), 12);
});

/** Contents of a folder by name. */
async function contents(path: string): Promise<Record<string, string>> {
  const names = (await readdir(path)).sort();
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, createHash("sha256").update(await readFile(join(path, name))).digest("hex")] as const)));
}

it("decodes nothing the second time, wherever the file lies by then", async () => {
  const { path: ffmpegPath, log } = await wrapFfmpeg(folder);
  const cache = new FrameCache(join(folder, "cache"));
  const types: string[] = [];
  const options: DramaOptions = { plan: PLAN, cache, ffmpegPath, onProgress: ({ type }: FrameProgress) => void types.push(type) };
  const first = await extractFrames([{ path: film }], { ...options, out: join(folder, "first") });
  expect(await decodesIn(log)).toHaveLength(1);
  expect(types).not.toContain("cached");
  await mkdir(join(folder, "moved"));
  const moved = join(folder, "moved", "other name.mp4");
  await copyFile(film, moved);
  const second = await extractFrames([{ path: moved }], { ...options, out: join(folder, "second") });
  expect(await decodesIn(log)).toHaveLength(1);
  expect(types).toContain("cached");
  expect(second.episodes[0]!.manifest).toEqual(first.episodes[0]!.manifest);
  expect(await contents(join(folder, "second", "1"))).toEqual(await contents(join(folder, "first", "1")));
  const plain = await extractFrames([{ path: film }], { plan: PLAN, out: join(folder, "plain") });
  expect(await contents(join(folder, "plain", "1"))).toEqual(await contents(join(folder, "first", "1")));
  expect(plain.episodes[0]!.warnings).toEqual([]);

  const held = await decodeDrama([{ path: film }], options);
  const again = await decodeDrama([{ path: film }], options);
  expect(await decodesIn(log)).toHaveLength(2);
  expect(again).toEqual(held);
  await decodeDrama([{ path: film }], { ...options, overlay: { colour: [0, 255, 0] } });
  expect(await decodesIn(log)).toHaveLength(3);
});

it("tells of today's plan, not of the one that filled the cache", async () => {
  const options = { cache: new FrameCache(join(folder, "plans")), out: join(folder, "planned") };
  const plain = { out: join(folder, "unplanned") };
  for (const one of [{ clock: "continuous", plan: PLAN }, { clock: "episode", plan: { ...PLAN, tokenBudget: 2000 } }] as const) {
    const [cached, fresh] = [await extractFrames([{ path: film }], { ...options, ...one }), await extractFrames([{ path: film }], { ...plain, ...one })];
    expect(cached.episodes[0]!.manifest).toEqual(fresh.episodes[0]!.manifest);
    expect(await contents(join(options.out, "1"))).toEqual(await contents(join(plain.out, "1")));
  }
});

it("stops waiting for another's entry when it is cancelled", async () => {
  const slow = await wrapFfmpeg(folder, "sleep 3");
  const options: DramaOptions = { plan: PLAN, cache: new FrameCache(join(folder, "waiting")), ffmpegPath: slow.path };
  const first = decodeDrama([{ path: film }], options);
  const start = performance.now();
  await expect(decodeDrama([{ path: film }], { ...options, signal: AbortSignal.timeout(300) })).rejects.toThrow(code("VIDEO_CANCELLED"));
  expect(performance.now() - start).toBeLessThan(2500);
  expect((await first).episodes[0]!.frameCount).toBe(12);
});

it("repairs an entry with a changed byte, and says so", async () => {
  const dir = join(folder, "repair");
  const out = join(folder, "repaired");
  const options = { plan: PLAN, cache: new FrameCache(dir, { verify: "sha256" }), out };
  await extractFrames([{ path: film }], options);
  const right = await contents(join(out, "1"));
  const [entry] = (await readdir(join(dir, "objects"), { recursive: true })).filter((name) => name.endsWith("000004.jpg"));
  const file = join(dir, "objects", entry!);
  const bytes = await readFile(file);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(file, bytes);
  const { episodes } = await extractFrames([{ path: film }], options);
  expect(episodes[0]!.warnings).toContain("CACHE_REPAIRED");
  expect(await contents(join(out, "1"))).toEqual(right);
});

it("does not give frames of a cut file to those who did not allow it", async () => {
  const cut = join(folder, "cut.mp4");
  const whole = await readFile(film);
  // The index lies at the end; a file that is cut in its pictures keeps it.
  const moov = whole.lastIndexOf("moov") - 4;
  whole.fill(0, Math.floor(moov / 2), moov);
  await writeFile(cut, whole);
  const options = { plan: PLAN, cache: new FrameCache(join(folder, "cut-cache")) };
  const allowed = await decodeDrama([{ path: cut }], { ...options, allowTruncated: true, allowDamaged: true });
  expect(allowed.episodes[0]!.manifest.warnings.filter((one) => one === "TRUNCATED" || one === "DAMAGED").length).toBeGreaterThan(0);
  await expect(decodeDrama([{ path: cut }], options)).rejects.toThrow(/pictures are there|errors/u);
});

it("does without a cache that cannot be used only where that is allowed", async () => {
  const place = join(folder, "no-folder");
  await writeFile(place, "a file");
  const options = { plan: PLAN, cache: new FrameCache(place), out: join(folder, "uncached") };
  await expect(extractFrames([{ path: film }], options)).rejects.toThrow(code("CACHE_IO"));
  const { episodes } = await extractFrames([{ path: film }], { ...options, cacheOptional: true });
  expect((await readFrames(episodes[0]!.manifestPath)).frameCount).toBe(12);
});

it("serves no wrong or partial frame after kill -9 in a loop, and leaves no process", async () => {
  const dir = join(folder, "shared");
  const out = join(folder, "killed");
  const reference = await extractFrames([{ path: film }], { plan: PLAN, out: join(folder, "reference") });
  const right = await contents(join(folder, "reference", "1"));
  const script = join(folder, "worker.ts");
  // Two callers at once, with entries that come and go, so that a kill meets every part of the work.
  await writeFile(
    script,
    `import { extractFrames, FrameCache } from ${JSON.stringify(new URL("../src/index.ts", import.meta.url).href)};
const [film, dir, out] = process.argv.slice(2);
for (let n = 0; ; n++) {
  const cache = new FrameCache(dir);
  await Promise.all([1, 2].map((side) => extractFrames([{ path: film }], { plan: ${JSON.stringify(PLAN)}, cache, out: out + side, ...(side === 2 ? { overlay: { colour: [n % 200, 255, 0] } } : {}) })));
  console.log("round");
}
`,
  );
  let served = 0;
  let roundMs = 0;
  for (let n = 0; n < 20; n++) {
    const child = spawn(process.execPath, ["--conditions=@dramascope/source", script, film, dir, out], { stdio: ["ignore", "pipe", "inherit"] });
    const start = performance.now();
    // The first one tells how long a round takes here; the others are killed at moments spread over one and a half.
    if (n === 0) await new Promise((resolve) => child.stdout.once("data", resolve));
    else await pause(((n * 7) % 20) * 0.075 * roundMs);
    roundMs ||= performance.now() - start;
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
    if (n % 4 === 0) await rm(join(dir, "objects"), { recursive: true, force: true });
    for (const side of [1, 2]) {
      const names: string[] = await readdir(`${out}${side}`).catch(() => []);
      if (!names.includes("1")) continue;
      served++;
      if (side === 1) expect(await contents(join(`${out}${side}`, "1"))).toEqual(right);
      else await readFrames(join(`${out}${side}`, "1", "manifest.json"));
    }
    const entries = (await readdir(join(dir, "objects"), { recursive: true }).catch(() => [])).filter((name) => name.endsWith("manifest.json"));
    for (const entry of entries) await readFrames(join(dir, "objects", entry));
  }
  expect(served).toBeGreaterThan(10);
  const after = await extractFrames([{ path: film }], { plan: PLAN, out: join(folder, "after"), cache: new FrameCache(dir, { verify: "sha256" }) });
  expect(after.episodes[0]!.warnings).toEqual([]);
  expect(after.episodes[0]!.manifest).toEqual(reference.episodes[0]!.manifest);
  expect(await contents(join(folder, "after", "1"))).toEqual(right);
  for (let n = 0; n < 100 && (await processesNaming(film)).length > 0; n++) await pause(50);
  expect(await processesNaming(film)).toEqual([]);
});
