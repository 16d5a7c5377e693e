import { execFileSync } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { contactSheet, decodeDrama, eachFrame, extractFrames, probeEpisode, readFrames, readJpegs, type FrameProgress } from "@dramascope/video";
import { beforeAll, describe, expect, it } from "vitest";
import { makeFilm, SMALL, temporaryFolder, VERTICAL, WIDE } from "./real-ffmpeg.ts";

const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;

let folder: string;
beforeAll(async () => {
  folder = await temporaryFolder();
});

describe("real clips", () => {
  it.each([[VERTICAL, 540, 960, "mp4"], [WIDE, 800, 333, "webm"]])("probes %s", async (path, width, height, container) => {
    const probe = await probeEpisode(path);
    expect(probe).toMatchObject({ displayWidth: width, displayHeight: height, container, videoTracks: 1, hdr: false, interlaced: false });
    expect(Math.ceil(probe.end)).toBe(71);
  });

  it("gives 71 numbered seconds and an even count, on disk as in memory", async () => {
    const out = join(folder, "clip");
    const plan = { tokenBudget: 1200, floorPairTokens: 4, minFrameTokens: 4 };
    const inputs = [{ path: VERTICAL }, { path: WIDE }];
    const drama = await extractFrames(inputs, { out, plan });
    const { episodes } = await decodeDrama(inputs, { plan });
    for (const [i, { manifest, manifestPath }] of drama.episodes.entries()) {
      const held = episodes[i]!;
      expect([held.frameCount, manifest.plan.sampled, held.width % 28, held.height % 28]).toEqual([72, 71, 0, 0]);
      expect(held.labels.slice(-3)).toEqual([69, 70, 70].map((second) => second + 71 * i));
      expect(manifest.frames.at(-1)).toMatchObject({ i: 71, repeat: true, second: 70, file: "000070.jpg", sha256: manifest.frames[70]!.sha256 });
      const back = await readFrames(manifestPath);
      expect(back.labels).toEqual(held.labels);
      const difference = back.frames.reduce((sum, value, k) => sum + Math.abs(value - held.frames[k]!), 0) / back.frames.length;
      expect(difference).toBeLessThan(3);
      expect((await readdir(dirname(manifestPath))).length).toBe(72);
    }
    const red = episodes[0]!;
    const first = red.frames.subarray(0, red.width * red.height * 3);
    const ink = Array.from({ length: first.length / 3 }, (_, p) => p).filter((p) => first[p * 3] === 255 && first[p * 3 + 1] === 0 && first[p * 3 + 2] === 0);
    expect(ink.length).toBeGreaterThan(20);
    const manifest = await readFile(drama.episodes[0]!.manifestPath, "utf8");
    expect(manifest).not.toContain(folder);
    const again = await extractFrames(inputs, { out: join(folder, "again"), plan });
    expect(await readFile(again.episodes[0]!.manifestPath, "utf8")).toBe(manifest);
  });

  it.each(["raw", "png"] as const)("writes %s without loss", async (format) => {
    const plan = { ...SMALL, maxSecondsPerEpisode: 5 };
    const { episodes } = await extractFrames([{ path: VERTICAL }], { out: join(folder, format), plan, format });
    const { episodes: held } = await decodeDrama([{ path: VERTICAL }], { plan });
    expect(held[0]!.frameCount).toBe(6);
    expect(held[0]!.manifest.warnings).toContain("DURATION_CAPPED");
    expect(Buffer.from((await readFrames(episodes[0]!.manifestPath)).frames).equals(held[0]!.frames)).toBe(true);
  });

  it("counts each episode from zero when asked", async () => {
    const { episodes } = await decodeDrama([{ path: VERTICAL }, { path: WIDE }], { clock: "episode", plan: { ...SMALL, maxSecondsPerEpisode: 3 } });
    expect(episodes.map(({ labels }) => labels)).toEqual([[0, 1, 2, 2], [0, 1, 2, 2]]);
  });

  it("makes a contact sheet", async () => {
    const { episodes } = await decodeDrama([{ path: VERTICAL }], { plan: { ...SMALL, maxSecondsPerEpisode: 5 } });
    const png = await contactSheet(eachFrame(episodes[0]!));
    expect(Buffer.from(png.subarray(1, 4)).toString()).toBe("PNG");
  });

  it("reports every episode's frames, at most ten times a second", async () => {
    const seen: FrameProgress[] = [];
    const film = await makeFilm(join(folder, "quick.mp4"), 40);
    await decodeDrama([{ path: film }], { plan: SMALL });
    const start = performance.now();
    await decodeDrama([{ path: film }, { path: film }], { plan: SMALL, drama: "d-1", onProgress: (progress: FrameProgress) => void seen.push(progress) });
    const seconds = (performance.now() - start) / 1000;
    expect(seen.filter(({ type }) => type === "probe")).toHaveLength(2);
    expect(seen.filter(({ type, frame, frames }) => type === "done" && frame === frames).map(({ episode }) => episode).sort()).toEqual([0, 1]);
    expect(seen.filter(({ type }) => type === "plan")).toHaveLength(1);
    const frames = seen.filter(({ type }) => type === "frame");
    expect(frames.length).toBeGreaterThan(0);
    expect(frames.length).toBeLessThanOrEqual(2 * (seconds * 10 + 1));
    expect(frames.length < 80 || seconds > 4).toBe(true);
    expect(seen.every(({ drama }) => drama === "d-1")).toBe(true);
    expect(seen.at(-1)).toMatchObject({ phase: "frames", done: 80, total: 80 });
  });
});

it("notices frames that were changed on disk", async () => {
  const { episodes } = await extractFrames([{ path: VERTICAL }], { out: join(folder, "changed"), plan: { ...SMALL, maxSecondsPerEpisode: 5 } });
  await writeFile(join(folder, "changed", "1", "000003.jpg"), "x");
  await expect(readFrames(episodes[0]!.manifestPath)).rejects.toThrow(code("VIDEO_FRAMES_INVALID"));
  await expect(readJpegs(episodes[0]!.manifestPath)).rejects.toThrow(code("VIDEO_FRAMES_INVALID"));
});

it("gives frames as they lie on disk, a repeated one as the file before it", async () => {
  const plan = { ...SMALL, maxSecondsPerEpisode: 3 };
  const { episodes } = await extractFrames([{ path: VERTICAL }], { out: join(folder, "lying"), plan });
  const { manifest, manifestPath } = episodes[0]!;
  expect(await readJpegs(manifestPath)).toEqual(await Promise.all(manifest.frames.map(({ file }) => readFile(join(dirname(manifestPath), file!)))));
  const { episodes: lossless } = await extractFrames([{ path: VERTICAL }], { out: join(folder, "lossless"), plan, format: "png" });
  await expect(readJpegs(lossless[0]!.manifestPath)).rejects.toThrow(code("VIDEO_FRAMES_INVALID"));
});

it("shows code that runs in the README", async () => {
  const readme = /```ts\n([\s\S]*?)```/u.exec(await readFile(new URL("../README.md", import.meta.url), "utf8"))![1]!;
  const cwd = await temporaryFolder();
  await writeFile(join(cwd, "episode-1.mp4"), await readFile(VERTICAL));
  const file = join(cwd, "example.ts");
  await writeFile(file, readme.replace("@dramascope/video", new URL("../src/index.ts", import.meta.url).href));
  const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", file], { cwd, encoding: "utf8" });
  expect(output.trim()).toBe("72 70 [ 420, 784 ]");
});
