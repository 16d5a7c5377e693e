import { EvaluationError } from "../errors.ts";

/** One arm's users on one metric. */
export interface Summary {
  /** Mean over users, in the metric's unit; a ratio of means for ratio metrics. */
  mean: number;
  /** Variance of one user (n − 1 below), ≥ 0; for ratio metrics that of the linearised user, as {@link ratioStats} gives it. */
  variance: number;
  /** Users, at least 2. */
  n: number;
}

/** One arm on one metric, for data that is already summed up. */
export interface ArmSummary extends Summary {
  /** Name of a variant of the plan. */
  variant: string;
  /** Name of a metric of the plan. */
  metric: string;
}

/** Largest mean, and standard deviation, whose products stay finite. */
const MAX_MEAN = 1e100;

/** The summary as given. @throws EvaluationError `SUMMARY_INVALID` for fewer than two users, a negative variance or a number that is not finite or beyond 1e100 (a variance beyond 1e200). */
export function checkSummary(summary: Summary, what: string): Summary {
  const { mean, variance, n } = summary;
  if (Math.abs(mean) <= MAX_MEAN && variance >= 0 && variance <= MAX_MEAN ** 2 && Number.isSafeInteger(n) && n >= 2) return summary;
  throw new EvaluationError(`${what}: mean ${mean}, variance ${variance}, n ${n} is not a summary`, {
    code: "SUMMARY_INVALID",
    hint: "Give a mean within ±1e100, a variance from 0 to 1e200 and the number of users, at least 2.",
  });
}

/** Number of users in two columns. @throws EvaluationError `LENGTH_MISMATCH`, and `VALUE_INVALID` for a value that is not finite. */
export function checkPair(first: ArrayLike<number>, second: ArrayLike<number>, what: string): number {
  if (first.length !== second.length || first.length < 2) {
    throw new EvaluationError(`${what}: ${first.length} and ${second.length} values were given`, { code: "LENGTH_MISMATCH", hint: "Give one value a user in both lists, for at least two users." });
  }
  for (const values of [first, second]) for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) throw new EvaluationError(`${what}: value ${i} is ${values[i]!}`, { code: "VALUE_INVALID", hint: "Give a finite number for every user." });
  }
  return first.length;
}
