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
}

/**
 * Expected class from the log-probabilities of the digits 1 … 5. A missing one (null) counts as probability 0.
 *
 * @param options `minMass` is the least probability that the digits must hold together, default .5.
 */
export function scoreFromLogprobs(logprobs: readonly (number | null)[], options: { minMass?: number } = {}): ScoreDistribution {
  const raw = logprobs.map((value) => (value === null ? 0 : Math.exp(value)));
  const mass = raw.reduce((a, b) => a + b, 0);
  if (!(mass > 0) || mass < (options.minMass ?? 0.5)) return { mass, p: null, expected: null, std: null };
  const p = raw.map((value) => value / mass);
  const expected = p.reduce((sum, share, i) => sum + share * (i + 1), 0);
  return { mass, p, expected, std: Math.sqrt(p.reduce((sum, share, i) => sum + share * (i + 1 - expected) ** 2, 0)) };
}

/** The ⌈(n+1)(1−α)⌉-th smallest absolute residual: half width of a conformal interval; null when n is too small. */
export function conformalQuantile(residuals: ArrayLike<number>, alpha: number): number | null {
  const sorted = Float64Array.from(residuals, Math.abs).sort();
  const rank = Math.ceil((sorted.length + 1) * (1 - alpha) - 1e-12);
  return rank > sorted.length ? null : sorted[rank - 1]!;
}
