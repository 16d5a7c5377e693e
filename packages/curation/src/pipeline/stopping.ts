import type { Clock } from "@dramascope/chat-client";

/** The ways in which a run ends before its time: first no step is begun any more, then calls in flight are cut off. */
export interface Stopping {
  /** Aborted when no step is to be begun any more. */
  readonly soft: AbortSignal;
  /** Aborted when calls in flight are to be left. */
  readonly hard: AbortSignal;
  /** Why, where that is an ordinary end. */
  reason(): "budget" | "signal" | null;
  /** What broke; thrown once everything in flight has ended. */
  failure(): { error: unknown } | undefined;
  /** The budget is used up: calls in flight end by themselves. */
  budgetReached(): void;
  /** Somebody wants the run to end, or no call can succeed: calls in flight get `drainMs`. */
  drain(failure?: { error: unknown }): void;
  /** Nothing can be kept any more: calls in flight are left at once. */
  breakOff(error: unknown): void;
  /** Stops listening and waiting. */
  close(): void;
}

/** Watches over the end of a run. */
export function createStopping({ signal, drainMs, clock }: { signal: AbortSignal | undefined; drainMs: number; clock: Clock }): Stopping {
  const soft = new AbortController();
  const hard = new AbortController();
  const closed = new AbortController();
  let reason: "budget" | "signal" | null = null;
  let failure: { error: unknown } | undefined;
  const drain = (why?: { error: unknown }): void => {
    failure ??= why;
    if (!soft.signal.aborted) soft.abort();
    clock.sleep(drainMs, closed.signal).then(() => hard.abort(), () => undefined);
  };
  const onSignal = (): void => {
    reason ??= "signal";
    drain();
  };
  if (signal?.aborted) onSignal();
  signal?.addEventListener("abort", onSignal);
  return {
    soft: soft.signal,
    hard: hard.signal,
    reason: () => reason,
    failure: () => failure,
    budgetReached: () => {
      reason ??= "budget";
      soft.abort();
    },
    drain,
    breakOff: (error) => {
      failure ??= { error };
      soft.abort();
      hard.abort();
    },
    close: () => {
      signal?.removeEventListener("abort", onSignal);
      closed.abort();
    },
  };
}
