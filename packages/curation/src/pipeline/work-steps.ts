import type { Clock } from "@dramascope/chat-client";
import { setImmediate as turn } from "node:timers/promises";
import type { StepLedger } from "../ledger/step-ledger.ts";
import type { Leased, StageKind } from "../ledger/step-types.ts";
import { HeldSteps, type Holding } from "./held-steps.ts";

/** What {@link workSteps} needs. */
export interface WorkOptions {
  ledger: StepLedger;
  generation: number;
  owner: string;
  concurrency: number;
  leaseMs: number;
  kinds: readonly StageKind[];
  /** Most steps of all workers at once. */
  maxLeased: number;
  clock: Clock;
  /** Nothing is leased any more once it is aborted; what is leased goes on. */
  stop: AbortSignal;
  /** Asks one step and commits what came of it; must not reject. `isHeld` says whether the lease goes on: nothing is to be sent without one. */
  work: (leased: Leased, isHeld: () => boolean) => Promise<void>;
}

/** How long to wait for news from other workers before looking again. */
const WAKE_MS = 1000;

/** Whether steps are waiting or being asked, by anybody. */
export async function hasOpenSteps({ ledger, generation, kinds }: Pick<WorkOptions, "ledger" | "generation" | "kinds">): Promise<boolean> {
  const counts = await ledger.counts(generation);
  return kinds.some((kind) => counts[kind].planned + counts[kind].leased > 0);
}

/**
 * Leases planned steps and works on so many at once until none is left, nor in other workers' hands, or until it is stopped. Ends when all of its steps have ended.
 *
 * @throws What the ledger throws.
 */
export async function workSteps(options: WorkOptions): Promise<void> {
  const { ledger, generation, owner, concurrency, leaseMs, kinds, maxLeased, clock, stop, work } = options;
  const held = new HeldSteps(options);
  const running = held.steps;
  const end = new AbortController();
  let change = Promise.withResolvers<undefined>();
  let failure: { error: unknown } | undefined;
  const isStopped = (): boolean => stop.aborted;
  const fail = (error: unknown): void => {
    failure ??= { error };
    change.resolve(undefined);
  };
  const start = (leased: Leased, until: number): void => {
    const holding: Holding = { until, task: Promise.resolve() };
    running.set(leased, holding);
    holding.task = work(leased, () => clock.now() < holding.until).finally(() => {
      running.delete(leased);
      change.resolve(undefined);
    });
  };
  const beating = held.run(end.signal).catch(fail);
  const stopped = (): void => change.resolve(undefined);
  stop.addEventListener("abort", stopped);
  try {
    while (!isStopped() && !failure) {
      await held.catchUp();
      const room = concurrency - running.size;
      const until = clock.now() + leaseMs;
      const leased = room > 0 ? await ledger.lease({ owner, max: room, ttlMs: leaseMs, generation, kinds, maxLeased }) : [];
      if (isStopped()) {
        await ledger.release(leased.map(({ step }) => step.key), owner);
        break;
      }
      for (const one of leased) start(one, until);
      if (leased.length === 0 && running.size === 0 && !(await hasOpenSteps(options))) break;
      const asleep = new AbortController();
      const news = running.size < concurrency ? [ledger.wake(WAKE_MS, asleep.signal)] : [];
      await Promise.race([change.promise, ...news]).finally(() => asleep.abort());
      change = Promise.withResolvers();
      // Steps that end together make room together.
      await turn();
    }
  } catch (error) {
    fail(error);
  } finally {
    await Promise.all(Array.from(running.values(), ({ task }) => task));
    end.abort();
    await beating;
    stop.removeEventListener("abort", stopped);
  }
  if (failure) throw failure.error;
}
