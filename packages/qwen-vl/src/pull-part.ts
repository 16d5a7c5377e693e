import { createHash, type Hash } from "node:crypto";
import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { QwenVlError } from "./errors.ts";
import type { PullFile } from "./pull-files.ts";

const PIECE = 1024 * 1024;

/** Hash of a file's announced kind, ready for its contents. */
export function createFileHash({ algorithm, bytes }: PullFile): Hash {
  return algorithm === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${bytes}\0`);
}

/** The error of a file or folder that cannot be written. */
export function unwritable(path: string, error: unknown): QwenVlError {
  return new QwenVlError(`${path} cannot be written: ${(error as Error).message}`, { code: "OUTPUT_UNWRITABLE", cause: error, hint: "Check the disk's space and the folder's rights; the same command goes on where it stopped." });
}

/** A plain file, opened; undefined when there is none. Links are not followed: they may lead to a file that no pull has made. */
async function openPlain(path: string, flags: number): Promise<FileHandle | undefined> {
  const refuse = (): never => {
    throw new QwenVlError(`${path} is no plain file`, { code: "PULL_FOLDER", hint: "No pull makes such a thing: remove it, or give another folder." });
  };
  const handle = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o644).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    if (code === "ELOOP" || code === "EISDIR" || code === "ENXIO") return refuse();
    throw unwritable(path, error);
  });
  if (handle === undefined || (await handle.stat()).isFile()) return handle;
  await handle.close();
  return refuse();
}

/** Feeds the first bytes of a file to a hash. */
async function hashBytes(handle: FileHandle, bytes: number, hash: Hash, signal: AbortSignal | undefined): Promise<void> {
  const buffer = new Uint8Array(Math.min(PIECE, bytes));
  for (let done = 0; done < bytes; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, bytes - done), done);
    if (bytesRead === 0) return;
    hash.update(buffer.subarray(0, bytesRead));
    done += bytesRead;
  }
}

/**
 * Whether a file stands at a path with the announced length and hash.
 *
 * @throws QwenVlError `PULL_FOLDER` when something else has the name.
 */
export async function isWhole(path: string, file: PullFile, signal: AbortSignal | undefined): Promise<boolean> {
  const handle = await openPlain(path, constants.O_RDONLY);
  if (handle === undefined) return false;
  try {
    if ((await handle.stat()).size !== file.bytes) return false;
    const hash = createFileHash(file);
    await hashBytes(handle, file.bytes, hash, signal);
    return hash.digest("hex") === file.digest;
  } finally {
    await handle.close();
  }
}

/** The beginning of a file that is being fetched, with its hash so far. */
export interface PartFile {
  /** Bytes that are there. */
  readonly bytes: number;
  append: (chunk: Uint8Array) => Promise<void>;
  /** Empties the file. */
  restart: () => Promise<void>;
  /** Whether the whole file has come and is the announced one. */
  isRight: () => boolean;
  /** Brings the bytes onto the disk. */
  flush: () => Promise<void>;
  close: () => Promise<void>;
}

/**
 * Opens what is there of a file, or an empty one, and reads its hash.
 *
 * @throws QwenVlError `PULL_FOLDER` when something else has the name.
 */
export async function openPart(path: string, file: PullFile, signal: AbortSignal | undefined): Promise<PartFile> {
  const handle = (await openPlain(path, constants.O_RDWR | constants.O_CREAT))!;
  let bytes = 0;
  let hash = createFileHash(file);
  const restart = async (): Promise<void> => {
    await handle.truncate(0);
    bytes = 0;
    hash = createFileHash(file);
  };
  try {
    const { size } = await handle.stat();
    if (size > file.bytes) await restart();
    else {
      await hashBytes(handle, size, hash, signal);
      bytes = size;
    }
  } catch (error) {
    await handle.close();
    throw error;
  }
  return {
    get bytes() {
      return bytes;
    },
    append: async (chunk) => {
      try {
        for (let done = 0; done < chunk.length; ) done += (await handle.write(chunk, done, chunk.length - done, bytes + done)).bytesWritten;
      } catch (error) {
        throw unwritable(path, error);
      }
      hash.update(chunk);
      bytes += chunk.length;
    },
    restart,
    isRight: () => bytes === file.bytes && hash.copy().digest("hex") === file.digest,
    flush: () => handle.sync(),
    close: () => handle.close(),
  };
}
