import { prepareReference, scoreCompletion, type PreparedReference, type RewardSettings } from "@dramascope/rewards";
import type { GrpoSample, RewardBreakdown } from "@dramascope/schema";

/** One completion to score. */
export interface RewardItem {
  sample: GrpoSample;
  completion: string;
}

/** Scores completions, in order. A part that could not be scored is null, never 0. */
export type RewardFn = (items: readonly RewardItem[]) => Promise<RewardBreakdown[]>;

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
