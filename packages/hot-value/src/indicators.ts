import type { IndicatorRow, IndicatorScores } from "@dramascope/schema";
import { HotValueError } from "./errors.ts";

/** The eight counts and durations, in the order of every sum and table. */
export const INDICATORS = ["dailyAvgWatchTime", "dailyAvgUv", "favorites", "likes", "sixMonthWatchTime", "sixMonthUv", "comments", "search"] as const;
/** One of the eight counts and durations. */
export type IndicatorName = (typeof INDICATORS)[number];

/** All nine, the completion rate last. */
export const SCORE_NAMES = [...INDICATORS, "completionRate"] as const satisfies readonly (keyof IndicatorRow)[];
/** Share of each of the nine scores in the hot value; not negative, sum 1. */
export type Weights = Record<(typeof SCORE_NAMES)[number], number>;

/** One ninth each. */
export const EQUAL_WEIGHTS: Readonly<Weights> = Object.fromEntries(SCORE_NAMES.map((name) => [name, 1 / SCORE_NAMES.length])) as Weights;

/**
 * Checks nine weights.
 *
 * @throws HotValueError `WEIGHT_MISSING`, `WEIGHT_UNKNOWN`, `WEIGHT_NOT_FINITE`, `WEIGHT_NEGATIVE`, or `WEIGHTS_SUM` when they do not sum to 1 ± 1e-9.
 */
export function validateWeights(weights: unknown): Weights {
  const refuse = (code: string, message: string): never => {
    throw new HotValueError(`weights: ${message}`, { code, hint: `Give one weight for each of ${SCORE_NAMES.join(", ")}, summing to 1.` });
  };
  if (typeof weights !== "object" || weights === null) return refuse("WEIGHT_MISSING", "they must be an object");
  const given = weights as Record<string, unknown>;
  for (const name of SCORE_NAMES) if (!Object.hasOwn(given, name)) refuse("WEIGHT_MISSING", `${name} is missing`);
  for (const name of Object.keys(given)) if (!(SCORE_NAMES as readonly string[]).includes(name)) refuse("WEIGHT_UNKNOWN", `${JSON.stringify(name)} is no indicator`);
  for (const name of SCORE_NAMES) {
    const value = given[name];
    if (typeof value !== "number" || !Number.isFinite(value)) refuse("WEIGHT_NOT_FINITE", `${name} is ${String(value)}`);
    else if (value < 0) refuse("WEIGHT_NEGATIVE", `${name} is ${value}`);
  }
  const sum = SCORE_NAMES.reduce((total, name) => total + (given[name] as number), 0);
  if (Math.abs(sum - 1) > 1e-9) refuse("WEIGHTS_SUM", `they sum to ${sum}`);
  return Object.fromEntries(SCORE_NAMES.map((name) => [name, given[name]])) as Weights;
}

/** Weighted sum of the nine scores in their order (paper, eq. 3). */
export function hotValue(scores: IndicatorScores, weights: Weights): number {
  let sum = 0;
  for (const name of SCORE_NAMES) sum += weights[name] * scores[name];
  return sum;
}
