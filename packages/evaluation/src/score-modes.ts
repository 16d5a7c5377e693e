import { classOf, LABELS } from "./classes.ts";
import { EvaluationError } from "./errors.ts";

/** Class probabilities behind one answer. */
export interface ScoreDistribution {
  /** Probability of all five digits together, 0 … 1. */
  mass: number;
  /** Share of each class, sum 1; null when the mass is too small. */
  p: number[] | null;
  /** Expected class; null when the mass is too small. */
  expected: number | null;
  /** Standard deviation of the class; null when the mass is too small. */
  std: number | null;
  /** Why the others are null: the digits hold less than `minMass` of the probability. Absent otherwise. */
  reason?: "low-mass";
}

/** Rounding that a log-probability from a float32 model may carry above 0. */
const LOG_TOLERANCE = 1e-3;

/**
 * Expected class from the log-probabilities of the digits 1 … 5. Never the likeliest class times its probability, which for (.02, .08, .15, .35, .40)
 * gives 2.00 where the expectation is 4.03.
 *
 * @param logprobs Natural logarithms, one a class; null or −∞ counts as probability 0.
 * @param options  `minMass` is the least probability that the digits must hold together, default .5.
 * @throws EvaluationError `LOGPROBS_INVALID` when they are not five, or one is NaN or above 0.
 */
export function scoreFromLogprobs(logprobs: readonly (number | null)[], options: { minMass?: number } = {}): ScoreDistribution {
  if (logprobs.length !== LABELS.length || logprobs.some((value) => value !== null && !(value <= LOG_TOLERANCE))) {
    throw new EvaluationError(`[${logprobs.join(", ")}] are not the log-probabilities of five classes`, { code: "LOGPROBS_INVALID", hint: "Give five numbers of at most 0, or null." });
  }
  const raw = logprobs.map((value) => (value === null ? 0 : Math.exp(value)));
  const mass = raw.reduce((a, b) => a + b, 0);
  if (!(mass > 0) || mass < (options.minMass ?? 0.5)) return { mass, p: null, expected: null, std: null, reason: "low-mass" };
  const p = raw.map((value) => value / mass);
  const expected = p.reduce((sum, share, i) => sum + share * (i + 1), 0);
  return { mass, p, expected, std: Math.sqrt(p.reduce((sum, share, i) => sum + share * (i + 1 - expected) ** 2, 0)) };
}

/** One score from several samples of the same item. */
export interface SampleScore {
  /** Valid samples. */
  n: number;
  /** Mean of the valid samples, 1 … 5; null without one. */
  mean: number | null;
  /** Population standard deviation of the valid samples; null without one. */
  std: number | null;
  /** Valid samples by class, lowest first. */
  counts: number[];
  /** Commonest class; of equally common ones that nearest the mean, then the lower; null without a valid sample. */
  majority: number | null;
  /** Why the others are null. Absent otherwise. */
  reason?: "no-valid-sample";
}

/**
 * One score from several samples; a mean of samples' expected classes is the ensemble score.
 *
 * @param scores Classes or real scores, 1 … 5; null and anything outside is a sample without a score.
 */
export function scoreFromSamples(scores: readonly (number | null)[]): SampleScore {
  const valid = scores.filter((score): score is number => score !== null && score >= 1 && score <= 5);
  const counts = LABELS.map((label) => valid.filter((score) => classOf(score) === label).length);
  const n = valid.length;
  if (n === 0) return { n, mean: null, std: null, counts, majority: null, reason: "no-valid-sample" };
  const mean = valid.reduce((a, b) => a + b, 0) / n;
  const std = Math.sqrt(valid.reduce((sum, score) => sum + (score - mean) ** 2, 0) / n);
  const most = Math.max(...counts);
  const majority = LABELS.filter((_, i) => counts[i] === most).reduce((best, label) => (Math.abs(label - mean) < Math.abs(best - mean) ? label : best));
  return { n, mean, std, counts, majority };
}
