import { TrainerError } from "./errors.ts";

/** How advantages are made of rewards. */
export interface AdvantageOptions {
  /** Completions of one prompt. */
  numGenerations: number;
  /** What rewards are divided by: the spread of the group, of the whole batch, or nothing. Default `group`. */
  scaleRewards?: "group" | "batch" | "none";
  /** `trl` adds 1e-4 to the sample deviation; `paper` divides by the plain deviation. Default `trl`. */
  convention?: "trl" | "paper";
  /** Deviation of `paper`. Default `population`. */
  std?: "population" | "sample";
}

/** Advantages of all completions and what to log. */
export interface Advantages {
  advantages: Float64Array;
  /** Weighted sum of each completion's rewards; NaN where nothing could be scored. */
  rewards: Float64Array;
  /** Mean over scored completions. */
  reward: number;
  /** Mean over groups of the sample deviation. */
  rewardStd: number;
  /** Share of groups whose rewards do not differ; under `batch` 1 when no reward of the batch differs, else 0. */
  fracRewardZeroStd: number;
}

/** Rewards this close carry no preference, whatever rounding makes of them. */
const DEGENERATE_RANGE = 1e-9;
const TRL_EPSILON = 1e-4;

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

function deviation(values: readonly number[], ddof: 0 | 1): number {
  if (values.length <= ddof) return 0;
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - ddof));
}

/**
 * Group-relative advantages (paper, eq. 11; the default gives the numbers of TRL's `GRPOTrainer`).
 *
 * @param rewards One row a completion, one entry a component; null was not scored and is left out of the weighted sum.
 * @param weights One a component.
 * @returns       0 for completions without any score, and for whole groups whose rewards differ by no more than 1e-9.
 */
export function groupAdvantages(rewards: readonly (readonly (number | null)[])[], weights: readonly number[], options: AdvantageOptions): Advantages {
  const { numGenerations, scaleRewards = "group", convention = "trl", std = "population" } = options;
  if (numGenerations < 1 || rewards.length % numGenerations !== 0) {
    throw new TrainerError(`${rewards.length} rewards do not make whole groups of ${numGenerations}`, { code: "REWARD_GROUPS", hint: "Give every prompt the same number of completions." });
  }
  const totals = Float64Array.from(rewards, (row) =>
    row.every((value) => value === null) ? Number.NaN : row.reduce<number>((sum, value, k) => sum + (value === null ? 0 : weights[k]! * value), 0),
  );
  const scored = Array.from(totals).filter((value) => !Number.isNaN(value));
  const ddof = convention === "trl" || std === "sample" ? 1 : 0;
  const epsilon = convention === "trl" ? TRL_EPSILON : 0;
  const batchSpread = deviation(scored, ddof);
  const advantages = new Float64Array(rewards.length);
  const deviations: number[] = [];
  let degenerate = 0;
  for (let start = 0; start < totals.length; start += numGenerations) {
    const group = Array.from(totals.subarray(start, start + numGenerations)).filter((value) => !Number.isNaN(value));
    deviations.push(deviation(group, 1));
    const isEqual = group.length >= 2 && Math.max(...group) - Math.min(...group) <= DEGENERATE_RANGE;
    if (isEqual) degenerate++;
    if (isEqual || group.length < 2) continue;
    const centre = mean(group);
    const spread = { group: deviation(group, ddof), batch: batchSpread, none: 1 }[scaleRewards];
    const divisor = scaleRewards === "none" ? 1 : spread + epsilon;
    for (let i = start; i < start + numGenerations; i++) if (!Number.isNaN(totals[i])) advantages[i] = (totals[i]! - centre) / divisor;
  }
  const groups = Math.max(1, totals.length / numGenerations);
  return { advantages, rewards: totals, reward: scored.length === 0 ? 0 : mean(scored), rewardStd: deviations.length === 0 ? 0 : mean(deviations), fracRewardZeroStd: scaleRewards === "batch" ? Number(batchSpread === 0) : degenerate / groups };
}
