import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Process of a lock that still runs; undefined where nothing of the kind is known. Containers get new host names and old process ids: those count for nothing. */
function holderOf(path: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  const [pid = "", host = ""] = text.split(" ");
  return /^[1-9]\d*$/u.test(pid) && host === hostname() && Number(pid) !== process.pid && isAlive(Number(pid)) ? Number(pid) : undefined;
}

/**
 * Takes a lock file for this process; its folder must be there. The lock of a process that is gone, as after a kill, counts for nothing, nor does that of another machine or one that
 * this process holds already.
 *
 * @param path The file; it holds process id and host name.
 * @returns    How to give the lock back, or the id of the process that holds it.
 */
export function takeLock(path: string): { release: () => void } | { holder: number } {
  const own = `${path}.tmp-${process.pid}`;
  writeFileSync(own, `${process.pid} ${hostname()}`);
  try {
    for (;;) {
      try {
        // A link comes with its contents, or not at all.
        linkSync(own, path);
        return { release: () => rmSync(path, { force: true }) };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const holder = holderOf(path);
      if (holder !== undefined) return { holder };
      rmSync(path, { force: true });
    }
  } finally {
    rmSync(own, { force: true });
  }
}
