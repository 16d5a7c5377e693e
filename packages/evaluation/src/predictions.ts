import { EvaluationError } from "./errors.ts";
import { isLabel } from "./classes.ts";

/** An expected class with the probabilities of the classes behind it. */
export interface ScoredPrediction {
  /** Expected class, 1 … 5. */
  expected: number;
  /** Probability of class 1, 0 … 1; the five sum to 1. */
  p1: number;
  /** Probability of class 2. */
  p2: number;
  /** Probability of class 3. */
  p3: number;
  /** Probability of class 4. */
  p4: number;
  /** Probability of class 5. */
  p5: number;
}

/** One answer: a class, a real number from 1 to 5, or an expected class with its distribution. */
export type Prediction = number | ScoredPrediction;

/** Options of reading predictions. */
export interface CoerceOptions {
  /** Takes strings of exactly one ASCII digit, such as "4", for their number. Default false: a string is an error. */
  coerce?: boolean;
}

/** The rounding that files may have done to probabilities. */
const SUM_TOLERANCE = 1e-3;

const isScore = (value: unknown): value is number => typeof value === "number" && value >= 1 && value <= 5;

/** Probabilities of the five classes of a prediction; null when it has none. */
export function probabilitiesOf(prediction: Prediction | null): number[] | null {
  if (prediction === null || typeof prediction === "number") return null;
  return [prediction.p1, prediction.p2, prediction.p3, prediction.p4, prediction.p5];
}

/** The number of a prediction: itself or its expected class. */
export const scoreOf = (prediction: Prediction): number => (typeof prediction === "number" ? prediction : prediction.expected);

/** Five finite shares that sum to 1, as far as files keep digits. */
export function isDistribution(p: readonly unknown[]): p is number[] {
  return p.length === 5 && p.every((share) => typeof share === "number" && share >= 0 && share <= 1 + SUM_TOLERANCE) && Math.abs((p as number[]).reduce((a, b) => a + b, 0) - 1) <= SUM_TOLERANCE;
}

const SHARES = ["p1", "p2", "p3", "p4", "p5"] as const;

/** An object as a prediction, or what keeps it from being one. */
function parseScored(value: object): Prediction | null | { problem: string } {
  const own = (name: keyof ScoredPrediction): unknown => (Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined);
  const expected = own("expected");
  if (expected === null) return null;
  if (expected === undefined) return { problem: "an object without expected" };
  if (!isScore(expected)) return { problem: `an object whose expected is ${describe(expected)}` };
  const missing = SHARES.filter((name) => own(name) === undefined);
  if (missing.length === SHARES.length) return expected;
  if (missing.length > 0) return { problem: `an object that lacks ${missing.join(", ")}` };
  const p = SHARES.map(own);
  if (!isDistribution(p)) return { problem: `an object whose p1 … p5 are ${p.map(describe).join(", ")}` };
  const [p1, p2, p3, p4, p5] = p as [number, number, number, number, number];
  return { expected, p1, p2, p3, p4, p5 };
}

/**
 * Checks one prediction from outside. An object without p1 … p5 is its number; one whose `expected` is null is a missing answer.
 *
 * @param where Names file or map and id for the error.
 * @throws EvaluationError `PREDICTION_INVALID`.
 */
export function parsePrediction(value: unknown, where: string, { coerce = false }: CoerceOptions = {}): Prediction | null {
  if (value === null || isScore(value)) return value;
  const scored = typeof value === "object" && !Array.isArray(value) ? parseScored(value) : undefined;
  if (scored !== undefined && (scored === null || typeof scored === "number" || !("problem" in scored))) return scored;
  if (coerce && typeof value === "string" && /^[1-5]$/u.test(value)) return Number(value);
  throw new EvaluationError(`${where} is ${scored?.problem ?? describe(value)}`, {
    code: "PREDICTION_INVALID",
    hint: typeof value === "string" ? "Give numbers, or allow strings of one digit with coerce." : "Give a number from 1 to 5, { expected }, { expected, p1 … p5 } with probabilities that sum to 1, or null.",
  });
}

/**
 * Checks one true class from outside.
 *
 * @throws EvaluationError `GOLD_INVALID`.
 */
export function parseLabel(value: unknown, where: string): number {
  if (isLabel(value)) return value;
  throw new EvaluationError(`${where} is ${describe(value)}`, { code: "GOLD_INVALID", hint: "True classes are the integers 1 to 5." });
}

const MAX_SHOWN = 80;

/** A value for an error message, cut short; what is deep is only named. */
function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value);
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
