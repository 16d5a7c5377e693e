import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findFfmpeg } from "@dramascope/video";

/** A film of the fixtures: 70.5 s each. */
export const clip = (name: string): string => fileURLToPath(new URL(`../../../test-fixtures/clips/${name}`, import.meta.url));
export const VERTICAL = clip("tears-of-steel-vertical-540x960.mp4");
export const WIDE = clip("tears-of-steel-battle-clip-medium.webm");

/** Six tokens a frame pair: 56 x 84 pixels for a tall film. */
export const SMALL = { maxPairTokens: 6, minFrameTokens: 6, floorPairTokens: 6 };

export const temporaryFolder = (): Promise<string> => mkdtemp(join(tmpdir(), "dramascope-video-"));

/** A film of moving test pictures, 10 a second. */
export async function makeFilm(path: string, seconds: number): Promise<string> {
  const { path: ffmpeg } = await findFfmpeg();
  execFileSync(ffmpeg, ["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", `testsrc2=s=180x320:r=10:d=${seconds}`, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1", path]);
  return path;
}

/** The arguments of every ffmpeg call that decoded pictures through {@link wrapFfmpeg}. */
export const decodesIn = async (log: string): Promise<string[]> => (await readFile(log, "utf8").catch(() => "")).split("\n").filter((line) => line.includes("rawvideo"));

/** A program that notes its arguments and environment in a log and then is the real ffmpeg, or does `instead` when pictures are to be decoded. */
export async function wrapFfmpeg(folder: string, instead = ""): Promise<{ path: string; log: string }> {
  const { path: real } = await findFfmpeg();
  const path = join(folder, `ffmpeg-${(await readdir(folder)).length}`);
  const log = `${path}.log`;
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  await writeFile(path, `#!/bin/sh\n{ echo "$*"; env; } >> ${quote(log)}\ncase "$*" in *rawvideo*) ${instead || ":"} ;; esac\nexec ${quote(real)} "$@"\n`);
  await chmod(path, 0o755);
  return { path, log };
}

/** Command lines of running processes that name a text. */
export async function processesNaming(text: string): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/u.test(name) && name !== String(process.pid));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "")));
  return lines.filter((line) => line.includes(text) && line.includes("-nostdin"));
}
