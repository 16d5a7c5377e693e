/** Money and calls. The three sums of money make up `spent()`. */
export interface Spending {
  /** Cost of attempts whose cost is known. */
  settled: number;
  /** Charged for attempts that may have been paid: lost in a crash, timed out, cut off. */
  unknown: number;
  /** Estimates of attempts on the way. */
  inFlight: number;
  /** Prompt tokens of the attempts that were answered, estimated where the provider named none. */
  promptTokens: number;
  /** Completion tokens of the same. */
  completionTokens: number;
  /** Attempts. */
  calls: number;
  /** By kind of step; attempts with another task under the task's name. `retries` are attempts beyond the first of each step. */
  byKind: Record<string, { calls: number; cost: number; retries: number }>;
  /** Attempts by outcome; `unknown` and `in-flight` for those without. */
  byOutcome: Record<string, number>;
}
