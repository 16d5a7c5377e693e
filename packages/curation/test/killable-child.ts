import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { StepLedger, StepRow } from "@dramascope/curation";
import type { KillableOptions } from "./killable-run.ts";

/** A run in a process of its own. */
export interface RunChild {
  process: ChildProcess;
  /** Exit code; null after a signal. */
  ended: Promise<number | null>;
  hasEnded: () => boolean;
  /** What it wrote for people so far. */
  errors: () => string;
}

const PROGRAM = fileURLToPath(new URL("killable-run.ts", import.meta.url));

/** Starts a run that can be killed. */
export function startRun(baseURL: string, folder: string, count: number, more: KillableOptions = {}): RunChild {
  const child = spawn(process.execPath, ["--conditions=@dramascope/source", PROGRAM, baseURL, folder, String(count), JSON.stringify(more)], { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  let hasEnded = false;
  const ended = new Promise<number | null>((resolve) =>
    child.once("close", (code) => {
      hasEnded = true;
      resolve(code);
    }),
  );
  return { process: child, ended, hasEnded: () => hasEnded, errors: () => errors };
}

/** Waits until something is so, or a child has ended. */
export async function until(isSo: () => boolean, ...children: RunChild[]): Promise<void> {
  while (!isSo() && !(children.length > 0 && children.every((child) => child.hasEnded()))) await sleep(4);
}

/** Counts calls in a simulator's journal as it grows. */
export function callCounter(journal: string): () => number {
  const block = Buffer.alloc(1 << 16);
  let [offset, count, rest] = [0, 0, ""];
  return () => {
    const file = openSync(journal, "r");
    try {
      for (let size = readSync(file, block, 0, block.length, offset); size > 0; size = readSync(file, block, 0, block.length, offset)) {
        offset += size;
        const lines = (rest + block.toString("latin1", 0, size)).split("\n");
        rest = lines.pop()!;
        count += lines.filter((line) => line.includes('"ev":"call"')).length;
      }
    } finally {
      closeSync(file);
    }
    return count;
  };
}

/** Lines of a JSONL file; half a line, as a kill leaves it, is none. */
function linesOf<T>(path: string): T[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => (line.endsWith("}") ? [JSON.parse(line) as T] : []));
}

/** Attempts of the runs in a folder that were sent after the ledger had kept the step's answer. */
export function sentAfterKept(folder: string): string[] {
  const kept = new Map<string, number>();
  for (const { key, at } of linesOf<{ key: string; at: number }>(join(folder, "commits.jsonl"))) kept.set(key, Math.min(at, kept.get(key) ?? Infinity));
  const started = linesOf<{ event: string; key: string; at: number }>(join(folder, "journal.jsonl")).filter(({ event }) => event === "start");
  return started.filter(({ key, at }) => at > (kept.get(key) ?? Infinity)).map(({ key }) => key);
}

/** All steps of a ledger, by key: what they are about and what came of them. */
export async function stepsOf(ledger: StepLedger): Promise<string[]> {
  const rows: StepRow[] = [];
  for await (const row of ledger.stream({})) rows.push(row);
  return rows.map(({ key, kind, drama, round, part, generation, state, content, code, finish, model }) => JSON.stringify([key, kind, drama, round, part, generation, state, content, code, finish, model])).sort();
}

/** Every file of a folder by name. */
export const filesOf = (folder: string): Record<string, string> => Object.fromEntries(readdirSync(folder).sort().map((name) => [name, readFileSync(join(folder, name), "utf8")]));
