import { isLabel } from "./classes.ts";
import { EvaluationError } from "./errors.ts";

/** Refuses a share that is not between 0 and 1. */
export function checkAlpha(alpha: number): void {
  if (!(alpha > 0 && alpha < 1)) throw new EvaluationError(`alpha is ${alpha}`, { code: "OPTION_INVALID", hint: "Give a share between 0 and 1, such as .05." });
}

/** Refuses a number of replicates that is not a positive integer. */
export function checkReplicates(replicates: number): void {
  if (!(Number.isSafeInteger(replicates) && replicates > 0)) throw new EvaluationError(`${replicates} replicates were asked for`, { code: "OPTION_INVALID", hint: "Give a positive integer, such as 2000." });
}

/** Refuses true classes that are none. */
export function checkLabels(gold: ArrayLike<number>): void {
  for (let i = 0; i < gold.length; i++) {
    if (!isLabel(gold[i])) throw new EvaluationError(`true class ${i} is ${String(gold[i])}`, { code: "GOLD_INVALID", hint: "True classes are the integers 1 to 5." });
  }
}

/** Refuses as many of something as there are not true classes. */
export function checkLength(gold: ArrayLike<number>, values: ArrayLike<unknown>, what: string): void {
  if (gold.length !== values.length) throw new EvaluationError(`${gold.length} true classes and ${values.length} ${what} were given`, { code: "LENGTH_MISMATCH", hint: `Give as many ${what} as true classes.` });
}
