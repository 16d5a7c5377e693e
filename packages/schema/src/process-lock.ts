import { randomUUID } from "node:crypto";
import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { DramascopeError } from "./errors.ts";

/** How often a lock may change hands while this process tries to take it. */
const ATTEMPTS = 100;

/** How file systems without hard links say so. */
const NO_LINKS: ReadonlySet<string> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP"]);

/** Milliseconds in which a process that has made its lock has also written it, where there are no links. */
const WRITE_MS = 50;

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? "";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

/** Contents of a lock; undefined where there is none. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** What stands at a lock's place: nothing, one that counts for nothing, or the process that holds it. Containers get new host names and old process ids: those count for nothing. */
function stateOf(path: string): "free" | "stale" | { holder: number } {
  let text = read(path);
  if (text === "") {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WRITE_MS);
    text = read(path);
  }
  if (text === undefined) return "free";
  const [pid = "", host = ""] = text.split(" ");
  return /^[1-9]\d*$/u.test(pid) && host === hostname() && Number(pid) !== process.pid && isAlive(Number(pid)) ? { holder: Number(pid) } : "stale";
}

/** Makes a lock; false where something stands in its place. */
function make(path: string, text: string): boolean {
  const own = `${path}.tmp-${randomUUID()}`;
  try {
    writeFileSync(own, text);
    // A link comes with its contents, or not at all.
    linkSync(own, path);
    return true;
  } catch (error) {
    // Whoever has the lock may clear temporary files away, this one too.
    if (codeOf(error) === "EEXIST" || (codeOf(error) === "ENOENT" && (error as NodeJS.ErrnoException).syscall === "link")) return false;
    if (!NO_LINKS.has(codeOf(error))) throw error;
  } finally {
    rmSync(own, { force: true });
  }
  try {
    writeFileSync(path, text, { flag: "wx" });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
}

function take(path: string): { release: () => void } | { holder: number } {
  const text = `${process.pid} ${hostname()}`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (make(path, text)) {
      return {
        release: () => {
          if (read(path) === text) rmSync(path, { force: true });
        },
      };
    }
    const state = stateOf(path);
    if (typeof state === "object") return state;
    if (state === "free") continue;
    // Only one process at a time removes a lock, and looks at it again before: else it could be the new one of another that was faster.
    const right = take(`${path}.takeover`);
    if ("holder" in right) return right;
    try {
      if (stateOf(path) === "stale") rmSync(path, { force: true });
    } finally {
      right.release();
    }
  }
  throw new Error(`it changed hands ${ATTEMPTS} times`);
}

/**
 * Takes a lock file for this process; its folder must be there. The lock of a process that is gone, as after a kill, counts for nothing, nor does that of another machine or one that
 * this process holds already. Of several processes that find such a lock, one takes it over.
 *
 * @param path The file; it holds process id and host name.
 * @returns    How to give the lock back, which leaves one that is another's by then, or the id of the process that holds it or is about to.
 * @throws DramascopeError `LOCK_FAILED` when the file can be neither made nor read.
 */
export function takeLock(path: string): { release: () => void } | { holder: number } {
  try {
    return take(path);
  } catch (error) {
    throw new DramascopeError(`the lock ${path} cannot be taken: ${(error as Error).message}`, { code: "LOCK_FAILED", cause: error, hint: "Make its folder one that this process may read and write, and remove what stands in the lock's place." });
  }
}
