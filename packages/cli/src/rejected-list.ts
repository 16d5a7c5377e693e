import { closeSync, openSync, writeSync } from "node:fs";
import { realpath, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { writeAtomically, type RejectedLine } from "@dramascope/schema";
import { usageError } from "./context.ts";

/** A file of bad lines that is written while they come in, whole or absent. */
export interface RejectedList {
  /** Takes a line. The file is written at once rather than by and by: readers hand over bad lines without a pause, and a queue of them would grow. */
  add(line: RejectedLine): void;
  /** Resolves when the file is there. Without a bad line a file of an earlier run goes, or an empty one is written where a name was given. */
  finish(): Promise<void>;
  /** Leaves what stands at the path as it was, unless the list is finished. */
  discard(): Promise<void>;
}

/** Characters that are written in one go. */
const CHUNK = 64 * 1024;

/** @param isAsked Whether the path was given, rather than the default. A name that ends in `.gz` is packed. */
export async function openRejectedList(path: string, isAsked: boolean): Promise<RejectedList> {
  const opened = Promise.withResolvers<number>();
  const ended: PromiseWithResolvers<void> = Promise.withResolvers();
  const written = writeAtomically(path, async (temporary) => {
    const file = openSync(temporary, "w");
    opened.resolve(file);
    await ended.promise.finally(() => closeSync(file));
  });
  written.catch(opened.reject);
  const file = await opened.promise;
  let isEmpty = true;
  let pending = "";
  const flush = (): void => {
    for (let bytes: Buffer = path.endsWith(".gz") ? gzipSync(pending) : Buffer.from(pending); bytes.length > 0;) bytes = bytes.subarray(writeSync(file, bytes));
    pending = "";
  };
  const discard = async (): Promise<void> => {
    ended.reject(new Error("the list is not wanted"));
    await written.catch(() => undefined);
  };
  return {
    add: (line) => {
      isEmpty = false;
      pending += `${JSON.stringify(line)}\n`;
      if (pending.length >= CHUNK) flush();
    },
    finish: async () => {
      if (isEmpty && !isAsked) {
        await discard();
        await rm(path, { force: true });
        return;
      }
      flush();
      ended.resolve();
      await written;
    },
    discard,
  };
}

const whereItIs = (path: string): Promise<string> => realpath(path).catch(async () => join(await realpath(dirname(path)).catch(() => resolve(dirname(path))), basename(path)));

/**
 * Where bad lines go: the file that was given, else `rejected.jsonl` beside an output. Refuses the name of a file that the list would destroy.
 *
 * @param others The command's other files, each with the option that names it.
 */
export async function rejectedPath(given: string | undefined, beside: string, others: readonly (readonly [option: string, file: string])[]): Promise<string> {
  const path = given ?? join(dirname(beside), "rejected.jsonl");
  const place = await whereItIs(path);
  for (const [option, other] of others) {
    if ((await whereItIs(other)) === place) throw usageError(`the list of bad lines would go to ${path}, which is the file of ${option}`, "Give another name: --rejected FILE.");
  }
  return path;
}
