import type { Clock } from "@dramascope/chat-client";
import type { StepLedger } from "../ledger/step-ledger.ts";
import type { Leased } from "../ledger/step-types.ts";

/** Whose leases, where and for how long. */
interface LeaseOptions {
  ledger: Pick<StepLedger, "heartbeat">;
  owner: string;
  leaseMs: number;
  clock: Clock;
}

/** A step at work. */
export interface Holding {
  task: Promise<void>;
  /** Until when the step is surely this worker's. */
  until: number;
}

/** Steps that this worker has leased and works on; keeps their leases alive. */
export class HeldSteps {
  readonly steps = new Map<Leased, Holding>();
  readonly #options: LeaseOptions;
  #beatAt: number;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#beatAt = options.clock.now();
  }

  /** A step that is lost is left to its commit, which will be stale. */
  async beat(): Promise<void> {
    const { ledger, owner, leaseMs, clock } = this.#options;
    const now = clock.now();
    this.#beatAt = now;
    const held = [...this.steps];
    if (held.length === 0) return;
    const { lost } = await ledger.heartbeat(held.map(([{ step }]) => step.key), owner, leaseMs);
    const gone = new Set(lost);
    for (const [{ step }, holding] of held) holding.until = gone.has(step.key) ? -Infinity : now + leaseMs;
  }

  /** A process that was stopped takes its own steps up again instead of leasing them anew. */
  async catchUp(): Promise<void> {
    const { clock, leaseMs } = this.#options;
    if (clock.now() - this.#beatAt > leaseMs / 2) await this.beat();
  }

  /** Beats until the signal. */
  async run(end: AbortSignal): Promise<void> {
    const { clock, leaseMs } = this.#options;
    for (;;) {
      const isOver = await clock.sleep(leaseMs / 3, end).then(() => false, () => true);
      if (isOver) return;
      await this.beat();
    }
  }
}
