import type { Outcome } from "./types.ts";

/** What comes after an attempt: an end, or another attempt after a pause. */
export type Decision =
  | { next: "end"; ending: Exclude<Outcome, { kind: "retry" }> | { kind: "parked"; code: string } }
  | { next: "again"; pauseMs: number; /** How long nobody else sends either; null where nobody was refused. */ blockedMs: number | null; maxTokens: number };

/** Options of {@link createRetryPolicy}. */
export interface RetryPolicyOptions {
  /** Failures that count before the call is parked. */
  maxAttempts: number;
  /** Longest first pause, milliseconds; doubles up to a minute. */
  backoffMs: number;
  /** Most tokens of the answer. */
  maxTokens: number;
  /** Random number in [0, 1). */
  uniform: () => number;
}

const MAX_BACKOFF_MS = 60_000;
const MAX_REDIRECTS = 3;
/** Jitter after a pause that the provider asked for: a tenth of it within these bounds. */
const [MIN_JITTER_MS, MAX_JITTER_MS] = [50, 1000];

/** Decides, for one call, what follows each of its attempts. */
export function createRetryPolicy({ maxAttempts, backoffMs, maxTokens, uniform }: RetryPolicyOptions): (outcome: Outcome) => Decision {
  let failures = 0;
  let refusals = 0;
  let redirects = 0;
  let tokens = maxTokens;
  const backoff = (times: number): number => Math.min(MAX_BACKOFF_MS, backoffMs * 2 ** (times - 1));

  return (outcome) => {
    if (outcome.kind === "unusable" && outcome.code === "TRUNCATED" && tokens === maxTokens) {
      tokens = 2 * maxTokens;
      return { next: "again", pauseMs: 0, blockedMs: null, maxTokens: tokens };
    }
    if (outcome.kind !== "retry") return { next: "end", ending: outcome };
    if (outcome.code === "RATE_LIMITED") {
      // Others wait as long as was asked for; a call that is refused again and again waits longer itself, whatever it is told.
      const own = backoff(++refusals);
      const blockedMs = outcome.retryAfterMs ?? own;
      return { next: "again", pauseMs: Math.max(blockedMs, own) + uniform() * Math.min(MAX_JITTER_MS, Math.max(MIN_JITTER_MS, blockedMs / 10)), blockedMs, maxTokens: tokens };
    }
    if (outcome.code === "REDIRECT" && ++redirects === MAX_REDIRECTS) {
      return { next: "end", ending: { kind: "fatal", code: "REDIRECT", message: "the provider's address leads elsewhere; redirects are not followed" } };
    }
    if (++failures >= maxAttempts) return { next: "end", ending: { kind: "parked", code: outcome.code } };
    return { next: "again", pauseMs: Math.max(outcome.retryAfterMs ?? 0, backoff(failures) * uniform()), blockedMs: null, maxTokens: tokens };
  };
}
