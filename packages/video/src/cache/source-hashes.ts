import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { sha256, sha256File, writeFileAtomically } from "@dramascope/schema";
import { cacheIo, orAbsent, systemCode } from "./io.ts";
import { VideoError } from "../errors.ts";

interface SourceState {
  /** Hash of what tells this state of the file from others, 64 hex digits. */
  identity: string;
  /** Milliseconds since the epoch. */
  changedAt: number;
}

/** A file changed so lately may change again without a new time stamp: some file systems count in steps of two seconds. */
const UNSETTLED_MS = 2000;

async function sourceState(path: string): Promise<SourceState> {
  let state;
  try {
    state = await stat(path, { bigint: true });
  } catch (error) {
    throw new VideoError(`${path}: the file cannot be read (${systemCode(error) ?? String(error)})`, { code: "VIDEO_NOT_FOUND", path, cause: error, hint: "Check the path." });
  }
  if (!state.isFile()) throw new VideoError(`${path} is not a regular file`, { code: "VIDEO_NOT_A_FILE", path, hint: "Give a video file." });
  const { dev, ino, size, mtimeNs, ctimeNs, mtimeMs, ctimeMs } = state;
  return { identity: sha256([dev, ino, size, mtimeNs, ctimeNs].join(":")), changedAt: Number(mtimeMs > ctimeMs ? mtimeMs : ctimeMs) };
}

/** Contents' hashes of files, remembered on disk by device, inode, size and times, so that a large file is read once. */
export class SourceHashes {
  readonly #folder: string;
  readonly #now: () => number;
  readonly #known = new Map<string, string>();

  constructor(folder: string, now: () => number) {
    this.#folder = folder;
    this.#now = now;
  }

  /** SHA-256 of a file's contents, 64 hex digits. */
  async of(path: string): Promise<string> {
    const before = await sourceState(path);
    const known = this.#known.get(before.identity) ?? (await this.#read(before.identity));
    if (known !== undefined) return known;
    const hash = await sha256File(path);
    const after = await sourceState(path);
    if (after.identity !== before.identity) throw new VideoError(`${path} changed while it was read`, { code: "VIDEO_CHANGED", path, hint: "Wait until the file is wholly written, then try again." });
    if (this.#now() - after.changedAt > UNSETTLED_MS) await this.#remember(before.identity, hash);
    return hash;
  }

  async #read(identity: string): Promise<string | undefined> {
    const path = join(this.#folder, identity);
    const text = await cacheIo(path, () => orAbsent(readFile(path, "utf8")));
    const hash = /^[0-9a-f]{64}(?=\n$)/u.exec(text ?? "")?.[0];
    if (hash !== undefined) this.#known.set(identity, hash);
    return hash;
  }

  async #remember(identity: string, hash: string): Promise<void> {
    const path = join(this.#folder, identity);
    await cacheIo(path, () => writeFileAtomically(path, `${hash}\n`));
    this.#known.set(identity, hash);
  }
}
