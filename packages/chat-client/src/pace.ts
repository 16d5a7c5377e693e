import type { Limits } from "./slots.ts";

/** What is known of a provider's pace, by one process or by workers together. Times are milliseconds of one clock. */
export interface PaceState {
  /** When the next request may go. */
  nextRequest: number;
  /** When the tokens booked so far are used up. */
  nextTokens: number;
  /** Tokens of the largest request so far. */
  largest: number;
  /** After a 429: nobody sends before. */
  blockedUntil: number;
  /** Share of the full pace, in (0, 1], at `paceSince`. */
  pace: number;
  paceSince: number;
  /** Until then further 429s are news of the same congestion. */
  heardUntil: number;
  /** The last time on the clock. */
  seenAt: number;
}

/** What is asked of a pace: sending times, a correction of tokens, or less after a 429. */
export type PaceRequest = { kind: "take"; count: number; tokens: number } | { kind: "adjust"; tokens: number } | { kind: "slowDown"; until: number };

/** Length of a window where limits name none, milliseconds. */
export const WINDOW_MS = 60_000;
/** Share of the limit that is used; the rest takes up what networks and timers add to the spacing. */
export const USED_SHARE = 0.98;
const MIN_PACE = 1 / 64;
const PACE_STEP = 0.05;
/** Steps in which the pace comes back, in a window. */
const STEPS = 12;
/** Less is no jump of a clock. */
const JUMP_MS = 1_000;

/** The pace before anybody has sent anything. */
export const freshPace = (now: number): PaceState => ({ nextRequest: 0, nextTokens: 0, largest: 0, blockedUntil: 0, pace: 1, paceSince: now, heardUntil: 0, seenAt: now });

/** The state by a clock that was set back: what lay ahead lies as far ahead as before. */
function afterJump(state: PaceState, now: number): PaceState {
  const back = state.seenAt - now;
  if (back < JUMP_MS) return state;
  return { ...state, nextRequest: state.nextRequest - back, nextTokens: state.nextTokens - back, blockedUntil: state.blockedUntil - back, paceSince: state.paceSince - back, heardUntil: state.heardUntil - back };
}

/**
 * Books requests evenly: additive increase, multiplicative decrease, no window of the provider's fuller than its limit. Pure, so that it serves in memory and in a server's transaction.
 *
 * @returns The state afterwards, and sending times for each request in turn, none for those that are no `take`.
 */
export function bookSlots(before: PaceState, requests: readonly PaceRequest[], now: number, { rpm = Infinity, tpm = Infinity, windowMs = WINDOW_MS }: Limits): { state: PaceState; times: number[][] } {
  const state = { ...afterJump(before, now), seenAt: now };
  const paceAt = (time: number): number => Math.min(1, state.pace + PACE_STEP * Math.max(0, Math.floor(((time - state.paceSince) * STEPS) / windowMs)));
  // One large request may stand at each end of a window: the tokens between them must leave room for it.
  const tokenMs = (tokens: number): number => (tokens * windowMs) / Math.max(tpm * USED_SHARE - state.largest, tpm / 2);
  const times = requests.map((request) => {
    if (request.kind === "adjust") {
      state.nextTokens += tokenMs(request.tokens);
      return [];
    }
    if (request.kind === "slowDown") {
      // Many calls in flight hear of the same congestion: it counts once.
      if (now >= state.heardUntil) state.pace = Math.max(MIN_PACE, paceAt(now) / 2);
      state.blockedUntil = Math.max(state.blockedUntil, request.until);
      state.paceSince = Math.max(now, state.blockedUntil);
      state.heardUntil = Math.max(state.blockedUntil, now + windowMs / STEPS);
      return [];
    }
    const each = request.tokens / request.count;
    state.largest = Math.max(state.largest, each);
    return Array.from({ length: request.count }, () => {
      const time = Math.max(now, state.blockedUntil, state.nextRequest, state.nextTokens);
      const slow = 1 / paceAt(time);
      state.nextRequest = time + (windowMs / (rpm * USED_SHARE)) * slow;
      state.nextTokens = time + tokenMs(each) * slow;
      return time;
    });
  });
  return { state, times };
}
