/** Films a drama: real mp4 files of its frames without numbers, made on demand, whole or absent. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { drawFrames, EPISODES, FRAME_BYTES, FRAME_HEIGHT, FRAME_WIDTH, FRAMES_PER_EPISODE } from "./frames.ts";
import type { CreateRandom, WorldDrama } from "./traits.ts";

const SCALE = 4;

function encode(ffmpeg: string, frames: Uint8Array, path: string): Promise<void> {
  const args = [
    "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", `${FRAME_WIDTH}x${FRAME_HEIGHT}`, "-framerate", "1", "-i", "pipe:0",
    "-vf", `scale=${FRAME_WIDTH * SCALE}:${FRAME_HEIGHT * SCALE}:flags=neighbor:out_color_matrix=bt709,fps=4`, "-c:v", "libx264", "-preset", "veryfast", "-crf", "10", "-pix_fmt", "yuv444p",
    "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-threads", "1", "-movflags", "+faststart", "-f", "mp4", "-y", path,
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(ffmpeg, args, { stdio: ["pipe", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    child.on("error", reject).on("close", (code) => (code === 0 ? resolve() : reject(new Error(`ffmpeg could not film an episode: ${said.slice(0, 500)}`))));
    child.stdin.on("error", () => undefined).end(frames);
  });
}

/** Paths of the five episodes of a drama below a folder, filmed where they are missing. */
export async function filmDrama(drama: WorldDrama, options: { ffmpeg: string; folder: string; createRandom: CreateRandom }): Promise<string[]> {
  const folder = join(options.folder, drama.dramaId);
  await mkdir(folder, { recursive: true });
  const frames = drawFrames(drama, options.createRandom);
  const size = FRAMES_PER_EPISODE * FRAME_BYTES;
  return Promise.all(
    Array.from({ length: EPISODES }, async (_, episode) => {
      const path = join(folder, `episode-${episode + 1}.mp4`);
      if (existsSync(path)) return path;
      const temporary = `${path}.tmp-${process.pid}`;
      try {
        await encode(options.ffmpeg, frames.subarray(episode * size, (episode + 1) * size), temporary);
        await rename(temporary, path);
        return path;
      } finally {
        await rm(temporary, { force: true });
      }
    }),
  );
}
