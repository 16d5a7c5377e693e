import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** One piece of work. `prefill` gives the logits of the last token; the others sample `n` answers of `tokens` tokens at temperature 1. */
export type Request = { task: "prefill"; ids: readonly number[] } | { task: "generate" | "shared"; ids: readonly number[]; n: number; tokens: number };

/** Type of the matrices of a model. */
export type Dtype = "float32" | "bfloat16";

/** Ids without the special ones, the same every time. */
export function someIds(length: number): number[] {
  return Array.from({ length }, (_, i) => 100 + ((i * 7919) % 1900));
}

/** What a side says of a piece of work. */
export interface Answer {
  seconds: number;
  /** Processor seconds of all its threads. */
  cpuSeconds: number;
  /** Resident memory before the work, MiB. */
  startMiB: number;
  /** Highest resident memory during the work, MiB. */
  peakMiB: number;
  /** Logits [vocabulary] of `prefill`. */
  logits: number[];
}

/** A process that holds a model. */
export interface Side<Q = Request, A = Answer> {
  name: string;
  ask: (request: Q) => Promise<A>;
  end: () => void;
}

/** Starts a process that answers lines; it has loaded its model when this resolves. */
export async function startSide<Q, A>(program: string, args: readonly string[], threads: number): Promise<Side<Q, A>> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, OMP_NUM_THREADS: String(threads), HF_HUB_OFFLINE: "1", TOKENIZERS_PARALLELISM: "false" } });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const { value, done } = (await lines.next()) as IteratorResult<string, undefined>;
    if (done === true) throw new Error(`${args.join(" ")} ended; its own message stands above`);
    return JSON.parse(value) as unknown;
  };
  const { ready } = (await next()) as { ready: string };
  return {
    name: ready,
    ask: async (request) => {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      return (await next()) as A;
    },
    end: () => void child.stdin.end(),
  };
}

/** Our side. */
export function startOurs(folder: string, threads: number, dtype: Dtype): Promise<Side> {
  return startSide(process.execPath, ["--conditions=@dramascope/source", fileURLToPath(new URL("model-run.ts", import.meta.url)), folder, String(threads), dtype], threads);
}

/** The peer: transformers in a Python. */
export function startPeer(python: string, folder: string, threads: number, dtype: Dtype): Promise<Side> {
  return startSide(python, [fileURLToPath(new URL("peers/model/torch_peer.py", import.meta.url)), folder, String(threads), dtype], threads);
}
