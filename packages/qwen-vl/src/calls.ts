import { QwenVlError } from "./errors.ts";

interface Call {
  name: string;
  /** What nobody may change meanwhile, besides the weights; undefined for calls that change the weights themselves. */
  reads: readonly unknown[] | "everything";
  ended: Promise<unknown>;
}

/** The calls of one model in their order: those that read overlap, those that change weights wait for all before them and run alone. */
export class Calls {
  readonly #calls = new Set<Call>();
  readonly #check: () => void;
  #lastAlone: Promise<unknown> | undefined;

  /** @param check Runs before a call that had to wait; throws when the model is gone. */
  constructor(check: () => void) {
    this.#check = check;
  }

  /** Runs what reads weights and `reads`, at once unless a call that changes weights is before it. */
  shared<T>(name: string, reads: readonly unknown[], work: () => Promise<T>): Promise<T> {
    return this.#track(name, reads, this.#lastAlone === undefined ? work() : this.#after(this.#lastAlone, work));
  }

  /** Runs what changes weights when all calls before it have ended; calls after it wait. */
  alone<T>(name: string, work: () => Promise<T>): Promise<T> {
    const earlier = Promise.allSettled(Array.from(this.#calls, ({ ended }) => ended));
    const result = this.#track(name, "everything", this.#after(earlier, work));
    const ended = result.catch(() => undefined).then(() => {
      if (this.#lastAlone === ended) this.#lastAlone = undefined;
    });
    this.#lastAlone = ended;
    return result;
  }

  /**
   * Refuses a change at once while a call runs or waits that reads what changes.
   *
   * @throws QwenVlError `BUSY`.
   */
  refuse(change: string, changed: unknown): void {
    for (const { name, reads } of this.#calls) {
      if (changed !== "weights" && reads !== "everything" && !reads.includes(changed)) continue;
      throw new QwenVlError(`${change} while ${name} runs`, { code: "BUSY", hint: "Wait for the calls of this model that were begun." });
    }
  }

  async #after<T>(earlier: Promise<unknown>, work: () => Promise<T>): Promise<T> {
    await earlier;
    this.#check();
    return work();
  }

  #track<T>(name: string, reads: Call["reads"], result: Promise<T>): Promise<T> {
    const call: Call = { name, reads, ended: result };
    this.#calls.add(call);
    const end = (): void => {
      this.#calls.delete(call);
    };
    return result.finally(end);
  }
}
