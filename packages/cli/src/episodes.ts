import { open, readdir, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { CliError } from "./errors.ts";

/** TypeScript shares its ending with transport streams. */
const STREAM_ENDINGS = new Set([".ts", ".mts"]);
const VIDEO_ENDINGS = new Set([".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".m2ts", ".mts", ".avi", ".flv"]);
const MAX_EPISODES = 5;

/** A drama given on the command line: a file, or a folder whose first five videos are its episodes. */
export interface DramaPath {
  dramaId: string;
  episodes: { path: string }[];
}

async function isEpisode(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isFile()) return info !== undefined && !info.isDirectory();
  if (!STREAM_ENDINGS.has(extname(path).toLowerCase())) return true;
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(5), 0, 5, 0);
    return bytesRead > 0 && (buffer[0] === 0x47 || buffer[4] === 0x47);
  } finally {
    await file.close();
  }
}

/** Reads what an argument names. */
export async function dramaAt(path: string): Promise<DramaPath> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) throw new CliError(`${path}: there is no such file or folder`, { code: "VIDEO_NOT_FOUND", hint: "Check the path." });
  const dramaId = basename(path, info.isDirectory() ? "" : extname(path)).slice(0, 128);
  if (!info.isDirectory()) return { dramaId, episodes: [{ path }] };
  const names: string[] = [];
  for (const name of await readdir(path)) {
    // A name with a dot in front is a system's own, such as the second half of a file that macOS writes to other disks.
    if (!name.startsWith(".") && VIDEO_ENDINGS.has(extname(name).toLowerCase()) && (await isEpisode(join(path, name)))) names.push(name);
  }
  names.sort(new Intl.Collator("en", { numeric: true }).compare);
  if (names.length === 0) throw new CliError(`${path} holds no video file`, { code: "VIDEO_NOT_FOUND", hint: "Give a folder with one file an episode." });
  return { dramaId, episodes: names.slice(0, MAX_EPISODES).map((name) => ({ path: join(path, name) })) };
}
