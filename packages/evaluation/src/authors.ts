import { EvaluationError } from "./errors.ts";
import { pearson } from "./correlation.ts";
import { scoreOf, type Prediction } from "./predictions.ts";

/** The three figures as the authors' released script computes them: over the ids in both files, so that leaving hard items out improves all three. */
export interface AuthorsMetrics {
  /** Share of equal classes, 0 … 1. */
  accuracy: number;
  /** Mean squared error, in squared classes. */
  mse: number;
  /** Pearson's correlation; null with fewer than two ids or where a side is constant. */
  pcc: number | null;
}

/** The three figures as the authors' released script prints them, with four decimals. */
export interface AuthorsPrintout {
  /** Ids in both files. */
  n: number;
  /** For example `0.4380`. */
  accuracy: string;
  /** For example `1.9620`. */
  mse: string;
  /** For example `0.5020`; `nan` where it does not exist. */
  pcc: string;
}

/**
 * A number with four decimals, ties to even, as Python's `%.4f` prints it; JavaScript's `toFixed` rounds the same binary value, but ties up.
 * Only odd multiples of 1/32 are ties that a double can hold.
 */
function fourDecimals(value: number): string {
  const isTie = Math.abs((value * 32) % 2) === 1;
  if (!isTie) return value.toFixed(4);
  const below = Math.floor(Math.abs(value) * 10_000);
  return ((Math.sign(value) * (below % 2 === 0 ? below : below + 1)) / 10_000).toFixed(4);
}

/**
 * The three figures of the authors' released script: accuracy, mean squared error, Pearson's correlation over the ids in both maps.
 *
 * @throws EvaluationError `NO_OVERLAP` when no id is in both, `NON_INTEGER` for a prediction that is not an integer.
 */
export function authorsFigures(truth: ReadonlyMap<string, number>, predictions: ReadonlyMap<string, Prediction | null>): { metrics: AuthorsMetrics; compat: AuthorsPrintout } {
  const gold: number[] = [];
  const answers: number[] = [];
  for (const [id, label] of truth) {
    const prediction = predictions.get(id) ?? null;
    if (prediction === null) continue;
    const answer = scoreOf(prediction);
    if (!Number.isInteger(answer)) throw new EvaluationError(`the prediction of ${id} is ${answer}, which is not an integer: the authors' script refuses it`, { code: "NON_INTEGER", hint: "Leave out compat for real-valued predictions." });
    gold.push(label);
    answers.push(answer);
  }
  const n = gold.length;
  if (n === 0) throw new EvaluationError("no id stands in both files", { code: "NO_OVERLAP", hint: "Check that both files use the same ids." });
  const mean = (term: (answer: number, i: number) => number): number => answers.reduce((sum, answer, i) => sum + term(answer, i), 0) / n;
  const accuracy = mean((answer, i) => (answer === gold[i] ? 1 : 0));
  const mse = mean((answer, i) => (answer - gold[i]!) ** 2);
  const pcc = pearson(gold, answers);
  return { metrics: { accuracy, mse, pcc }, compat: { n, accuracy: fourDecimals(accuracy), mse: fourDecimals(mse), pcc: pcc === null ? "nan" : fourDecimals(pcc) } };
}

/** What to know of the script's figures on files with missing answers. */
export const PARTIAL_WARNING = "the authors' script leaves unanswered items out: dropping hard ones improves all three of its figures";
