import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";
import type { Koffi } from "./library.ts";

/** What was written to an open file. */
function readWhole(file: number): string {
  const bytes = Buffer.alloc(fstatSync(file).size);
  return bytes.toString("utf8", 0, readSync(file, bytes, 0, bytes.length, 0));
}

/** An open file that no folder lists any more; undefined where none can be made, as on a read-only file system. */
function openScratchFile(): number | undefined {
  let folder: string | undefined;
  try {
    folder = mkdtempSync(join(tmpdir(), "dramascope-log-"));
    return openSync(join(folder, "stderr"), "w+");
  } catch {
    return undefined;
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Runs an action while what the process writes to its standard error goes to a file; gives the lines back. TensorFlow prints
 * notices while it loads that no setting turns off. In a worker thread, whose descriptor is shared, and where no file can be made the action runs without capture.
 */
export function captureStandardError<T>(koffi: Koffi, action: () => T): { result: T; lines: string[] } {
  const target = isMainThread ? openScratchFile() : undefined;
  if (target === undefined) return { result: action(), lines: [] };
  const libc = koffi.load("libc.so.6");
  const dup = libc.func("dup", "int", ["int"]);
  const dup2 = libc.func("dup2", "int", ["int", "int"]);
  const close = libc.func("close", "int", ["int"]);
  const saved = Number(dup(2));
  try {
    dup2(target, 2);
    let result: T;
    try {
      result = action();
    } finally {
      dup2(saved, 2);
    }
    return { result, lines: readWhole(target).split("\n").filter((line) => line.trim() !== "") };
  } finally {
    close(saved);
    closeSync(target);
  }
}
