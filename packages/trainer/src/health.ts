import { mean, REWARD_PARTS, type MetricLine } from "./metrics.ts";

/** A sign that a run goes wrong. */
export interface HealthSign {
  /** Which sign. */
  code: "LOSS_ZERO" | "ZERO_SPREAD" | "CUT_COMPLETIONS" | "NO_FORMAT" | "FAR_FROM_REFERENCE" | "ENTROPY_COLLAPSE" | "REWARD_HACKING" | "IDENTICAL_COMPLETIONS" | "LENGTH_DRIFT" | "UNSCORED";
  /** What is seen and what to do, a sentence each. */
  text: string;
}

type Rule = (lines: readonly MetricLine[]) => string | undefined;

/** Generations that a trend looks at: its first and last half are compared. */
const TREND = 20;
/** Generations that count as a run's start, and as its present. */
const STRETCH = 5;

const percent = (share: number): string => `${Math.round(100 * share)} %`;

const values = (lines: readonly MetricLine[], name: string): number[] => lines.map((line) => line[name]).filter((value): value is number => typeof value === "number");

/** Mean over the first and the last stretch of a run; undefined while they overlap. */
function startAndNow(lines: readonly MetricLine[], name: string): { start: number; now: number } | undefined {
  const all = values(lines, name);
  return all.length < 2 * STRETCH ? undefined : { start: mean(all.slice(0, STRETCH))!, now: mean(all.slice(-STRETCH))! };
}

/** How far the mean moved from the first half of the last generations to the second. */
function trend(lines: readonly MetricLine[], name: string): number {
  const last = values(lines, name).slice(-TREND);
  return last.length < TREND ? 0 : mean(last.slice(TREND / 2))! - mean(last.slice(0, TREND / 2))!;
}

/** Value of the newest line that has it. */
const newest = (lines: readonly MetricLine[], name: string): number => values(lines, name).at(-1) ?? 0;

function rewardHacking(lines: readonly MetricLine[]): string | undefined {
  if (trend(lines, "rewards/accuracy/mean") > -0.05) return undefined;
  const rising = REWARD_PARTS.filter((name) => name !== "accuracy" && trend(lines, `rewards/${name}/mean`) > 0.05);
  if (rising.length === 0) return undefined;
  return `the reward of ${rising.join(" and ")} rises while accuracy falls. Read completions.jsonl for a trick, score with --hardened rewards, or give accuracy more weight.`;
}

function lengthDrift(lines: readonly MetricLine[]): string | undefined {
  const lengths = startAndNow(lines, "completions/mean_length");
  if (!lengths || (lengths.now < 2 * lengths.start && lengths.now > lengths.start / 2)) return undefined;
  return `completions went from ${lengths.start.toFixed(0)} to ${lengths.now.toFixed(0)} tokens. Read some: padding and empty answers both look like this; dr_grpo does not favour length.`;
}

function entropyCollapse(lines: readonly MetricLine[]): string | undefined {
  const entropy = startAndNow(lines, "entropy");
  if (!entropy || entropy.now > 0.2 * entropy.start) return undefined;
  return `entropy fell from ${entropy.start.toFixed(3)} to ${entropy.now.toFixed(3)} nats a token: samples of a group become alike. Lower the learning rate, raise beta or epsilonHigh.`;
}

/** Rules for the lines of steps that generated, oldest first, the newest last. */
const RULES: Readonly<Record<HealthSign["code"], Rule>> = {
  LOSS_ZERO: (lines) =>
    lines.length === 1 && Math.abs(newest(lines, "loss")) < 1e-4 ? "the loss is about 0 by construction while every ratio is 1: advantages of a group sum to 0. Look at reward and grad_norm instead." : undefined,
  ZERO_SPREAD: (lines) => {
    const share = newest(lines, "frac_reward_zero_std");
    return share > 0.8 ? `${percent(share)} of the groups have equal rewards and teach nothing. Draw more completions, raise the temperature, or take harder samples.` : undefined;
  },
  CUT_COMPLETIONS: (lines) => {
    const share = newest(lines, "completions/clipped_ratio");
    return share > 0.5 ? `${percent(share)} of the completions were cut. Raise maxCompletionLength, or train SFT longer on whole answers.` : undefined;
  },
  NO_FORMAT: (lines) => {
    const last = values(lines, "rewards/format/mean").slice(-TREND);
    return last.length === TREND && last.every((value) => value === 0) ? `no completion had the wanted form in ${TREND} generations. The prompt asks for tags: train SFT on tags first, or look at preview/.` : undefined;
  },
  FAR_FROM_REFERENCE: (lines) => {
    const kl = newest(lines, "kl");
    return kl > 1 ? `the policy is ${kl.toFixed(2)} nats a token away from its reference. Raise beta or lower the learning rate.` : undefined;
  },
  ENTROPY_COLLAPSE: entropyCollapse,
  REWARD_HACKING: rewardHacking,
  IDENTICAL_COMPLETIONS: (lines) => {
    const share = newest(lines, "dramascope/identical_ratio");
    return share > 0.5 ? `${percent(share)} of the completions say the same as another of their group. Raise the temperature, or stop: the policy has settled.` : undefined;
  },
  LENGTH_DRIFT: lengthDrift,
  UNSCORED: (lines) => {
    const share = newest(lines, "dramascope/unscored_ratio");
    return share > 0 ? `${percent(share)} of the completions could not be scored and are left out. The reasons stand in completions.jsonl.` : undefined;
  },
};

/**
 * Signs that the newest of a GRPO run's metric lines shows; oldest line first. A function of the lines alone, so that a resumed run says the same.
 * Steps that did not generate are passed over.
 */
export function healthSigns(lines: readonly MetricLine[]): HealthSign[] {
  const generations = lines.filter((line) => "frac_reward_zero_std" in line);
  if (generations.length === 0) return [];
  return (Object.entries(RULES) as [HealthSign["code"], Rule][]).flatMap(([code, rule]) => {
    const text = rule(generations);
    return text === undefined ? [] : [{ code, text }];
  });
}

/** Signs that the newest line shows and the one before it did not. */
export function newHealthSigns(lines: readonly MetricLine[]): HealthSign[] {
  const before = new Set(healthSigns(lines.slice(0, -1)).map(({ code }) => code));
  return healthSigns(lines).filter(({ code }) => !before.has(code));
}
