import type { Clock } from "./clock.ts";
import { createSentWindow } from "./sent-window.ts";
import { USED_SHARE, WINDOW_MS } from "./pace.ts";
import { memorySlots, type Limits, type SlotStore } from "./slots.ts";

/** When requests may go out. */
export interface Pacing {
  /**
   * Waits for a sending time of a request of so many tokens. `book` is called once, shortly before that time, for durable books take a moment;
   * false when it refuses.
   */
  admit(tokens: number, book: () => Promise<boolean>, signal?: AbortSignal): Promise<boolean>;
  /** Corrects the tokens of a request after its answer: true minus estimated ones. */
  correct(tokens: number): Promise<void>;
  /** Nothing goes out for so many milliseconds, then less than before. */
  slowDown(ms: number): Promise<void>;
}

const BOOKING_LEAD_MS = 50;
/** Sending times that may be missed in a row before one is used late. */
const MAX_MISSED = 3;

/** Paces requests by a store of sending times, by default one in memory. */
export function createPacing({ limits, slots: shared, clock }: { limits: Limits; slots?: SlotStore | undefined; clock: Clock }): Pacing {
  const { rpm, windowMs = WINDOW_MS } = limits;
  const slots = shared ?? memorySlots(limits, clock);
  const waitForWindow = createSentWindow({ rpm, windowMs }, clock);
  // A time that others reckon with is not used later than by half of what the spacing leaves free.
  const toleranceMs = shared ? (windowMs * (1 / USED_SHARE - 1)) / 2 : Infinity;
  let blockedUntil = 0;

  const correct = async (tokens: number): Promise<void> => {
    if (limits.tpm !== undefined && tokens !== 0) await slots.adjust(tokens);
  };
  return {
    admit: async (tokens, book, signal) => {
      for (let missed = 0, isBooked = false; ; missed++) {
        const [time = 0] = await slots.take(1, tokens);
        await clock.sleep(time - clock.now() - BOOKING_LEAD_MS, signal);
        isBooked ||= await book();
        if (!isBooked) return false;
        await clock.sleep(time - clock.now(), signal);
        if (time >= blockedUntil && (clock.now() - time <= toleranceMs || missed >= MAX_MISSED)) break;
        await correct(-tokens);
      }
      await waitForWindow(signal);
      return true;
    },
    correct,
    slowDown: (ms) => {
      blockedUntil = Math.max(blockedUntil, clock.now() + ms);
      return slots.slowDown(blockedUntil);
    },
  };
}
