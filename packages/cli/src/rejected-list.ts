import { once } from "node:events";
import { realpath, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { PassThrough } from "node:stream";
import { writeJsonl, type RejectedLine } from "@dramascope/schema";
import { usageError } from "./context.ts";

/** A file of bad lines that is written while they come in. */
export interface RejectedList {
  add(line: RejectedLine): void;
  /** Resolves when the list takes more lines; rejects when it cannot be written. */
  drained(): Promise<void>;
  /** Resolves when the file is there, whole. Without a bad line a file of an earlier run goes, or an empty one is written where a name was given. */
  finish(): Promise<void>;
  /** Leaves what stands at the path as it was, unless the list is finished. */
  discard(): Promise<void>;
}

/** @param isAsked Whether the path was given, rather than the default. */
export function createRejectedList(path: string, isAsked: boolean): RejectedList {
  const lines = new PassThrough({ objectMode: true });
  lines.on("error", () => undefined); // reported by the promise below
  let writing: Promise<unknown> | undefined;
  const write = (): void => {
    if (writing) return;
    writing = writeJsonl(path, lines);
    writing.catch((error: unknown) => lines.destroy(error as Error));
  };
  return {
    add: (line) => {
      write();
      lines.write(line);
    },
    drained: async () => {
      if (lines.destroyed) await writing;
      if (lines.writableNeedDrain) await once(lines, "drain");
    },
    finish: async () => {
      if (isAsked) write();
      lines.end();
      if (writing) await writing;
      else await rm(path, { force: true });
    },
    discard: async () => {
      lines.destroy(new Error("not wanted"));
      await writing?.catch(() => undefined);
    },
  };
}

const whereItIs = (path: string): Promise<string> => realpath(path).catch(async () => join(await realpath(dirname(path)).catch(() => resolve(dirname(path))), basename(path)));

/** Refuses a list of bad lines under the name of a file that it would destroy. Others are by the option that names them. */
export async function checkRejectedPath(path: string, others: Readonly<Record<string, string>>): Promise<void> {
  const place = await whereItIs(path);
  for (const [option, other] of Object.entries(others)) {
    if ((await whereItIs(other)) === place) throw usageError(`the list of bad lines would go to ${path}, which is the file of ${option}`, "Give another name: --rejected FILE.");
  }
}
