import type { Usage } from "./types.ts";

/** An attempt that is about to be sent. */
export interface SpendEntry {
  /** Name of the call, for example the step's key. */
  key: string;
  /** 1-based. */
  attempt: number;
  /** Name of the task. */
  task: string;
  /** Id of the drama; empty for a call without a trace. */
  drama: string;
  /** The most that it should cost. */
  estimate: number;
  /** Milliseconds since 1970. */
  at: number;
}

/** How an attempt ended. */
export interface SpendResult {
  /** Money, in the currency of the prices. */
  cost: number;
  /** Kind of outcome, or `aborted` or `not-sent`. */
  outcome: string;
  /** Why it is no answer. */
  code?: string;
  /** Tokens that `cost` was reckoned from; none where nothing was charged. */
  usage?: Usage;
  /** Whether the provider may have charged without saying so; `cost` is then the estimate. */
  isUnknown: boolean;
  /** Milliseconds since 1970. */
  at: number;
}

/** Where money is booked: in memory, or in a ledger that outlives the process. An attempt that never ends stays reserved. */
export interface SpendBook {
  /** Books an attempt before it is sent; durable once it resolves. Gives its id, or null when the budget does not allow it. */
  reserve(entry: SpendEntry): Promise<string | null>;
  /** Replaces an attempt's reservation by what it cost. */
  settle(id: string, result: SpendResult): Promise<void>;
  /** Settled and reserved money. */
  spent(): number;
  /** Whether attempts of other processes are in flight, which may give money back. Default none ever are. */
  isOpenElsewhere?(): Promise<boolean>;
}

/**
 * A spend book that ends with the process.
 *
 * @param maxCost No attempt is allowed whose estimate could bring the spending above this. Default no limit.
 */
export function memorySpendBook(maxCost = Infinity): SpendBook {
  const reserved = new Map<string, number>();
  let settled = 0;
  let attempts = 0;
  const spent = (): number => [...reserved.values()].reduce((sum, estimate) => sum + estimate, settled);
  return {
    reserve: ({ estimate }) => {
      if (spent() + estimate > maxCost) return Promise.resolve(null);
      const id = String(++attempts);
      reserved.set(id, estimate);
      return Promise.resolve(id);
    },
    settle: (id, { cost }) => {
      if (reserved.delete(id)) settled += cost;
      return Promise.resolve();
    },
    spent,
  };
}
