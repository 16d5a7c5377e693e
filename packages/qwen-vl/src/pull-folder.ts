import { mkdir, open, readdir, rm, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { writeFileAtomically } from "@dramascope/schema";
import { QwenVlError } from "./errors.ts";
import { readJsonIfThere } from "./optional-files.ts";
import { partName, removeFile } from "./pull-fetch.ts";
import { isCheckpointFile, type PullFile } from "./pull-files.ts";
import { unwritable } from "./pull-part.ts";

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
  return typeof name === "string" && isCheckpointFile(name) && typeof bytes === "number" && (algorithm === "sha256" || algorithm === "git-sha1") && typeof digest === "string";
}

async function readState(path: string): Promise<PulledModel | undefined> {
  const value = await readJsonIfThere(path);
  if (value === undefined) return undefined;
  const { repo, revision, commit, files } = (typeof value === "object" && value !== null ? value : {}) as Partial<Record<keyof PulledModel, unknown>>;
  if (typeof repo === "string" && typeof revision === "string" && typeof commit === "string" && Array.isArray(files) && files.every(isFile)) return { repo, revision, commit, files };
  throw new QwenVlError(`${path} is not what a pull writes`, { code: "PULL_FOLDER", hint: "Remove the folder, or give another one." });
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

const sizeOf = (path: string): Promise<number> => stat(path).then((found) => (found.isFile() ? found.size : 0), () => 0);

/** Bytes of each file that seem to be there already, in the order of `files`; hashes are checked when the pull comes to them. */
export async function presentBytes(folder: string, files: readonly PullFile[], held: PulledModel | undefined): Promise<number[]> {
  const old = new Map(held?.files.map((file) => [file.name, file.digest]));
  return Promise.all(
    files.map(async ({ name, bytes, digest }) => {
      if (old.get(name) !== digest) return 0;
      return (await sizeOf(join(folder, name))) === bytes ? bytes : Math.min(bytes, await sizeOf(join(folder, partName(name))));
    }),
  );
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
