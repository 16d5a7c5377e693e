import { groupAdvantages, type AdvantageOptions } from "./advantages.ts";
import type { CompletionLine } from "./completion-log.ts";
import { TrainerError } from "./errors.ts";
import { REWARD_PARTS, type RewardPart } from "./metrics.ts";

/** Weight of each part of the reward. */
export type PartWeights = Readonly<Record<RewardPart, number>>;

/** Options of {@link reweightCompletions}. */
export interface ReweightOptions {
  /** Weights of the run. */
  before: PartWeights;
  /** Weights to try. */
  after: PartWeights;
  /** How advantages are made of totals; default as `groupAdvantages`. The spread is always the group's. */
  advantages?: Pick<AdvantageOptions, "convention" | "std">;
}

/** What other weights would have changed. */
export interface Reweighting {
  /** Prompts with their completions. */
  groups: number;
  /** Completions of all groups. */
  completions: number;
  /** Completions without any score under the new weights, left out of all figures. */
  unscored: number;
  /** Pearson correlation of the totals before and after, −1 … 1; null when either does not vary. */
  totalCorrelation: number | null;
  /** The same of the advantages. */
  advantageCorrelation: number | null;
  /** Share of the groups, of those with a difference before, whose best completion would be another one; null without such groups. */
  bestChanges: number | null;
  /** Share of completions whose advantage would change its sign. */
  signChanges: number;
  /** Share of groups with equal totals, before and after. */
  zeroSpread: { before: number; after: number };
}

/** Pearson correlation of pairs that come one by one (Welford's sums). */
class RunningCorrelation {
  #count = 0;
  #means = [0, 0];
  #sums = [0, 0, 0];

  add(x: number, y: number): void {
    this.#count++;
    const [meanX, meanY] = this.#means as [number, number];
    const [dx, dy] = [x - meanX, y - meanY];
    this.#means = [meanX + dx / this.#count, meanY + dy / this.#count];
    this.#sums = [this.#sums[0]! + dx * (x - this.#means[0]!), this.#sums[1]! + dy * (y - this.#means[1]!), this.#sums[2]! + dx * (y - this.#means[1]!)];
  }

  /** null when one side does not vary. */
  value(): number | null {
    const [xx, yy, xy] = this.#sums as [number, number, number];
    return xx <= 0 || yy <= 0 ? null : Math.max(-1, Math.min(1, xy / Math.sqrt(xx * yy)));
  }
}

/** Lines of one prompt of one generation. */
async function* inGroups(lines: AsyncIterable<CompletionLine> | Iterable<CompletionLine>): AsyncGenerator<CompletionLine[]> {
  let group: CompletionLine[] = [];
  for await (const line of lines) {
    if (line.index === 0 && group.length > 0) {
      yield group;
      group = [];
    }
    if (line.index !== group.length) {
      throw new TrainerError(`step ${line.step}, sample ${line.id}: completion ${line.index} follows ${group.length === 0 ? "nothing" : `completion ${group.length - 1}`}`, { code: "COMPLETIONS_INVALID", hint: "Give a whole completions.jsonl, in its order." });
    }
    group.push(line);
  }
  if (group.length > 0) yield group;
}

/**
 * What a run's rewards would have been under other weights: yields its completions with new totals and advantages, in order, and returns what changed. No model
 * is needed. It says what the same completions would have taught; a run under those weights would soon have drawn others.
 *
 * @throws TrainerError `COMPLETIONS_INVALID` for lines that are not a log of completions in its order.
 */
export async function* reweightCompletions(lines: AsyncIterable<CompletionLine> | Iterable<CompletionLine>, options: ReweightOptions): AsyncGenerator<CompletionLine, Reweighting> {
  const [totals, advantages] = [new RunningCorrelation(), new RunningCorrelation()];
  let [groups, completions, unscored, differing, bestChanged, signChanged] = [0, 0, 0, 0, 0, 0];
  const equal = { before: 0, after: 0 };
  for await (const group of inGroups(lines)) {
    const rewards = group.map((line) => REWARD_PARTS.map((name) => line[name]));
    const under = (weights: PartWeights): ReturnType<typeof groupAdvantages> =>
      groupAdvantages(rewards, REWARD_PARTS.map((name) => weights[name]), { numGenerations: group.length, ...options.advantages });
    const [before, after] = [under(options.before), under(options.after)];
    groups++;
    equal.before += before.fracRewardZeroStd;
    equal.after += after.fracRewardZeroStd;
    const bestOf = (values: Float64Array): number => Math.max(...values.filter((value) => !Number.isNaN(value)));
    if (before.fracRewardZeroStd === 0 && before.rewards.some((value) => !Number.isNaN(value))) {
      differing++;
      if (before.rewards[after.rewards.indexOf(bestOf(after.rewards))] !== bestOf(before.rewards)) bestChanged++;
    }
    for (const [i, line] of group.entries()) {
      completions++;
      const isScored = !Number.isNaN(after.rewards[i]!);
      if (isScored) {
        totals.add(before.rewards[i]!, after.rewards[i]!);
        advantages.add(before.advantages[i]!, after.advantages[i]!);
        if (Math.sign(before.advantages[i]!) !== Math.sign(after.advantages[i]!)) signChanged++;
      } else unscored++;
      yield { ...line, total: isScored ? after.rewards[i]! : null, advantage: after.advantages[i]! };
    }
  }
  return {
    groups, completions, unscored, totalCorrelation: totals.value(), advantageCorrelation: advantages.value(),
    bestChanges: differing === 0 ? null : bestChanged / differing,
    signChanges: signChanged / Math.max(1, completions - unscored),
    zeroSpread: { before: equal.before / Math.max(1, groups), after: equal.after / Math.max(1, groups) },
  };
}
