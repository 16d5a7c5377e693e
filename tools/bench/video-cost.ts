import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decodeEpisode, extractFrames, planDrama, probeEpisode, type EpisodePlan, type Probe } from "@dramascope/video";

/** An episode file with its probe and the plan that it gets alone. */
export interface Clip {
  name: string;
  path: string;
  probe: Probe;
  plan: EpisodePlan;
}

const CLIPS = { tall: "tears-of-steel-vertical-540x960.mp4", wide: "tears-of-steel-battle-clip-medium.webm" };

/** The two real clips, 71 seconds each. */
export async function realClips(): Promise<Clip[]> {
  return Promise.all(
    Object.entries(CLIPS).map(async ([name, file]) => {
      const path = fileURLToPath(new URL(`../../test-fixtures/clips/${file}`, import.meta.url));
      const probe = await probeEpisode(path);
      return { name, path, probe, plan: planDrama([probe]).episodes[0]! };
    }),
  );
}

/** Processor seconds, user and system, of this process and of its children that have ended; the children's in steps of 10 ms. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  const fields = readFileSync("/proc/self/stat", "latin1").split(") ").at(-1)!.split(" ");
  return (user + system) / 1e6 + (Number(fields[13]) + Number(fields[14])) / 100;
}

/** Processor seconds of some work. */
export async function cost(work: () => Promise<unknown>): Promise<number> {
  const start = cpuSeconds();
  await work();
  return cpuSeconds() - start;
}

/** Decodes to numbered rgb24 frames, which nobody keeps. Returns how many came. */
export async function drain({ path, probe }: Pick<Clip, "path" | "probe">, plan: EpisodePlan): Promise<number> {
  const frames = decodeEpisode(path, plan, { probe, strideSeconds: 1 });
  let count = 0;
  for await (const _ of frames) count++;
  await frames.report;
  return count;
}

/** The same decoding and scaling by ffmpeg alone, whose frames go nowhere. */
export async function bareDecode(ffmpeg: string, path: string, { width, height }: EpisodePlan): Promise<void> {
  const filter = `fps=1:start_time=0:round=up,scale=${width}:${height}:flags=bicubic+accurate_rnd+full_chroma_int`;
  const child = spawn(ffmpeg, ["-nostdin", "-v", "error", "-threads", "1", "-i", path, "-map", "0:V:0", "-vf", filter, "-pix_fmt", "rgb24", "-f", "null", "-"], { stdio: ["ignore", "ignore", "inherit"] });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`ffmpeg ended with ${code} on ${path}`);
}

/** From the file to JPEG files with their manifest, by the one call for applications. */
export async function writeJpegs(path: string): Promise<void> {
  const out = await mkdtemp(join(tmpdir(), "dramascope-bench-"));
  try {
    await extractFrames([{ path }], { out: join(out, "frames"), format: "jpeg" });
  } finally {
    await rm(out, { recursive: true });
  }
}

/** From the file to numbered frames: found, looked at, planned, decoded. */
export async function wholePipeline(path: string): Promise<void> {
  const probe = await probeEpisode(path);
  await drain({ path, probe }, planDrama([probe]).episodes[0]!);
}
