import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { contactSheet, decodeDrama, extractFrames, findFfmpeg, probeEpisode, readFrames, VideoError } from "@dramascope/video";
import { beforeAll, describe, expect, it } from "vitest";

const clip = (name: string): string => fileURLToPath(new URL(`../../../test-fixtures/clips/${name}`, import.meta.url));
const VERTICAL = clip("tears-of-steel-vertical-540x960.mp4");
const WIDE = clip("tears-of-steel-battle-clip-medium.webm");
const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-video-"));
});

describe("real clips", () => {
  it.each([[VERTICAL, 540, 960, "mp4"], [WIDE, 800, 333, "matroska"]])("probes %s", async (path, width, height, container) => {
    const probe = await probeEpisode(path);
    expect(probe).toMatchObject({ displayWidth: width, displayHeight: height, container, videoTracks: 1 });
    expect(Math.ceil(probe.end)).toBe(71);
  });

  it("gives 71 numbered seconds and an even count, on disk as in memory", async () => {
    const out = join(folder, "clip");
    const drama = await extractFrames([{ path: VERTICAL }, { path: WIDE }], { out, plan: { tokenBudget: 1200, floorPairTokens: 4, minFrameTokens: 4 } });
    for (const [i, episode] of drama.episodes.entries()) {
      expect([episode.frameCount, episode.manifest.plan.sampled, episode.width % 28, episode.height % 28]).toEqual([72, 71, 0, 0]);
      expect(episode.labels.slice(-3)).toEqual([69, 70, 70].map((second) => second + 71 * i));
      expect(episode.manifest.frames.at(-1)).toMatchObject({ repeat: true, second: 70 });
      const back = await readFrames(drama.manifests[i]!);
      expect(back.labels).toEqual(episode.labels);
      const difference = back.frames.reduce((sum, value, k) => sum + Math.abs(value - episode.frames[k]!), 0) / back.frames.length;
      expect(difference).toBeLessThan(3);
      expect((await readdir(join(out, String(i + 1)))).length).toBe(73);
    }
    const red = drama.episodes[0]!;
    const last = red.frames.subarray(0, red.width * red.height * 3);
    const ink = Array.from({ length: last.length / 3 }, (_, p) => p).filter((p) => last[p * 3] === 255 && last[p * 3 + 1] === 0 && last[p * 3 + 2] === 0);
    expect(ink.length).toBeGreaterThan(20);
    const manifest = await readFile(drama.manifests[0]!, "utf8");
    expect(manifest).not.toContain(folder);
    const again = await extractFrames([{ path: VERTICAL }, { path: WIDE }], { out: join(folder, "again"), plan: { tokenBudget: 1200, floorPairTokens: 4, minFrameTokens: 4 } });
    expect(await readFile(again.manifests[0]!, "utf8")).toBe(manifest);
  });

  it("makes a contact sheet", async () => {
    const { episodes } = await decodeDrama([{ path: VERTICAL }], { plan: { maxPairTokens: 6, minFrameTokens: 6, floorPairTokens: 6 } });
    const png = await contactSheet(episodes[0]!);
    expect(Buffer.from(png.subarray(1, 4)).toString()).toBe("PNG");
  });
});

describe("bad input", () => {
  it("gets its code, and leaves nothing behind", async () => {
    const write = async (name: string, data: string | Uint8Array): Promise<string> => {
      await writeFile(join(folder, name), data);
      return join(folder, name);
    };
    await mkdir(join(folder, "folder.mp4"));
    execFileSync("mkfifo", [join(folder, "pipe.mp4")]);
    await symlink("/dev/zero", join(folder, "link.mp4"));
    const real = await readFile(VERTICAL);
    const cases: [string, string][] = [
      [join(folder, "none.mp4"), "VIDEO_NOT_FOUND"],
      [join(folder, "folder.mp4"), "VIDEO_NOT_A_FILE"],
      [join(folder, "pipe.mp4"), "VIDEO_NOT_A_FILE"],
      [join(folder, "link.mp4"), "VIDEO_NOT_A_FILE"],
      [await write("empty.mp4", ""), "VIDEO_EMPTY"],
      [await write("noise.mp4", Buffer.alloc(5000, 0x5a)), "VIDEO_FORMAT_REFUSED"],
      [await write("text.mp4", "once upon a time"), "VIDEO_FORMAT_REFUSED"],
      [await write("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n/etc/passwd\n"), "VIDEO_FORMAT_REFUSED"],
      [await write("concat.mp4", "ffconcat version 1.0\nfile '/etc/passwd'\n"), "VIDEO_FORMAT_REFUSED"],
      [await write("cut-index.mp4", real.subarray(0, 2000)), "VIDEO_CORRUPT"],
      [await write("cut.mp4", real.subarray(0, Math.floor(real.length / 2))), "VIDEO_TRUNCATED"],
    ];
    for (const [path, expected] of cases) {
      const error: unknown = await extractFrames([{ path }], { out: join(folder, "bad"), plan: { maxPairTokens: 6, minFrameTokens: 6, floorPairTokens: 6 } }).catch((reason: unknown) => reason);
      expect(VideoError.isInstance(error) ? [path, error.code] : error).toEqual([path, expected]);
      expect((error as VideoError).hint).toBeTruthy();
    }
    expect((await readdir(folder)).filter((name) => name.includes("bad") || name.includes("tmp"))).toEqual([]);
  });

  it("keeps what came of a cut file when asked", async () => {
    const { episodes } = await decodeDrama([{ path: join(folder, "cut.mp4") }], { allowTruncated: true, plan: { maxPairTokens: 6, minFrameTokens: 6, floorPairTokens: 6 } });
    expect(episodes[0]!.manifest.warnings).toContain("TRUNCATED");
    expect(episodes[0]!.frameCount).toBe(72);
  });

  it("notices frames that were changed on disk", async () => {
    const { manifests } = await extractFrames([{ path: VERTICAL }], { out: join(folder, "changed"), plan: { maxPairTokens: 6, minFrameTokens: 6, floorPairTokens: 6 } });
    await writeFile(join(folder, "changed", "1", "000003.jpg"), "x");
    await expect(readFrames(manifests[0]!)).rejects.toThrow(code("VIDEO_FRAMES_INVALID"));
  });

  it("stops at once when cancelled", async () => {
    await expect(decodeDrama([{ path: VERTICAL }], { signal: AbortSignal.timeout(30) })).rejects.toThrow(code("VIDEO_CANCELLED"));
  });
});

describe("findFfmpeg", () => {
  it("finds one and says where; one that was named must work", async () => {
    const found = await findFfmpeg();
    expect(found.version).toMatch(/\d/u);
    await expect(findFfmpeg({ env: { DRAMASCOPE_FFMPEG: "/nonexistent/ffmpeg", PATH: process.env["PATH"] } })).rejects.toThrow(code("FFMPEG_UNUSABLE"));
    await expect(findFfmpeg({ ffmpegPath: process.execPath })).rejects.toThrow(code("FFMPEG_UNUSABLE"));
  });
});

it("shows code that runs in the README", async () => {
  const readme = /```ts\n([\s\S]*?)```/u.exec(await readFile(new URL("../README.md", import.meta.url), "utf8"))![1]!;
  const cwd = await mkdtemp(join(tmpdir(), "dramascope-readme-"));
  await symlink(VERTICAL, join(cwd, "episode-1.mp4"));
  const file = join(cwd, "example.ts");
  await writeFile(file, readme.replace("@dramascope/video", new URL("../src/index.ts", import.meta.url).href));
  const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", file], { cwd, encoding: "utf8" });
  expect(output.trim()).toBe("71 72 [ 420, 784 ]");
});
