import type { Sample } from "@dramascope/qwen-vl";
import type { RewardBreakdown } from "@dramascope/schema";
import type { Advantages } from "./advantages.ts";

/** Numbers of one step by name; null where there is nothing to tell. */
export type Metrics = Record<string, number | null>;
/** One line of `metrics.jsonl`. Names without `dramascope/` are TRL's. */
export type MetricLine = { step: number } & Metrics;

/** Parts of a completion's reward, in the order of weights. */
export const REWARD_PARTS = ["caption", "comments", "accuracy", "format"] as const;
/** Name of one of {@link REWARD_PARTS}. */
export type RewardPart = (typeof REWARD_PARTS)[number];

/** Mean; null of nothing. */
export const mean = (values: readonly number[]): number | null => (values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length);

function deviation(values: readonly number[]): number | null {
  const centre = mean(values);
  return centre === null || values.length < 2 ? null : Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

function spread(name: string, values: readonly number[]): Metrics {
  const some = values.length > 0;
  return { [`completions/mean_${name}`]: mean(values), [`completions/min_${name}`]: some ? Math.min(...values) : null, [`completions/max_${name}`]: some ? Math.max(...values) : null };
}

/** Share of completions whose text some other completion of their prompt has, too. */
function identicalShare(groups: readonly (readonly Sample[])[]): number {
  let twins = 0;
  for (const group of groups) {
    const counts = new Map<string, number>();
    for (const { text } of group) counts.set(text, (counts.get(text) ?? 0) + 1);
    for (const count of counts.values()) if (count > 1) twins += count;
  }
  return twins / groups.reduce((sum, group) => sum + group.length, 0);
}

/**
 * What to log of one generation: rewards, their parts, lengths in tokens, and under `dramascope/` the share of completions that were
 * not scored and the share with a twin in their group. Deviations are those of the sample; a part that nobody scored is null.
 */
export function generationMetrics(groups: readonly (readonly Sample[])[], scores: readonly RewardBreakdown[], grouped: Advantages): Metrics {
  const flat = groups.flat();
  const ended = flat.filter(({ finishReason }) => finishReason === "stop");
  const lengthsOf = (samples: readonly Sample[]): number[] => samples.map(({ ids }) => ids.length);
  const parts: Metrics = {};
  for (const name of REWARD_PARTS) {
    const known = scores.map((score) => score[name]).filter((value): value is number => value !== null);
    parts[`rewards/${name}/mean`] = mean(known);
    parts[`rewards/${name}/std`] = deviation(known);
  }
  const unscored = Array.from(grouped.rewards).filter(Number.isNaN).length;
  return {
    reward: unscored === flat.length ? null : grouped.reward,
    reward_std: unscored === flat.length ? null : grouped.rewardStd,
    frac_reward_zero_std: grouped.fracRewardZeroStd,
    ...parts,
    ...spread("length", lengthsOf(flat)),
    ...spread("terminated_length", lengthsOf(ended)),
    "completions/clipped_ratio": (flat.length - ended.length) / flat.length,
    "dramascope/unscored_ratio": unscored / flat.length,
    "dramascope/identical_ratio": identicalShare(groups),
  };
}
