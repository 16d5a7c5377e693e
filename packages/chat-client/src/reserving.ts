import type { Clock } from "./clock.ts";
import type { SpendBook, SpendEntry, SpendResult } from "./spend-book.ts";

/** Reservations that wait for money which calls in flight may give back. */
export interface Reserving {
  /** Books an attempt; null when the budget does not allow it although nothing is in flight. Rejects with the signal's reason. */
  reserve(entry: () => SpendEntry, signal?: AbortSignal): Promise<string | null>;
  settle(id: string, result: SpendResult): Promise<void>;
}

/** How often others' calls are looked after. */
const OTHERS_MS = 1000;

/** Books estimates, which are mostly more than what calls cost in the end: a budget is used up only when one does not fit with nothing in flight. */
export function createReserving(book: SpendBook, clock: Clock): Reserving {
  let change = Promise.withResolvers<null>();
  let asking = 0;
  let inFlight = 0;
  let settlements = 0;

  const changed = (): void => {
    const { resolve } = change;
    change = Promise.withResolvers<null>();
    resolve(null);
  };
  const nextChange = async (signal: AbortSignal | undefined): Promise<void> => {
    signal?.throwIfAborted();
    const aborted = Promise.withResolvers<null>();
    const onAbort = (): void => aborted.reject(signal?.reason as Error);
    signal?.addEventListener("abort", onAbort);
    try {
      await Promise.race([change.promise, aborted.promise]);
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  };
  const ask = async (entry: SpendEntry): Promise<string | null> => {
    asking++;
    try {
      const id = await book.reserve(entry);
      if (id !== null) inFlight++;
      return id;
    } finally {
      asking--;
      changed();
    }
  };

  return {
    reserve: async (entry, signal) => {
      for (;;) {
        const before = settlements;
        const id = await ask(entry());
        if (id !== null) return id;
        // Others that are asking at this moment may be in flight soon.
        while (settlements === before && inFlight + asking > 0) await nextChange(signal);
        if (settlements !== before) continue;
        if ((await book.isOpenElsewhere?.()) !== true) return null;
        await clock.sleep(OTHERS_MS, signal);
      }
    },
    settle: async (id, result) => {
      try {
        await book.settle(id, result);
      } finally {
        inFlight--;
        settlements++;
        changed();
      }
    },
  };
}
