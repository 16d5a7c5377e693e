import { randomBytes } from "node:crypto";
import { lstat, open } from "node:fs/promises";
import type { BigIntStats } from "node:fs";
import { DramascopeError } from "@dramascope/schema";
import { VideoError } from "../errors.ts";

const NO_SPACE = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const ABSENT = new Set(["ENOENT"]);

/** Code of a failed system call, else undefined. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("syscall" in error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** Runs work on the cache; a failed system call becomes `CACHE_IO` naming its path, or `path` where it names none. Other errors pass. */
export async function cacheIo<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined || DramascopeError.isInstance(error)) throw error;
    const { message, path: failed = path } = error as NodeJS.ErrnoException;
    throw new VideoError(`${failed}: the frame cache cannot be used (${message})`, {
      code: "CACHE_IO",
      path: failed,
      cause: error,
      hint: NO_SPACE.has(code) ? "Free some space, lower maxBytes, or name a cache folder on another disk." : "Make the cache folder a writable folder, or name another one.",
    });
  }
}

/** What work gives, or null when the file or folder is not there. */
export async function orAbsent<T>(work: Promise<T>, absent: ReadonlySet<string> = ABSENT): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (absent.has(systemCode(error) ?? "")) return null;
    throw error;
  }
}

/** State of a path, links not followed, or null when nothing is there. Times in nanoseconds. */
export function stateOf(path: string): Promise<BigIntStats | null> {
  return orAbsent(lstat(path, { bigint: true }));
}

/** Flushes a file or folder to the disk. */
export async function flush(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A name that no other process takes: 24 hex digits. */
export function uniqueName(): string {
  return randomBytes(12).toString("hex");
}
