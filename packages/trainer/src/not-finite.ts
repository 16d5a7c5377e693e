import { TrainerError } from "./errors.ts";

/** Where NaN or infinity was met; the contents of `nan-report.json`. */
export interface NotFiniteReport {
  /** Optimiser step, from 1. */
  step: number;
  /** What was not finite. */
  what: "loss" | "log-probabilities" | "gradient";
  /** Sample, where one is known. */
  sampleId: string | null;
  /** Completion of that sample, from 0. */
  completion: number | null;
  /** Place of the first such value in the row, from 0. */
  position: number | null;
  /** First adapter matrix whose gradient or value is not finite. */
  parameter: string | null;
  /** Smallest and largest finite value there; null when there is none. */
  range: readonly [min: number, max: number] | null;
}

/** NaN or infinity in a step; nothing was updated. */
export class NotFiniteError extends TrainerError {
  readonly report: NotFiniteReport;

  constructor(report: NotFiniteReport) {
    const where = [report.sampleId === null ? "" : `, sample ${report.sampleId}`, report.completion === null ? "" : `, completion ${report.completion}`, report.parameter === null ? "" : `, ${report.parameter}`].join("");
    super(`step ${report.step}${where}: NaN or infinity in the ${report.what}; nothing was updated`, { code: "NOT_FINITE", hint: "Look at nan-report.json in the run folder and at the sample; lower the learning rate, or go on with nanPolicy skip." });
    this.report = report;
  }
}

/** Smallest and largest finite value; null when there is none. */
function finiteRange(values: ArrayLike<number>): [number, number] | null {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low <= high ? [low, high] : null;
}

const firstBad = (values: ArrayLike<number>): number => Array.prototype.findIndex.call(values, (value: number) => !Number.isFinite(value));

/**
 * Refuses log-probabilities that are not finite.
 *
 * @param rows One a completion.
 * @throws NotFiniteError
 */
export function checkLogProbs(step: number, sampleId: string, rows: readonly ArrayLike<number>[]): void {
  for (const [completion, row] of rows.entries()) {
    const position = firstBad(row);
    if (position >= 0) throw new NotFiniteError({ step, what: "log-probabilities", sampleId, completion, position, parameter: null, range: finiteRange(row) });
  }
}

/**
 * Refuses a loss or gradients that are not finite.
 *
 * @param norm  Norm of all gradients.
 * @param names Names of the gradients, in their order.
 * @throws NotFiniteError
 */
export function checkUpdate(step: number, { loss, norm, grads, names }: { loss: number; norm: number; grads: readonly Float32Array[]; names: readonly string[] }): void {
  if (Number.isFinite(loss) && Number.isFinite(norm)) return;
  const bad = grads.findIndex((grad) => firstBad(grad) >= 0);
  const place = bad < 0 ? { position: null, parameter: null, range: null } : { position: firstBad(grads[bad]!), parameter: names[bad]!, range: finiteRange(grads[bad]!) };
  throw new NotFiniteError({ step, what: Number.isFinite(loss) ? "gradient" : "loss", sampleId: null, completion: null, ...place });
}
