import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { DramascopeError } from "@dramascope/schema";
import { createCrew } from "./crew.ts";
import { RewardError } from "./errors.ts";
import { resolveOptions, versionOf, type RewardSettings } from "./options.ts";
import type { RewardReference } from "./score.ts";
import { unscored, type PooledScore, type ScoreTask } from "./task.ts";

/** One completion with what it is compared with. */
export interface RewardItem {
  /** The model's whole answer. */
  completion: string;
  /** Items may share one object, or be equal: a reference is prepared once. A broken one makes its items null, no others. */
  reference: RewardReference;
}

/** Options of {@link RewardPool.score}. */
export interface PoolScoreOptions {
  /** Rejects with the signal's reason and drops what has not been scored. */
  signal?: AbortSignal;
  /** Adds `details` to each result. Default: the pool's reward option `details`. */
  details?: boolean;
}

/** Options of {@link createRewardPool}. */
export interface RewardPoolOptions {
  /** Threads. Default: as many as the machine runs at once. */
  workers?: number;
  /** How completions are scored. Default: as the paper has it. */
  reward?: RewardSettings;
}

/** Worker threads that score completions. */
export interface RewardPool {
  /** Version of package and options; results compare only under one. */
  readonly version: string;
  /** Threads that are up now. */
  readonly ready: number;
  /** Resolves once a thread is up; rejects with `WORKER_UNAVAILABLE` when none can be started. */
  whenReady(): Promise<void>;
  /**
   * Scores items; results stand in the order of the items. An item whose reference is broken, or whose thread died twice, is null with its error,
   * never 0.
   *
   * @throws RewardError `POOL_CLOSED`, `WORKER_UNAVAILABLE`; the signal's reason.
   */
  score(items: readonly RewardItem[], options?: PoolScoreOptions): Promise<PooledScore[]>;
  /** Finishes what was given, then ends the threads. Until then they keep the process alive. */
  close(): Promise<void>;
}

/** Items of a task: enough to make the way to the thread and the reference's preparation worth it, few enough to spread a batch evenly. */
const MIN_TASK_ITEMS = 4;
const MAX_TASK_ITEMS = 16;

/** A task and the places of its items in the batch. */
interface PlacedTask {
  task: ScoreTask;
  places: number[];
}

/** A reference as JSON. What cannot be right is not written out: it may be nested more deeply than JSON can be made. */
function referenceJson({ score, caption, comments }: { score: unknown; caption: unknown; comments: unknown }): string {
  const textOrNull = (value: unknown): string | null => (typeof value === "string" ? value : null);
  return JSON.stringify({ score: typeof score === "number" ? score : typeof score, caption: textOrNull(caption), comments: Array.isArray(comments) ? comments.map(textOrNull) : null });
}

/** Places of the items of each reference, by the reference's JSON. */
function placesByReference(items: readonly RewardItem[]): Map<string, number[]> {
  const jsonOf = new Map<RewardReference, string>();
  const places = new Map<string, number[]>();
  items.forEach(({ reference }, place) => {
    let json = jsonOf.get(reference);
    if (json === undefined) jsonOf.set(reference, (json = referenceJson(reference)));
    const known = places.get(json);
    if (known) known.push(place);
    else places.set(json, [place]);
  });
  return places;
}

/** Cuts a batch into tasks; items of one reference stay together where they fit. */
function cutIntoTasks(items: readonly RewardItem[], workers: number, details: boolean): PlacedTask[] {
  const size = Math.min(MAX_TASK_ITEMS, Math.max(MIN_TASK_ITEMS, Math.ceil(items.length / (2 * workers))));
  const tasks: PlacedTask[] = [];
  let open: PlacedTask | undefined;
  for (const [reference, places] of placesByReference(items)) {
    for (let start = 0; start < places.length; start += size) {
      const part = places.slice(start, start + size);
      if (open === undefined || open.places.length + part.length > size) tasks.push((open = { task: { references: [], items: [], details }, places: [] }));
      const number = open.task.references.push(reference) - 1;
      for (const place of part) {
        open.task.items.push([number, items[place]!.completion]);
        open.places.push(place);
      }
    }
  }
  return tasks;
}

/** The thread's module stands beside this one, as TypeScript in the sources and as JavaScript in the built package. */
function startWorker(workerData: object): Worker {
  if (import.meta.url.endsWith(".ts")) return new Worker(new URL("./worker.ts", import.meta.url), { workerData, execArgv: ["--conditions=@dramascope/source"] });
  return new Worker(new URL("./worker.js", import.meta.url), { workerData });
}

/**
 * Starts threads that score batches: the same numbers as {@link scoreCompletion}, on all cores.
 *
 * @throws RewardError `WEIGHTS_INVALID`, `OPTIONS_INVALID`.
 */
export function createRewardPool(options: RewardPoolOptions = {}): RewardPool {
  const { workers = availableParallelism(), reward: settings = {} } = options;
  if (!Number.isSafeInteger(workers) || workers < 1) throw new RewardError(`workers is ${workers}, expected a positive integer`, { code: "OPTIONS_INVALID", hint: "Leave it out for one a core." });
  const reward = resolveOptions(settings);
  const version = versionOf(reward);
  const crew = createCrew<ScoreTask, PooledScore[]>(workers, () => startWorker({ settings, version }));
  const runTask = async ({ task, places }: PlacedTask, signal: AbortSignal | undefined): Promise<PooledScore[]> => {
    try {
      return await crew.run(task, signal);
    } catch (error) {
      if (!DramascopeError.isInstance(error) || error.code !== "WORKER_LOST") throw error;
      return places.map(() => unscored({ code: error.code, message: error.message }, version));
    }
  };
  return {
    version,
    get ready() {
      return crew.ready;
    },
    whenReady: () => crew.whenReady(),
    close: () => crew.close(),
    score: async (items, { signal, details = reward.details } = {}) => {
      const results = new Array<PooledScore>(items.length);
      await Promise.all(
        cutIntoTasks(items, workers, details).map(async (placed) => {
          const scores = await runTask(placed, signal);
          placed.places.forEach((place, i) => (results[place] = scores[i]!));
        }),
      );
      return results;
    },
  };
}
