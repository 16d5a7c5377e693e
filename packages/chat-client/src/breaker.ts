import type { Clock } from "./clock.ts";

/** How many calls may run at once. */
export interface Breaker {
  /** Waits for a place, first come first served; gives the function that leaves it. Rejects with the signal's reason. */
  enter(signal?: AbortSignal): Promise<() => void>;
  /** A call went well: one more place for as many successes as there are places. */
  succeed(): void;
  /** The provider refused a call that was sent at `sentAt` as one too many: half the places. What was sent before the last cut says nothing new. */
  trip(sentAt: number): void;
  /** Places now, at least 1. */
  places(): number;
}

/** Places at the start; more come by doubling. */
const START = 16;

/**
 * Bounds calls at once the way TCP bounds packets: additive increase, multiplicative decrease, and from the start or a cut at most a doubling in
 * each window.
 */
export function createBreaker({ inFlight, windowMs, clock }: { inFlight: number; windowMs: number; clock: Clock }): Breaker {
  const waiting: (() => void)[] = [];
  let running = 0;
  let allowed = inFlight;
  let ramp = { places: Math.min(inFlight, START), since: clock.now() };
  let cutAt = -Infinity;

  const places = (): number => Math.max(1, Math.floor(Math.min(allowed, ramp.places * 2 ** ((clock.now() - ramp.since) / windowMs))));
  const admit = (): void => {
    while (waiting.length > 0 && running < places()) {
      running++;
      waiting.shift()!();
    }
  };
  const leave = (): void => {
    running--;
    admit();
  };
  return {
    enter: async (signal) => {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<() => void>();
      const enterNow = (): void => {
        signal?.removeEventListener("abort", giveUp);
        resolve(leave);
      };
      const giveUp = (): void => {
        waiting.splice(waiting.indexOf(enterNow), 1);
        reject(signal?.reason as Error);
      };
      signal?.addEventListener("abort", giveUp);
      waiting.push(enterNow);
      admit();
      return promise;
    },
    succeed: () => {
      allowed = Math.min(inFlight, allowed + 1 / Math.max(1, allowed));
    },
    trip: (sentAt) => {
      if (sentAt <= cutAt) return;
      cutAt = clock.now();
      allowed = Math.max(1, Math.min(places(), running) / 2);
      ramp = { places: allowed, since: cutAt };
    },
    places,
  };
}
