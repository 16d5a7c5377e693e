import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { extractFrames } from "@dramascope/video";

const FOLDER = fileURLToPath(new URL("../../.cache/peers/video/", import.meta.url));
const PEER = fileURLToPath(new URL("./peers/video/", import.meta.url));

/** Readers of qwen-vl-utils: what it takes when nothing else is installed, and what its README recommends. */
export const READERS = ["torchvision", "decord"] as const;
/** One of {@link READERS}. */
export type Reader = (typeof READERS)[number];

/** What `fetch_video.py` prints. */
interface PythonFigures {
  seconds: number;
  frames: number;
  width: number;
  height: number;
  rssMiB: number;
}

function hasPeer(python: string): boolean {
  try {
    execFileSync(python, ["-c", "import av, PIL, qwen_vl_utils, torchvision.io; torchvision.io.read_video"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** What `reference.py` prints, dB. */
interface Likeness {
  frames: number;
  min: number;
  median: number;
}

/** A Python that has qwen-vl-utils, PyAV, Pillow and a torchvision that still reads videos: the system's, or one of our own. */
export function findPython(mayInstall: boolean, say: (text: string) => void): string | null {
  const own = `${FOLDER}bin/python`;
  const found = [own, "python3"].find(hasPeer);
  if (found !== undefined || !mayInstall) return found ?? null;
  say("making a Python environment under .cache/peers/video, about 7 GB");
  if (!existsSync(own)) execFileSync("python3", ["-m", "venv", FOLDER], { stdio: "inherit" });
  execFileSync(own, ["-m", "pip", "install", "--quiet", "-r", `${PEER}requirements.txt`], { stdio: ["ignore", 2, 2] });
  return own;
}

/** Processor seconds of qwen-vl-utils on one file at 1 frame a second; null when its reader fails, which `say` tells. */
export function pythonFigures(python: string, path: string, reader: Reader, { tokens, repeats, say }: { tokens: number; repeats: number; say: (text: string) => void }): PythonFigures | null {
  try {
    const output = execFileSync(python, [`${PEER}fetch_video.py`, path, reader, String(tokens), String(repeats)], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    return JSON.parse(output.trim().split("\n").at(-1)!) as PythonFigures;
  } catch (error) {
    say(`${reader} does not read ${path}: ${(error as Error).message.trim().split("\n").at(-1)}`);
    return null;
  }
}

/** How near our frames, without numbers, are to what PyAV and Pillow make of the same seconds. */
export async function likeness(python: string, path: string): Promise<Likeness> {
  const folder = await mkdtemp(join(tmpdir(), "dramascope-bench-"));
  try {
    const { episodes } = await extractFrames([{ path }], { out: join(folder, "frames"), format: "raw", overlay: { enabled: false } });
    return JSON.parse(execFileSync(python, [`${PEER}reference.py`, path, dirname(episodes[0]!.manifestPath)], { encoding: "utf8" })) as Likeness;
  } finally {
    await rm(folder, { recursive: true });
  }
}
