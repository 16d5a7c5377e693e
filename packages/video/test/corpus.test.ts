import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, readdir } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decodeDrama, extractFrames, findFfmpeg, probeEpisode, VideoError, type DramaOptions, type EpisodeFrames } from "@dramascope/video";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const goldens = (name: string): string => fileURLToPath(new URL(`../../../test-fixtures/goldens/video/${name}`, import.meta.url));

interface Case {
  outcome: "ok" | "error";
  codes?: string[];
  warnings?: string[];
  options?: { maxSeconds?: number };
  count?: number;
  display?: [number, number];
  /** [second, number shown by the bars, time] */
  frames?: [number, number | null, number][];
  framesStride3?: [number, number | null, number][];
  indexTolerance?: number;
  turn?: number;
  rgb?: [number, number, number];
  tol?: number;
  partial?: { minFrames: number; maxFrames: number };
}
const { cases } = JSON.parse(readFileSync(goldens("expected.json"), "utf8")) as { cases: Record<string, Case> };
const BITS = 12;
const PLAIN = { enabled: false };

let corpus: string;
let listener: Server;
let contacts = 0;

/** ffmpeg processes whose parent is this process, and their shells. */
function children(): string[] {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc").filter((pid) => /^\d+$/u.test(pid)).flatMap((pid) => {
    try {
      const [name, rest] = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ");
      return rest!.split(" ")[1] === String(process.pid) ? [name!] : [];
    } catch {
      return [];
    }
  });
}

beforeAll(async () => {
  corpus = await mkdtemp(join(tmpdir(), "dramascope-corpus-"));
  const { path } = await findFfmpeg();
  execFileSync(process.execPath, [goldens("make_corpus.mjs"), "--out", corpus, "--ffmpeg", path], { stdio: ["ignore", "ignore", "inherit"] });
  // The playlists of the corpus name this address.
  listener = createServer((socket) => {
    contacts++;
    socket.destroy();
  });
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject).listen(8766, "127.0.0.1", resolve);
  });
}, 300_000);

afterAll(() => {
  listener.close();
  rmSync(corpus, { recursive: true, force: true });
});

/** Mean of red, green and blue at each pixel of a frame that is turned back by so many degrees clockwise. */
function uprightGrey({ frames, width, height }: EpisodeFrames, index: number, turn: number): { grey: Float64Array; width: number; height: number } {
  const at = (x: number, y: number): number => {
    const p = (index * width * height + y * width + x) * 3;
    return (frames[p]! + frames[p + 1]! + frames[p + 2]!) / 3;
  };
  const [w, h] = turn % 180 === 0 ? [width, height] : [height, width];
  const grey = new Float64Array(w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const [sx, sy] = turn === 90 ? [width - 1 - y, x] : turn === 180 ? [width - 1 - x, height - 1 - y] : turn === 270 ? [y, height - 1 - x] : [x, y];
      grey[y * w + x] = at(sx, sy);
    }
  }
  return { grey, width: w, height: h };
}

/** The number that the bars of a frame show; null when the white band is not on top. */
function numberShown(episode: EpisodeFrames, index: number, turn: number): number | null {
  const { grey, width, height } = uprightGrey(episode, index, turn);
  const mean = (x0: number, x1: number, y0: number, y1: number): number => {
    let sum = 0;
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) sum += grey[y * width + x]!;
    return sum / ((x1 - x0) * (y1 - y0));
  };
  const [low, high] = grey.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [255, 0]);
  const middle = high - low > 40 ? (low + high) / 2 : 128;
  const band = Math.max(1, Math.floor(height / 8));
  if (mean(0, width, 0, Math.max(1, Math.floor(band / 2))) < middle) return null;
  return Array.from({ length: BITS }, (_, bit) => {
    const x = Math.floor(((bit + 0.5) * width) / BITS);
    const isBright = mean(Math.max(0, x - 1), x + 2, band + Math.floor((height - band) / 3), height - Math.floor((height - band) / 8)) > middle;
    return isBright ? 2 ** bit : 0;
  }).reduce((a, b) => a + b, 0);
}

async function decode(name: string, plan: DramaOptions["plan"] = {}, options: DramaOptions = {}): Promise<EpisodeFrames> {
  const { episodes } = await decodeDrama([{ path: join(corpus, name) }], { overlay: PLAIN, plan: { maxPairTokens: 64, floorPairTokens: 16, ...plan }, ...options });
  return episodes[0]!;
}

function expectPictures(episode: EpisodeFrames, expected: [number, number | null, number][], { turn = 0, indexTolerance = 0, rgb, tol = 0 }: Case): void {
  const sampled = episode.manifest.frames.filter(({ repeat }) => !repeat);
  expect(sampled.map(({ second }) => second)).toEqual(expected.map(([second]) => second));
  expect(episode.frameCount).toBe(sampled.length + (sampled.length % 2));
  for (const [i, [second, number]] of expected.entries()) {
    if (rgb) {
      const size = episode.width * episode.height;
      const mean = [0, 1, 2].map((channel) => Array.from({ length: size }, (_, p) => episode.frames[(i * size + p) * 3 + channel]!).reduce((a, b) => a + b, 0) / size);
      mean.forEach((value, channel) => expect(Math.abs(value - rgb[channel]!)).toBeLessThanOrEqual(tol));
    } else {
      const shown = numberShown(episode, i, turn);
      expect({ second, shown, isRight: shown !== null && Math.abs(shown - number!) <= indexTolerance }).toMatchObject({ isRight: true });
    }
  }
}

/** Strides grow with the planner's limit on frames: three of them at a third of the seconds, rounded to even counts. */
function framesAtStride3(count: number): number {
  const sampled = Math.ceil(count / 3);
  return sampled + (sampled % 2);
}

describe("files that are good or odd", () => {
  const good = Object.entries(cases).filter(([, one]) => one.outcome === "ok" && one.frames);
  it.each(good)("%s shows the right picture at every second", async (name, one) => {
    const probe = await probeEpisode(join(corpus, name));
    expect([probe.displayWidth, probe.displayHeight, Math.ceil(probe.end - 1e-6)]).toEqual([...one.display!, one.frames!.length]);
    const every = await decode(name);
    expect(every.manifest.plan).toMatchObject({ strideSeconds: 1, sampled: one.frames!.length });
    expectPictures(every, one.frames!, one);
    for (const warning of one.warnings ?? []) expect(every.manifest.warnings).toContain(warning);
  });

  it.each(good.filter(([, one]) => one.frames!.length > 4))("%s shows the right picture at every third second", async (name, one) => {
    const third = await decode(name, { maxFramesPerEpisode: framesAtStride3(one.frames!.length) });
    if (third.manifest.plan.strideSeconds !== 3) {
      // Two counts round up to the same even one: then the stride is 2, and every picture of it is among the seconds.
      expect(third.manifest.plan.strideSeconds).toBe(2);
      expectPictures(third, one.frames!.filter(([second]) => second % 2 === 0), one);
    } else expectPictures(third, one.framesStride3!, one);
  });

  it.each(Object.entries(cases).filter(([, one]) => one.count !== undefined))("%s is cut at the limit, and refused where that is asked", async (name, { count, options, warnings }) => {
    const plan = { maxSecondsPerEpisode: options!.maxSeconds!, maxPairTokens: 16 };
    const episode = await decode(name, plan);
    expect(episode.manifest.plan.sampled).toBe(count);
    expect(episode.manifest.decode).toMatchObject({ decoded: count, expected: count });
    for (const warning of warnings!) expect(episode.manifest.warnings).toContain(warning);
    await expect(decode(name, plan, { maxDurationPolicy: "error" })).rejects.toThrow(expect.objectContaining({ code: "VIDEO_TOO_LONG" }) as Error);
  });
});

describe("files that are broken or hostile", () => {
  it.each(Object.entries(cases).filter(([, one]) => one.outcome === "error"))("%s is refused with its code, a sentence and a hint", async (name, { codes }) => {
    const out = join(corpus, "out");
    const path = join(corpus, name);
    const error: unknown = await extractFrames([{ path }], { out, plan: { maxPairTokens: 64, floorPairTokens: 16 } }).catch((reason: unknown) => reason);
    if (!VideoError.isInstance(error)) throw new Error(`${name} was not refused`, { cause: error });
    expect(codes).toContain(error.code);
    expect(error).toMatchObject({ path, episode: 0 });
    expect(error.message.startsWith(`${path}: `)).toBe(true);
    expect(error.hint).toMatch(/\.$/u);
    expect((error.detail ?? "").length).toBeLessThanOrEqual(8192);
    expect(await readdir(out).catch(() => [])).toEqual([]);
  });

  it.each(Object.entries(cases).filter(([, one]) => one.partial))("%s keeps what came where that is allowed", async (name, { partial }) => {
    const episode = await decode(name, {}, { allowTruncated: true, allowDamaged: true });
    expect(episode.manifest.warnings).toContain("TRUNCATED");
    const kept = episode.manifest.frames.filter(({ repeat }) => !repeat).length;
    expect(kept).toBeGreaterThanOrEqual(partial!.minFrames);
    expect(kept).toBeLessThanOrEqual(partial!.maxFrames);
    expect(episode.frames.length).toBe(episode.frameCount * episode.width * episode.height * 3);
  });

  it("keeps the frames of a damaged stream where that is allowed", async () => {
    const { manifest } = await decode("bitrot.mp4", {}, { allowDamaged: true });
    expect(manifest.warnings).toContain("DAMAGED");
  });
});

it("leaves no process behind, opens no address, and covers the whole corpus", () => {
  expect(children()).toEqual([]);
  expect(contacts).toBe(0);
  expect(Object.keys(cases)).toHaveLength(66);
});
