import { createRewardPool, prepareReference, scoreCompletion, type PreparedReference, type RewardSettings } from "@dramascope/rewards";
import type { GrpoSample, RewardBreakdown } from "@dramascope/schema";
import { TrainerError } from "./errors.ts";

/** One completion to score. */
export interface RewardItem {
  /** What it answers, with the references. */
  sample: GrpoSample;
  /** Its text; untrusted data. */
  completion: string;
}

/** The moment of a call. */
export interface RewardContext {
  /** Optimiser step that generates, from 1. */
  step: number;
  /** Ends the call. */
  signal?: AbortSignal | undefined;
}

/** Scores completions, in order. A part that could not be scored is null, never 0. */
export type RewardFn = (items: readonly RewardItem[], context: RewardContext) => Promise<RewardBreakdown[]>;

/** Rewards computed in this process; references are prepared once a sample. */
export function createRewardFn(settings: RewardSettings = {}): RewardFn {
  const prepared = new Map<string, PreparedReference>();
  const referenceOf = ({ sampleId, quality, caption, comments }: GrpoSample): PreparedReference => {
    let reference = prepared.get(sampleId);
    if (!reference) prepared.set(sampleId, (reference = prepareReference({ score: quality, caption, comments }, settings)));
    return reference;
  };
  return (items) => Promise.resolve(items.map(({ sample, completion }) => scoreCompletion(completion, referenceOf(sample))));
}

/** Rewards of worker threads. */
export interface RewardWorkers {
  /** As {@link createRewardFn} scores, while the calling thread goes on. */
  reward: RewardFn;
  /** Ends the threads. */
  close(): Promise<void>;
}

/**
 * Rewards computed by threads of this process. The returned function throws TrainerError `REWARD_FAILED` for a sample that a thread could not score: nothing is made up.
 *
 * @param workers Threads, at least 1.
 */
export function createRewardWorkers(workers: number, settings: RewardSettings = {}): RewardWorkers {
  const pool = createRewardPool({ workers, reward: settings });
  return {
    reward: async (items, { signal }) => {
      const references = new Map(items.map(({ sample }) => [sample.sampleId, { score: sample.quality, caption: sample.caption, comments: sample.comments }]));
      const scores = await pool.score(items.map(({ sample, completion }) => ({ completion, reference: references.get(sample.sampleId)! })), { ...(signal && { signal }) });
      return scores.map(({ error, ...score }, i) => {
        if (error !== null) throw new TrainerError(`sample ${items[i]!.sample.sampleId}: ${error.message}`, { code: "REWARD_FAILED", hint: "Correct the sample, or leave it out; the last checkpoint is good." });
        return score;
      });
    },
    close: () => pool.close(),
  };
}

const PARTS = ["caption", "comments", "accuracy", "format"] as const;

/**
 * Checks what a reward function gave before anything learns from it.
 *
 * @param known Version of the run's earlier rewards; null before the first.
 * @returns     The version of these.
 * @throws TrainerError `REWARD_COUNT`, `REWARD_INVALID` or `REWARD_VERSION`.
 */
export function checkRewards(items: readonly RewardItem[], scores: readonly RewardBreakdown[], known: string | null): string | null {
  if (scores.length !== items.length) {
    throw new TrainerError(`the rewards are ${scores.length} for ${items.length} completions`, { code: "REWARD_COUNT", hint: "The reward function must give one entry a completion, in their order." });
  }
  let version = known;
  for (const [i, score] of scores.entries()) {
    const part = PARTS.find((name) => score[name] !== null && !Number.isFinite(score[name]));
    if (part !== undefined) {
      throw new TrainerError(`sample ${items[i]!.sample.sampleId}: the reward of ${part} is ${String(score[part])}`, { code: "REWARD_INVALID", hint: "A reward is a finite number, or null where it could not be computed." });
    }
    // What nobody scored has no version.
    if (PARTS.every((name) => score[name] === null)) continue;
    version ??= score.version;
    if (score.version !== version) {
      throw new TrainerError(`the rewards have version ${JSON.stringify(score.version)}, the run began with ${JSON.stringify(version)}`, { code: "REWARD_VERSION", hint: "Go on with the reward options and version of before, or begin a new run." });
    }
  }
  return version;
}
