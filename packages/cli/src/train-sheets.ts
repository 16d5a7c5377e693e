import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically, type TrainingSample } from "@dramascope/schema";
import { contactSheet, eachFrame } from "@dramascope/video";
import type { frameLoader } from "./train-project.ts";

const MOST_FRAMES = 120;

/** Writes a contact sheet of each video of a sample into a folder; returns the paths. */
export function sheetWriter(folder: string, loadFrames: ReturnType<typeof frameLoader>): (sample: TrainingSample) => Promise<string[]> {
  return async (sample) => {
    await mkdir(folder, { recursive: true });
    const paths: string[] = [];
    for (const [i, video] of sample.videos.entries()) {
      const path = join(folder, `sheet-${i + 1}.png`);
      await writeFileAtomically(path, await contactSheet(eachFrame(await loadFrames(video)), { maxFrames: MOST_FRAMES }));
      paths.push(path);
    }
    return paths;
  };
}
