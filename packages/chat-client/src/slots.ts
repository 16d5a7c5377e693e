import type { Clock } from "./clock.ts";
import { bookSlots, freshPace, type PaceRequest } from "./pace.ts";

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

/** Books sending times in memory, for one process. */
export function memorySlots(limits: Limits, clock: Clock): SlotStore {
  let state = freshPace(clock.now());
  const book = (request: PaceRequest): Promise<number[]> => {
    const booked = bookSlots(state, [request], clock.now(), limits);
    ({ state } = booked);
    return Promise.resolve(booked.times[0]!);
  };
  return {
    take: (count, tokens) => book({ kind: "take", count, tokens }),
    adjust: async (tokens) => {
      await book({ kind: "adjust", tokens });
    },
    slowDown: async (until) => {
      await book({ kind: "slowDown", until });
    },
  };
}
