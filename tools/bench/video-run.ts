/**
 * Our side in a process of its own, for its memory: `video-run.ts decode FILE` hands out a numbered frame of every second, about 168 x 308 pixels, and keeps
 * none; `video-run.ts extract OUT FILE...` writes one drama's JPEG files. Prints frames, and the highest resident memory of this process, before the work
 * (most of it is Node, and what turns TypeScript into JavaScript) and with it, and of any ffmpeg, in MiB.
 */
import { readdirSync, readFileSync } from "node:fs";
import { extractFrames, planDrama, probeEpisode } from "@dramascope/video";
import { drain } from "./video-cost.ts";

/** Highest resident memory so far of the children that run now. */
function childrenMiB(): number {
  const peaks = readdirSync("/proc/self/task").flatMap((thread) => readFileSync(`/proc/self/task/${thread}/children`, "latin1").split(" ").filter((id) => id !== "")).map((id) => {
    try {
      return Number(/^VmHWM:\s+(\d+)/mu.exec(readFileSync(`/proc/${id}/status`, "latin1"))?.[1] ?? 0) / 1024;
    } catch {
      return 0; // ended in between
    }
  });
  return Math.max(0, ...peaks);
}

const ownMiB = (): number => Math.round(process.resourceUsage().maxRSS / 1024);
const startMiB = ownMiB();
let ffmpegMiB = 0;
const watch = setInterval(() => (ffmpegMiB = Math.max(ffmpegMiB, childrenMiB())), 250);
const [, , mode, ...given] = process.argv;
let frames: number;
if (mode === "decode") {
  const path = given[0]!;
  const probe = await probeEpisode(path);
  frames = await drain({ path, probe }, planDrama([probe], { tokenBudget: 1e6, maxPairTokens: 66, maxFramesPerEpisode: 1800 }).episodes[0]!);
} else {
  const [out, ...files] = given;
  const { episodes } = await extractFrames(files.map((path) => ({ path })), { out: out!, processes: 2 });
  frames = episodes.reduce((sum, { manifest }) => sum + manifest.frames.length, 0);
}
clearInterval(watch);
process.stdout.write(`${JSON.stringify({ frames, startMiB, rssMiB: ownMiB(), ffmpegMiB: Math.round(ffmpegMiB) })}\n`);
