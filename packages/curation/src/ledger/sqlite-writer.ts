import { takeLock } from "@dramascope/schema";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { CurationError } from "../errors.ts";

const lockFile = (path: string): string => `${path}.lock`;

/**
 * Takes the right to write a ledger's file, whose folder is made when absent.
 *
 * @throws CurationError `LEDGER_LOCKED`.
 */
export function becomeWriter(path: string): { release: () => void } {
  mkdirSync(dirname(path), { recursive: true });
  const lock = takeLock(lockFile(path));
  if ("release" in lock) return lock;
  const since = statSync(lockFile(path), { throwIfNoEntry: false })?.mtime.toISOString();
  throw new CurationError(`${path}: process ${lock.holder} has been working on this ledger${since === undefined ? "" : ` since ${since}`}`, {
    code: "LEDGER_LOCKED",
    hint: `Wait for it to end, or stop it. If that process is something else, remove ${lockFile(path)}.`,
  });
}

/** Whether a process of this machine holds the right to write. */
export function hasWriter(path: string): boolean {
  try {
    const [pid = "", host = ""] = readFileSync(lockFile(path), "utf8").split(" ");
    return host === hostname() && process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
