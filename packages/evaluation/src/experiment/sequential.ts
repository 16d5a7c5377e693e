import { checkAlpha } from "../checks.ts";
import { EvaluationError } from "../errors.ts";

/** An estimate as the sequential interval needs it. */
export interface SequentialInput {
  /** Variance of the estimate (its standard error squared). */
  varianceOfMean: number;
  /** Users of both arms. */
  n: number;
}

/** Options of {@link sequentialHalfWidth}. */
export interface SequentialOptions {
  /** One minus the level that holds at all looks together. */
  alpha: number;
  /** Users of both arms at which the interval is to be narrowest; chosen before the experiment. */
  nStar: number;
}

/** ρ = √((−2 ln α + ln(−2 ln α + 1))/n*), dimensionless: tunes the interval to be narrowest at n*. */
export function mixtureScale({ alpha, nStar }: SequentialOptions): number {
  const log = -2 * Math.log(alpha);
  return Math.sqrt((log + Math.log(log + 1)) / nStar);
}

/** Half-width at level α for a ρ chosen before. */
export function halfWidthAt(se: number, n: number, rho: number, alpha: number): number {
  const scaled = n * rho * rho + 1;
  return (se * Math.sqrt((2 * scaled * Math.log(Math.sqrt(scaled) / alpha)) / n)) / rho;
}

/** The level at which the interval just reaches 0: a p value that holds at every look. */
export function alwaysValidP(estimate: number, se: number, n: number, rho: number): number {
  const scaled = n * rho * rho + 1;
  return Math.min(1, Math.sqrt(scaled) * Math.exp((-((estimate / se) ** 2) * n * rho * rho) / (2 * scaled)));
}

/**
 * Half-width of an interval that holds at every look, so that an experiment may be watched and stopped early: the normal mixture
 * boundary (Waudby-Smith and others 2021), √(V·n · 2(nρ²+1)/(nρ)² · ln(√(nρ²+1)/α)). About 1.5 to 2 times the fixed half-width.
 *
 * @returns In the unit of the estimate.
 * @throws EvaluationError `OPTION_INVALID` unless 0 < alpha < 1, n and nStar are positive and the variance is finite and not negative.
 */
export function sequentialHalfWidth(input: SequentialInput, options: SequentialOptions): number {
  checkAlpha(options.alpha);
  const { varianceOfMean, n } = input;
  if (!(n > 0 && options.nStar > 0 && varianceOfMean >= 0 && [n, options.nStar, varianceOfMean].every(Number.isFinite))) {
    throw new EvaluationError(`n ${n}, nStar ${options.nStar}, varianceOfMean ${varianceOfMean} make no interval`, { code: "OPTION_INVALID", hint: "Give positive numbers of users and the variance of the estimate." });
  }
  return halfWidthAt(Math.sqrt(varianceOfMean), n, mixtureScale(options), options.alpha);
}
