import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { median } from "./result.ts";
import { drain, type Clip } from "./video-cost.ts";

const RUN = fileURLToPath(new URL("video-run.ts", import.meta.url));
const SMALL = { width: 168, height: 308 };
const TURN = 50;

/** What `video-run.ts` prints. */
interface Memory {
  frames: number;
  startMiB: number;
  rssMiB: number;
  ffmpegMiB: number;
}

/** Seconds by the clock for so many clips, the given ones in turn, so many at once. */
async function secondsFor(clips: readonly Clip[], count: number, processes: number): Promise<number> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const clip = clips[next++ % clips.length]!;
      await drain(clip, { ...clip.plan, ...SMALL });
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: processes }, worker));
  return (performance.now() - start) / 1000;
}

/** Clips a second with one ffmpeg at a time and with two, in turns of fifty clips, so that a machine that slows down slows both. */
export async function throughput(clips: readonly Clip[], count: number): Promise<Record<string, unknown>> {
  const turns = { one: [] as number[], two: [] as number[] };
  for (let done = 0; done < count; done += TURN) {
    turns.one.push(await secondsFor(clips, Math.min(TURN, count - done), 1));
    turns.two.push(await secondsFor(clips, Math.min(TURN, count - done), 2));
  }
  const [one, two] = [turns.one, turns.two].map((seconds) => seconds.reduce((a, b) => a + b, 0)) as [number, number];
  return { clips: count, ...SMALL, secondsWithOne: one, secondsWithTwo: two, clipsPerSecond: count / two, speedup: one / two, medianSpeedup: median(turns.one.map((seconds, i) => seconds / turns.two[i]!)), goal: 1.8 };
}

/** Memory for a short episode, for the same one repeated up to so many seconds, and for a drama of five written as JPEG. */
export function memory(ffmpeg: string, path: string, seconds: number): Record<string, unknown> {
  const folder = mkdtempSync(join(tmpdir(), "dramascope-bench-"));
  const run = (...args: string[]): Memory => JSON.parse(execFileSync(process.execPath, ["--conditions=@dramascope/source", RUN, ...args], { encoding: "utf8" })) as Memory;
  const repeat = (length: number): string => {
    const long = join(folder, `${length}.mp4`);
    execFileSync(ffmpeg, ["-nostdin", "-v", "error", "-stream_loop", "-1", "-i", path, "-t", String(length), "-map", "0:V:0", "-c", "copy", long], { stdio: ["ignore", "ignore", "inherit"] });
    return long;
  };
  try {
    const short = repeat(90);
    return { short: run("decode", short), long: run("decode", repeat(seconds)), drama: { ...run("extract", join(folder, "frames"), short, short, short, short, short), goalMiB: 150 } };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
