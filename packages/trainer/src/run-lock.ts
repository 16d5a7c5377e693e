import { rmSync } from "node:fs";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { isProcessAlive } from "@dramascope/schema";
import { TrainerError } from "./errors.ts";

/** Process of a lock that still runs; undefined where nothing of the kind is known. Containers get new host names and old process ids: those count for nothing. */
async function holderOf(path: string): Promise<number | undefined> {
  const text = await readFile(path, "utf8").catch(() => "");
  const [pid = "", host = ""] = text.split(" ");
  return /^[1-9]\d*$/u.test(pid) && host === hostname() && Number(pid) !== process.pid && isProcessAlive(Number(pid)) ? Number(pid) : undefined;
}

/**
 * Takes a run's folder for this process. The lock of a process that is gone, as after a kill, counts for nothing, nor does that of another machine.
 *
 * @returns Gives the folder back.
 * @throws TrainerError `RUN_BUSY` while another process of this machine has it.
 */
export async function lockRun(folder: string): Promise<() => void> {
  const path = join(folder, "run.lock");
  const own = `${path}.tmp-${process.pid}`;
  await writeFile(own, `${process.pid} ${hostname()}`);
  try {
    for (;;) {
      try {
        // A link comes with its contents, or not at all.
        await link(own, path);
        return () => {
          rmSync(path, { force: true });
        };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const holder = await holderOf(path);
      if (holder !== undefined) throw new TrainerError(`${folder} is in use by process ${holder}`, { code: "RUN_BUSY", hint: `Wait for it, or give a new run folder. If that process is no training run, remove ${path}.` });
      await rm(path, { force: true });
    }
  } finally {
    await rm(own, { force: true });
  }
}
