import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";
import type { Koffi } from "./library.ts";

/**
 * Runs an action while what the process writes to its standard error goes to a file; gives the lines back. TensorFlow prints
 * notices while it loads that no setting turns off. In a worker thread the action runs without capture: the descriptor is shared.
 */
export function captureStandardError<T>(koffi: Koffi, action: () => T): { result: T; lines: string[] } {
  if (!isMainThread) return { result: action(), lines: [] };
  const libc = koffi.load("libc.so.6");
  const dup = libc.func("dup", "int", ["int"]);
  const dup2 = libc.func("dup2", "int", ["int", "int"]);
  const close = libc.func("close", "int", ["int"]);
  const folder = mkdtempSync(join(tmpdir(), "dramascope-log-"));
  const file = join(folder, "stderr");
  const target = openSync(file, "w+");
  const saved = Number(dup(2));
  try {
    dup2(target, 2);
    let result: T;
    try {
      result = action();
    } finally {
      dup2(saved, 2);
    }
    return { result, lines: readFileSync(file, "utf8").split("\n").filter((line) => line.trim() !== "") };
  } finally {
    close(saved);
    closeSync(target);
    rmSync(folder, { recursive: true, force: true });
  }
}
