import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Progress } from "@dramascope/schema";

/** How one of several workers ended. */
export interface WorkerEnd {
  /** From 1. */
  worker: number;
  pid: number | undefined;
  /** Exit code; null when a signal ended it. */
  code: number | null;
  signal: string | null;
  /** The JSON object of its standard output; null where there is none. */
  result: Record<string, unknown> | null;
}

/** What {@link superviseWorkers} needs. */
export interface WorkerOptions {
  count: number;
  /** Words of the command after the program's name. */
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** Aborting asks every worker to stop as SIGTERM does. */
  signal: AbortSignal;
  /** A worker's process is there. */
  onStart: (worker: number, pid: number) => void;
  /** Progress of one worker. */
  onProgress: (worker: number, progress: Progress) => void;
  /** Any other line that a worker writes for people. */
  onLine: (worker: number, line: string) => void;
}

const isSource = import.meta.url.endsWith(".ts");
const PROGRAM = [...(isSource ? ["--conditions=@dramascope/source"] : []), fileURLToPath(new URL(isSource ? "./bin.ts" : "./bin.js", import.meta.url))];

/** A line of NDJSON as an object; undefined for any other line. */
function objectOf(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function startWorker(worker: number, { args, env, signal, onStart, onProgress, onLine }: WorkerOptions): Promise<WorkerEnd> {
  // In a group of its own, so that Ctrl-C reaches a worker once, from here; the channel tells it when this process is gone.
  const child = spawn(process.execPath, [...PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe", "ipc"], detached: true, env });
  child.once("spawn", () => onStart(worker, child.pid!));
  let result: WorkerEnd["result"] = null;
  createInterface({ input: child.stdout! }).on("line", (line) => (result = objectOf(line) ?? result));
  createInterface({ input: child.stderr! }).on("line", (line) => {
    const event = objectOf(line);
    if (event?.["event"] === "progress") {
      const { event: _event, ...progress } = event;
      onProgress(worker, progress as unknown as Progress);
    } else onLine(worker, line);
  });
  const stop = (): void => void child.kill("SIGTERM");
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (code, endedBy) => {
      signal.removeEventListener("abort", stop);
      resolve({ worker, pid: child.pid, code, signal: endedBy, result });
    });
  });
}

/** Runs a command in so many processes at once until all of them have ended. None is started again: what a dead one held, the others take over once its leases have run out. */
export function superviseWorkers(options: WorkerOptions): Promise<WorkerEnd[]> {
  return Promise.all(Array.from({ length: options.count }, (_, i) => startWorker(i + 1, options)));
}
