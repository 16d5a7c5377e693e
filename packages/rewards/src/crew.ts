import type { Worker } from "node:worker_threads";
import { RewardError } from "./errors.ts";

/** Threads that take jobs from one queue. */
export interface Crew<Job, Reply> {
  /** Threads that are up. */
  readonly ready: number;
  /**
   * Hands a job to the next free thread. A job whose thread dies is given to another one once, alone.
   *
   * @throws RewardError `WORKER_LOST` when the second thread dies too, `WORKER_UNAVAILABLE` when no thread can be started, `POOL_CLOSED`; the signal's reason.
   */
  run(job: Job, signal?: AbortSignal): Promise<Reply>;
  /** Resolves once a thread is up; rejects as `run` does when none can be started. */
  whenReady(): Promise<void>;
  /** Takes no more jobs, finishes those that it has, then ends the threads. */
  close(): Promise<void>;
}

interface Entry<Job, Reply> {
  job: Job;
  resolve: (reply: Reply) => void;
  reject: (error: Error) => void;
  wasLost: boolean;
}

interface Member<Job, Reply> {
  worker: Worker;
  isReady: boolean;
  running: Map<number, Entry<Job, Reply>>;
}

/** One job running and one waiting at the thread, so that it never waits for this thread's turn. */
const DEPTH = 2;
const MAX_FAILED_STARTS = 3;

/**
 * @param size  Threads.
 * @param start Starts one; it must post "ready" once, then `{ id, reply }` for each `{ id, job }`.
 */
export function createCrew<Job, Reply>(size: number, start: () => Worker): Crew<Job, Reply> {
  const members = new Set<Member<Job, Reply>>();
  const queue: Entry<Job, Reply>[] = [];
  const waitingForReady: Pick<PromiseWithResolvers<void>, "resolve" | "reject">[] = [];
  let nextId = 0;
  let failedStarts = 0;
  let isClosed = false;
  let whenIdle: (() => void) | undefined;

  const isIdle = (): boolean => queue.length === 0 && [...members].every(({ running }) => running.size === 0);
  const readyMembers = (): Member<Job, Reply>[] => [...members].filter(({ isReady }) => isReady);

  const give = (member: Member<Job, Reply>, entry: Entry<Job, Reply>): void => {
    const id = nextId++;
    member.running.set(id, entry);
    member.worker.postMessage({ id, job: entry.job });
  };

  /** Lost jobs run alone: should one of them kill its thread again, no other job dies with it. */
  const hasRoom = ({ running }: Member<Job, Reply>, depth: number, entry: Entry<Job, Reply>): boolean =>
    entry.wasLost ? running.size === 0 : running.size < depth && ![...running.values()].some(({ wasLost }) => wasLost);

  const dispatch = (): void => {
    for (let depth = 1; depth <= DEPTH; depth++) {
      for (const member of readyMembers()) {
        if (queue.length > 0 && hasRoom(member, depth, queue[0]!)) give(member, queue.shift()!);
      }
    }
    if (isIdle()) whenIdle?.();
  };

  const giveUp = (cause: unknown): void => {
    const error = new RewardError(`no worker thread could be started in ${MAX_FAILED_STARTS} tries`, { code: "WORKER_UNAVAILABLE", cause, hint: "Check that the machine has memory for another thread." });
    for (const { reject } of [...queue.splice(0), ...waitingForReady.splice(0)]) reject(error);
    failedStarts = 0;
  };

  const lose = (member: Member<Job, Reply>, cause: unknown): void => {
    if (!members.delete(member)) return;
    if (!member.isReady) failedStarts++;
    for (const entry of [...member.running.values()].reverse()) {
      if (entry.wasLost) entry.reject(new RewardError("the worker thread ended twice while it scored this item", { code: "WORKER_LOST", cause, hint: "Leave the item out, or set limits." }));
      else queue.unshift({ ...entry, wasLost: true });
    }
    if (!isClosed || !isIdle()) fill();
    if (members.size === 0) giveUp(cause);
    dispatch();
  };

  const hire = (): void => {
    const worker = start();
    const member: Member<Job, Reply> = { worker, isReady: false, running: new Map() };
    members.add(member);
    let cause: unknown;
    worker.on("error", (error) => (cause = error));
    worker.on("exit", () => lose(member, cause));
    worker.on("message", (message: "ready" | { id: number; reply: Reply }) => {
      if (message === "ready") {
        member.isReady = true;
        failedStarts = 0;
        for (const { resolve } of waitingForReady.splice(0)) resolve();
      } else {
        const entry = member.running.get(message.id);
        member.running.delete(message.id);
        entry?.resolve(message.reply);
      }
      dispatch();
    });
  };

  /** Threads that end before they are up are not replaced for ever: the crew goes on with the others, or gives up when there are none. */
  const fill = (): void => {
    while (members.size < size && failedStarts < MAX_FAILED_STARTS) hire();
  };

  const checkOpen = (): void => {
    if (isClosed) throw new RewardError("the pool is closed", { code: "POOL_CLOSED", hint: "Score before close()." });
  };

  fill();
  return {
    get ready() {
      return readyMembers().length;
    },
    run: (job, signal) =>
      new Promise((resolve, reject) => {
        checkOpen();
        signal?.throwIfAborted();
        const stop = (): void => {
          const place = queue.findIndex((entry) => entry.resolve === finish);
          if (place >= 0) queue.splice(place, 1);
          reject(signal!.reason as Error);
          dispatch();
        };
        const finish = (reply: Reply): void => {
          signal?.removeEventListener("abort", stop);
          resolve(reply);
        };
        const fail = (error: Error): void => {
          signal?.removeEventListener("abort", stop);
          reject(error);
        };
        signal?.addEventListener("abort", stop, { once: true });
        queue.push({ job, resolve: finish, reject: fail, wasLost: false });
        fill();
        dispatch();
      }),
    whenReady: () =>
      new Promise((resolve, reject) => {
        checkOpen();
        if (readyMembers().length > 0) {
          resolve();
          return;
        }
        fill();
        waitingForReady.push({ resolve, reject });
      }),
    close: async () => {
      isClosed = true;
      if (!isIdle()) await new Promise<void>((resolve) => (whenIdle = resolve));
      const leaving = [...members];
      members.clear();
      await Promise.all(leaving.map(({ worker }) => worker.terminate()));
    },
  };
}
