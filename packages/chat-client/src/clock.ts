import { setTimeout as timeout } from "node:timers/promises";

/** Where time comes from. */
export interface Clock {
  /** Milliseconds since 1970. Never goes back. */
  now(): number;
  /** Waits, 0 or fewer milliseconds not at all. Rejects with the signal's reason when it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Longest wait that a timer of Node can count. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The time of this process: starts at the wall clock's and then counts on evenly, so a wall clock that jumps loses nothing. */
export const systemClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
  sleep: async (ms, signal) => {
    const end = performance.now() + ms;
    for (let left = ms; left > 0; left = end - performance.now()) {
      await timeout(Math.min(left, MAX_TIMER_MS), undefined, signal ? { signal } : {}).catch((error: unknown) => {
        signal?.throwIfAborted();
        throw error;
      });
    }
    signal?.throwIfAborted();
  },
};
