import { VideoError } from "./errors.ts";

/** Gives work its turn: no more than so many pieces at once in this process, first come, first served. */
export class Slots {
  #active = 0;
  readonly #waiting: { limit: number; start: () => void }[] = [];

  /**
   * Waits until fewer than `limit` pieces are at work.
   *
   * @returns Call it when the work is done; later calls do nothing.
   * @throws VideoError `VIDEO_CANCELLED` when the signal comes first.
   */
  async acquire(limit: number, signal?: AbortSignal): Promise<() => void> {
    if (signal?.aborted) throw cancelled();
    if (this.#active >= limit || this.#waiting.length > 0) {
      await new Promise<void>((resolve, reject) => {
        const entry = { limit, start: (): void => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        } };
        const onAbort = (): void => {
          this.#waiting.splice(this.#waiting.indexOf(entry), 1);
          this.#next();
          reject(cancelled());
        };
        signal?.addEventListener("abort", onAbort, { once: true });
        this.#waiting.push(entry);
      });
    } else this.#active++;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#active--;
      this.#next();
    };
  }

  #next(): void {
    while (this.#waiting.length > 0 && this.#active < this.#waiting[0]!.limit) {
      this.#active++;
      this.#waiting.shift()!.start();
    }
  }
}

function cancelled(): VideoError {
  return new VideoError("the work was cancelled", { code: "VIDEO_CANCELLED", hint: "Run again to continue." });
}
