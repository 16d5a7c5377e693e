/** Shape of the learning rate over a run. */
export type ScheduleType = "linear" | "cosine" | "constant" | "constant_with_warmup" | "cosine_with_min_lr";

/** Share of all steps that SFT warms up over when no number of steps is set. */
export const WARMUP_SHARE = 0.03;

/** A learning-rate schedule. */
export interface Schedule {
  /** Named as in transformers. */
  type: ScheduleType;
  /** Steps of the linear rise from 0. */
  warmupSteps: number;
  /** Steps of the run, warm-up included; after them the rate stays at its end. */
  totalSteps: number;
  /** End rate as a share of the base, for `cosine_with_min_lr`. Default 0. */
  minLrRate?: number;
}

/** Rate that step `step` (from 0) uses. With warm-up the first step has rate 0. */
export function learningRateAt(schedule: Schedule, base: number, step: number): number {
  const { type, warmupSteps, totalSteps, minLrRate = 0 } = schedule;
  if (type === "constant") return base;
  if (step < warmupSteps) return (base * step) / Math.max(1, warmupSteps);
  if (type === "constant_with_warmup") return base;
  const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
  if (type === "linear") return base * Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps));
  const cosine = Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
  return base * (type === "cosine" ? cosine : cosine * (1 - minLrRate) + minLrRate);
}
