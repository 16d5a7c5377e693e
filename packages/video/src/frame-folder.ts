import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { VideoError } from "./errors.ts";

const OWN_FILE = /^(?:\d{6}\.(?:jpg|png)|frames\.rgb|manifest\.json)$/u;

/** What stands in the way of replacing a folder: undefined when it is absent, empty, or holds frames and their manifest and nothing else. */
async function foreignIn(folder: string): Promise<string | undefined> {
  let entries;
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? undefined : code === "ENOTDIR" ? "it is no folder" : `it cannot be read (${code})`;
  }
  const foreign = entries.find((entry) => !entry.isFile() || !OWN_FILE.test(entry.name));
  if (foreign) return `it holds ${foreign.name}`;
  if (entries.length === 0) return undefined;
  const manifest = await readFile(join(folder, "manifest.json"), "utf8").then((text) => JSON.parse(text) as { kind?: unknown }, () => undefined);
  return manifest?.kind === "dramascope.frames" ? undefined : "it holds pictures without their manifest";
}

/** @throws VideoError `FRAMES_FOLDER` when replacing a folder would delete anything but earlier frames. */
export async function assertReplaceable(folder: string): Promise<void> {
  const foreign = await foreignIn(folder);
  if (foreign !== undefined) throw new VideoError(`${folder} cannot take frames: ${foreign}`, { code: "FRAMES_FOLDER", path: folder, hint: "Give another folder; only earlier frames are replaced." });
}

/** Removes numbered folders with the frames of an earlier run, except the ones that were written now. */
export async function removeEarlierFrames(out: string, written: readonly string[]): Promise<void> {
  for (const name of await readdir(out).catch(() => [])) {
    if (/^[1-5]$/u.test(name) && !written.includes(name) && (await foreignIn(join(out, name))) === undefined) await rm(join(out, name), { recursive: true });
  }
}
