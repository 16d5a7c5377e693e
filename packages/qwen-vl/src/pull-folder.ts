import { lstat, mkdir, open, readdir, rm, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { writeFileAtomically } from "@dramascope/schema";
import { QwenVlError } from "./errors.ts";
import { readJsonIfThere } from "./optional-files.ts";
import { partName, removeFile } from "./pull-fetch.ts";
import { isCheckpointFile, type PullFile } from "./pull-files.ts";
import { isWhole, unwritable } from "./pull-part.ts";

/** What a folder holds or is about to hold: the contents of `pulled.json`. */
export interface PulledModel {
  repo: string;
  /** Branch, tag or commit that was asked for. */
  revision: string;
  /** Commit that it meant, 40 hex digits. */
  commit: string;
  files: PullFile[];
}

/** A folder as a pull finds it. */
export interface PullFolder {
  /** What an earlier pull left; undefined for a new or empty folder. */
  held: PulledModel | undefined;
  /** Whether that pull came to its end. */
  isFinished: boolean;
}

/** Says that a pull is under way, and of what. */
const UNDER_WAY = "pulling.json";
/** Says that everything is there. */
const FINISHED = "pulled.json";

function isFile(value: unknown): value is PullFile {
  if (typeof value !== "object" || value === null) return false;
  const { name, bytes, algorithm, digest } = value as Partial<Record<keyof PullFile, unknown>>;
  const form = algorithm === "sha256" ? /^[0-9a-f]{64}$/u : algorithm === "git-sha1" ? /^[0-9a-f]{40}$/u : undefined;
  return typeof name === "string" && isCheckpointFile(name) && Number.isSafeInteger(bytes) && (bytes as number) >= 0 && typeof digest === "string" && form?.test(digest) === true;
}

async function readState(path: string): Promise<PulledModel | undefined> {
  const refuse = (cause?: unknown): never => {
    throw new QwenVlError(`${path} is not what a pull writes`, { code: "PULL_FOLDER", cause, hint: "Remove the folder, or give another one." });
  };
  const value = await readJsonIfThere(path).catch(refuse);
  if (value === undefined) return undefined;
  const { repo, revision, commit, files } = (typeof value === "object" && value !== null ? value : {}) as Partial<Record<keyof PulledModel, unknown>>;
  if (typeof repo === "string" && typeof revision === "string" && typeof commit === "string" && Array.isArray(files) && files.length > 0 && files.every(isFile)) return { repo, revision, commit, files };
  return refuse();
}

/**
 * What earlier pulls left in a folder.
 *
 * @throws QwenVlError `PULL_FOLDER` when it holds anything else, for a pull would write over that.
 */
export async function readPullFolder(folder: string, repo: string): Promise<PullFolder> {
  const finished = await readState(join(folder, FINISHED));
  const held = finished ?? (await readState(join(folder, UNDER_WAY)));
  if (held === undefined) {
    const [first] = await readdir(folder).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw new QwenVlError(`${folder} cannot take a checkpoint: ${(error as Error).message}`, { code: "PULL_FOLDER", cause: error, hint: "Give a new folder." });
    });
    if (first !== undefined) throw new QwenVlError(`${folder} holds ${JSON.stringify(first)}, which no pull has put there`, { code: "PULL_FOLDER", hint: "Give a new or an empty folder." });
  } else if (held.repo !== repo) throw new QwenVlError(`${folder} belongs to ${JSON.stringify(held.repo)}`, { code: "PULL_FOLDER", hint: "Give another folder, or remove that one." });
  return { held, isFinished: finished !== undefined };
}

/** Length of a plain file and when it was last written to; zeros when there is none. */
const lookAt = (path: string): Promise<{ size: number; mtimeMs: number }> =>
  lstat(path).then((found) => (found.isFile() ? found : { size: 0, mtimeMs: 0 }), () => ({ size: 0, mtimeMs: 0 }));

/** Bytes of each file that seem to be there already, in the order of `files`; hashes are checked when the pull comes to them. */
export async function presentBytes(folder: string, files: readonly PullFile[], held: PulledModel | undefined): Promise<number[]> {
  const old = new Map(held?.files.map((file) => [file.name, file.digest]));
  return Promise.all(
    files.map(async ({ name, bytes, digest }) => {
      if (old.get(name) !== digest) return 0;
      return (await lookAt(join(folder, name))).size === bytes ? bytes : Math.min(bytes, (await lookAt(join(folder, partName(name)))).size);
    }),
  );
}

/** How much of a finished folder is read again: what was written to since, or everything. */
export type Recheck = "changed" | "all";

/**
 * Which files of a finished folder are not what was pulled any more, by name. Those of another length are; others are read and hashed when they
 * were written to after the pull ended, or all of them.
 *
 * @param onChecked Told how many bytes of how many have been read, by file.
 */
export async function damagedFiles(folder: string, files: readonly PullFile[], recheck: Recheck, signal: AbortSignal | undefined, onChecked: (done: number, total: number, name: string) => void): Promise<Set<string>> {
  const finished = await lookAt(join(folder, FINISHED));
  const found = await Promise.all(files.map(async (file) => ({ file, ...(await lookAt(join(folder, file.name))) })));
  const damaged = new Set(found.filter(({ file, size }) => size !== file.bytes).map(({ file }) => file.name));
  const doubtful = found.filter(({ file, mtimeMs }) => !damaged.has(file.name) && (recheck === "all" || mtimeMs > finished.mtimeMs));
  const total = doubtful.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (const { file, size } of doubtful) {
    if (!(await isWhole(join(folder, file.name), file, signal))) damaged.add(file.name);
    done += size;
    onChecked(done, total, file.name);
  }
  return damaged;
}

/** Bytes that may be written where a folder is or will be. */
export async function freeBytes(folder: string): Promise<number> {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const found = await statfs(at).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT" && dirname(at) !== at) return undefined;
      throw new QwenVlError(`${at} cannot be looked at: ${(error as Error).message}`, { code: "PULL_FOLDER", cause: error, hint: "Give another folder." });
    });
    if (found) return found.bavail * found.bsize;
  }
}

async function writeState(folder: string, name: string, state: PulledModel): Promise<void> {
  const path = join(folder, name);
  await writeFileAtomically(path, `${JSON.stringify(state, null, 2)}\n`).catch((error: unknown) => {
    throw unwritable(path, error);
  });
}

/** Marks the folder as under way and removes what belongs to another commit. */
export async function beginPull(folder: string, wanted: PulledModel, held: PulledModel | undefined): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw unwritable(folder, error);
  });
  // The old list stays until what it names is gone, so that a kill in between leaves nothing nameless.
  if (held !== undefined) {
    await writeState(folder, UNDER_WAY, held);
    await rm(join(folder, FINISHED), { force: true });
    const digests = new Map(wanted.files.map((file) => [file.name, file.digest]));
    for (const { name, digest } of held.files) if (digests.get(name) !== digest) await removeFile(folder, name);
  }
  await writeState(folder, UNDER_WAY, wanted);
}

/** Marks the folder as complete. */
export async function finishPull(folder: string, pulled: PulledModel): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync(); // the files' names must be on the disk before the word that they are
  } finally {
    await handle.close();
  }
  await writeState(folder, FINISHED, pulled);
  await rm(join(folder, UNDER_WAY), { force: true });
}
