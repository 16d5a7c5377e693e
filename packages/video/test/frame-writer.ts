import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as pause } from "node:timers/promises";
import { sha256, type FrameManifest } from "@dramascope/schema";
import { FrameCache } from "../src/cache/frame-cache.ts";

/** Stand-ins of encoded frames, the same for the same name. */
export function framesOf(name: string): Buffer[] {
  return Array.from({ length: 7 }, (_, i) => Buffer.from(`${sha256(`${name.length} ${i}`)}${name}`.repeat(20 + i)));
}

/** Writes frames as the decoder's writers do, the last one repeated, and returns their manifest. */
export async function writeFrames(
  folder: string,
  name: string,
  { ending = "jpg", onFrame }: { ending?: "jpg" | "png" | "rgb"; onFrame?: (i: number) => Promise<void> } = {},
): Promise<FrameManifest> {
  const frames = framesOf(name);
  const shown = [...frames, frames.at(-1)!];
  if (ending === "rgb") await writeFile(join(folder, "frames.rgb"), Buffer.concat(shown));
  const file = (i: number): string => (ending === "rgb" ? "frames.rgb" : `${String(Math.min(i, frames.length - 1)).padStart(6, "0")}.${ending}`);
  for (const [i, data] of frames.entries()) {
    if (ending !== "rgb") await writeFile(join(folder, file(i)), data);
    await onFrame?.(i);
  }
  return {
    schema: 1,
    kind: "dramascope.frames",
    source: { sha256: sha256(name), bytes: 1000, container: "mp4", codec: "avc", display: [540, 960], rotation: 0, fileStart: 0, end: frames.length },
    plan: { strideSeconds: 1, frames: shown.length, sampled: frames.length, width: 28, height: 56, tokens: 8, clock: "episode", clockOffset: 0 },
    sampleFps: 1,
    secondPerGrid: 2,
    overlay: {},
    frames: shown.map((data, i) => ({ i, second: Math.min(i, frames.length - 1), label: i, repeat: i >= frames.length, file: file(i), bytes: data.length, sha256: sha256(data) })),
    warnings: [],
  };
}

/** As a program: `CACHE NAME [MILLISECONDS_A_FRAME] [KEY] [hold]` puts frames, telling each step on stdout. */
async function main([dir, name, pace = "0", key = sha256(name!), hold]: string[]): Promise<void> {
  const say = (line: string): boolean => process.stdout.write(`${line}\n`);
  const { folder } = await new FrameCache(dir!).put(key, async (temporary) => {
    say("writing");
    const manifest = await writeFrames(temporary, name!, { onFrame: (i) => (say(`frame ${i}`), pause(Number(pace))) });
    say("written");
    return manifest;
  });
  say(`put ${folder}`);
  if (hold !== undefined) await pause(30_000);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
