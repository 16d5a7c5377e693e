/** Milliseconds for which a call may hold the event loop. */
const HOLD = 10;

/** How a long call gets along with everything else in the process: it lets timers, sockets and signal handlers run, and stops on its signal. */
export class Pace {
  readonly signal: AbortSignal | undefined;
  #since = performance.now();

  constructor(signal?: AbortSignal) {
    this.signal = signal;
  }

  /** Lets the event loop go round once when it was held for long; throws the signal's reason when that is aborted. */
  async breathe(): Promise<void> {
    if (performance.now() - this.#since >= HOLD) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#since = performance.now();
    }
    this.signal?.throwIfAborted();
  }
}
