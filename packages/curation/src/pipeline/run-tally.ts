import type { Clock, TeacherEvent } from "@dramascope/chat-client";
import type { OnProgress } from "@dramascope/schema";
import type { DramaProgress } from "./plan-dramas.ts";
import type { CurationEvent, RunProgress } from "./run-options.ts";

/** What a tally reports to and reads from. */
export interface TallyOptions {
  clock: Clock;
  /** Money of the ledger. */
  spent: () => number;
  onEvent: ((event: CurationEvent) => void) | undefined;
  onProgress: OnProgress | undefined;
}

/** A run's own figures, told to whoever listens. */
export class RunTally {
  calls = 0;
  cost = 0;
  readonly #options: TallyOptions;
  #since: number | undefined;
  readonly #figures = { dramasDecided: 0, dramas: 0, ended: 0, done: 0, failed: 0, blocked: 0, parked: 0, inFlight: 0, promptTokens: 0, completionTokens: 0 };

  constructor(options: TallyOptions) {
    this.#options = options;
  }

  progress(): RunProgress {
    const { clock, spent } = this.#options;
    const seconds = this.#since === undefined ? 0 : (clock.now() - this.#since) / 1000;
    return { ...this.#figures, perSecond: seconds > 0 ? this.#figures.ended / seconds : 0, spent: spent() };
  }

  dramas({ total, decided }: DramaProgress): void {
    this.#since ??= this.#options.clock.now();
    this.#figures.dramas = total;
    this.#figures.dramasDecided = decided;
  }

  attempt(event: TeacherEvent): void {
    this.#options.onEvent?.(event);
    if (event.type !== "attempt") return;
    this.calls++;
    this.cost += event.cost;
    this.#figures.promptTokens += event.usage?.promptTokens ?? 0;
    this.#figures.completionTokens += event.usage?.completionTokens ?? 0;
  }

  begun(): void {
    this.#figures.inFlight++;
    this.#tell();
  }

  /** A step ended; `isDecided` when its drama has none left. */
  ended(state: "done" | "failed" | "blocked", isDecided: boolean): void {
    this.#figures.ended++;
    this.#figures[state]++;
    if (isDecided) this.#figures.dramasDecided++;
  }

  parked(): void {
    this.#figures.parked++;
  }

  stale(key: string): void {
    this.#options.onEvent?.({ type: "stale", key });
  }

  left(): void {
    this.#figures.inFlight--;
    this.#tell();
  }

  #tell(): void {
    const { onEvent, onProgress } = this.#options;
    if (!onEvent && !onProgress) return;
    const progress = this.progress();
    onEvent?.({ type: "progress", progress });
    onProgress?.({ phase: "curate", done: progress.dramasDecided, total: progress.dramas, note: `${this.calls} calls, ${progress.inFlight} in flight, spent ${progress.spent.toFixed(3)}` });
  }
}
