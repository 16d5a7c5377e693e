import { TrainerError } from "./errors.ts";

/** How advantages are made of rewards. */
export interface AdvantageOptions {
  /** Completions of one prompt. */
  numGenerations: number;
  /** What rewards are divided by: the spread of the group, of the whole batch, or nothing; read by `sum_then_normalize` alone. Default `group`. */
  scaleRewards?: "group" | "batch" | "none";
  /** `trl` adds 1e-4 to the sample deviation; `paper` divides by the plain deviation. Default `trl`. */
  convention?: "trl" | "paper";
  /** Deviation of `paper`. Default `population`. */
  std?: "population" | "sample";
  /**
   * Normalises the weighted sum of the components, or each component inside its group, and then their weighted sum over the whole batch
   * (arXiv:2601.05242). Default `sum_then_normalize`.
   */
  aggregation?: "sum_then_normalize" | "normalize_then_sum";
}

/** Advantages of all completions and what to log. */
export interface Advantages {
  advantages: Float64Array;
  /** Weighted sum of each completion's rewards; NaN where nothing could be scored. */
  rewards: Float64Array;
  /** Mean over scored completions; NaN without any. */
  reward: number;
  /** Sample deviation over scored completions of the whole batch; NaN with fewer than two. */
  rewardStd: number;
  /** Share of groups whose rewards do not differ; where the spread is the batch's, 1 when no reward of the batch differs, else 0. */
  fracRewardZeroStd: number;
}

/** Rewards this close carry no preference, whatever rounding makes of them. */
const DEGENERATE_RANGE = 1e-9;
const TRL_EPSILON = 1e-4;

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Deviation with `ddof` degrees of freedom taken off; NaN of too few values. */
function deviation(values: readonly number[], ddof: 0 | 1): number {
  if (values.length <= ddof) return Number.NaN;
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - ddof));
}

const isKnown = (value: number): boolean => !Number.isNaN(value);
const isLevel = (values: readonly number[]): boolean => Math.max(...values) - Math.min(...values) <= DEGENERATE_RANGE;

/** Formula of a normalisation. */
interface Scale {
  ddof: 0 | 1;
  epsilon: number;
}

/** Known values minus their mean, over their deviation; 0 for all where they do not differ or are fewer than two, and for unknown ones. */
function standardise(values: readonly number[], { ddof, epsilon }: Scale): number[] {
  const known = values.filter(isKnown);
  if (known.length < 2 || isLevel(known)) return values.map(() => 0);
  const [centre, divisor] = [mean(known), deviation(known, ddof) + epsilon];
  return values.map((value) => (isKnown(value) ? (value - centre) / divisor : 0));
}

/** Groups of `size` values. */
const groupsOf = (values: Float64Array, size: number): number[][] =>
  Array.from({ length: values.length / size }, (_, g) => Array.from(values.subarray(g * size, (g + 1) * size)));

/** Weighted sum of components that were normalised inside their groups, NaN where nothing was scored. */
function normalisedSums(rewards: readonly (readonly (number | null)[])[], weights: readonly number[], totals: Float64Array, size: number, scale: Scale): Float64Array {
  const sums = totals.map((total) => (isKnown(total) ? 0 : Number.NaN));
  weights.forEach((weight, k) => {
    const column = Float64Array.from(rewards, (row) => row[k] ?? Number.NaN);
    groupsOf(column, size).forEach((group, g) => standardise(group, scale).forEach((value, i) => (sums[g * size + i]! += weight * value)));
  });
  return sums;
}

/**
 * Group-relative advantages (paper, eq. 11; the default gives the numbers of TRL's `GRPOTrainer`).
 *
 * @param rewards One row a completion, one entry a component; null was not scored and is left out of the weighted sum.
 * @param weights One a component.
 * @returns       0 for completions without any score, and for whole groups with fewer than two scored completions or rewards that differ by no more than 1e-9.
 * @throws TrainerError `REWARD_GROUPS` when the rows do not make whole groups or have not one entry a weight.
 */
export function groupAdvantages(rewards: readonly (readonly (number | null)[])[], weights: readonly number[], options: AdvantageOptions): Advantages {
  const { numGenerations: size, scaleRewards = "group", convention = "trl", std = "population", aggregation = "sum_then_normalize" } = options;
  if (size < 1 || rewards.length % size !== 0) {
    throw new TrainerError(`${rewards.length} rewards do not make whole groups of ${size}`, { code: "REWARD_GROUPS", hint: "Give every prompt the same number of completions." });
  }
  const odd = rewards.findIndex((row) => row.length !== weights.length);
  if (odd >= 0) throw new TrainerError(`completion ${odd} has ${rewards[odd]!.length} reward components for ${weights.length} weights`, { code: "REWARD_GROUPS", hint: "Give one reward, or null, for each weight." });
  const totals = Float64Array.from(rewards, (row) =>
    row.every((value) => value === null) ? Number.NaN : row.reduce<number>((sum, value, k) => sum + (value === null ? 0 : weights[k]! * value), 0),
  );
  const scale: Scale = convention === "trl" ? { ddof: 1, epsilon: TRL_EPSILON } : { ddof: std === "sample" ? 1 : 0, epsilon: 0 };
  const isSummedLast = aggregation === "normalize_then_sum";
  const values = isSummedLast ? normalisedSums(rewards, weights, totals, size, scale) : totals;
  const known = Array.from(values).filter(isKnown);
  const batch = { centre: mean(known), divisor: deviation(known, scale.ddof) + scale.epsilon };
  const advantages = new Float64Array(rewards.length);
  let level = 0;
  groupsOf(values, size).forEach((group, g) => {
    const scored = group.filter(isKnown);
    const isEqual = scored.length >= 2 && isLevel(scored);
    if (isEqual) level++;
    if (isEqual || scored.length < 2) return;
    const centre = isSummedLast ? batch.centre : mean(scored);
    const divisor = isSummedLast || scaleRewards === "batch" ? batch.divisor : scaleRewards === "none" ? 1 : deviation(scored, scale.ddof) + scale.epsilon;
    group.forEach((value, i) => {
      if (isKnown(value)) advantages[g * size + i] = (value - centre) / divisor;
    });
  });
  const scored = Array.from(totals).filter(isKnown);
  const isBatchWide = isSummedLast || scaleRewards === "batch";
  const fracRewardZeroStd = isBatchWide ? Number(known.length >= 2 && isLevel(known)) : level / Math.max(1, rewards.length / size);
  return { advantages, rewards: totals, reward: mean(scored), rewardStd: deviation(scored, 1), fracRewardZeroStd };
}
