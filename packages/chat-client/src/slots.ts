import type { Clock } from "./clock.ts";

/** What a provider allows. */
export interface Limits {
  /** Requests in any window. Default no limit. */
  rpm?: number;
  /** Tokens in any window, prompts and answers together. Default no limit. */
  tpm?: number;
  /** Calls at once. Default 64. */
  inFlight?: number;
  /** Length of the window that `rpm` and `tpm` count in, milliseconds. Default 60000. */
  windowMs?: number;
}

/** Where sending times are booked: in memory, or shared by workers. Requests are spaced evenly, so that no window of the provider's, wherever it begins, holds too many. */
export interface SlotStore {
  /** Books `count` requests of `tokens` in all; gives when each may be sent, in milliseconds of the clock. */
  take(count: number, tokens: number): Promise<number[]>;
  /** Corrects the booked tokens after an answer: true minus estimated ones. */
  adjust(tokens: number): Promise<void>;
  /** After the provider's 429: nothing is sent before `untilMs`, the pace halves and comes back in equal steps. */
  slowDown(untilMs: number): Promise<void>;
}

export const WINDOW_MS = 60_000;
/** Share of the limit that is used; the rest takes up what networks and timers add to the spacing. */
export const USED_SHARE = 0.98;
const MIN_PACE = 1 / 64;
const PACE_STEP = 0.05;
/** Steps of the pace in a window. */
const STEPS = 12;

/** Books sending times in memory, for one process. */
export function memorySlots({ rpm = Infinity, tpm = Infinity, windowMs = WINDOW_MS }: Limits, clock: Clock): SlotStore {
  let nextRequest = 0;
  let nextTokens = 0;
  let largest = 0;
  let blockedUntil = 0;
  let pace = 1;
  let paceSince = 0;
  let heardUntil = 0;

  const paceAt = (time: number): number => Math.min(1, pace + PACE_STEP * Math.max(0, Math.floor(((time - paceSince) * STEPS) / windowMs)));
  // One large request may stand at each end of a window: the tokens between them must leave room for it.
  const tokenMs = (tokens: number): number => (tokens * windowMs) / Math.max(tpm * USED_SHARE - largest, tpm / 2);

  return {
    take: (count, tokens) => {
      const each = tokens / count;
      largest = Math.max(largest, each);
      const times = Array.from({ length: count }, () => {
        const time = Math.max(clock.now(), blockedUntil, nextRequest, nextTokens);
        const slow = 1 / paceAt(time);
        nextRequest = time + (windowMs / (rpm * USED_SHARE)) * slow;
        nextTokens = time + tokenMs(each) * slow;
        return time;
      });
      return Promise.resolve(times);
    },
    adjust: (tokens) => {
      nextTokens += tokenMs(tokens);
      return Promise.resolve();
    },
    slowDown: (untilMs) => {
      const now = clock.now();
      // Many calls in flight hear of the same congestion: it counts once.
      if (now >= heardUntil) pace = Math.max(MIN_PACE, paceAt(now) / 2);
      blockedUntil = Math.max(blockedUntil, untilMs);
      paceSince = Math.max(now, blockedUntil);
      heardUntil = Math.max(blockedUntil, now + windowMs / STEPS);
      return Promise.resolve();
    },
  };
}
