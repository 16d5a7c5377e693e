import type { Sample } from "@dramascope/qwen-vl";
import { hashJson, type GrpoSample, type RewardBreakdown } from "@dramascope/schema";

/** One line of `completions.jsonl`. */
export interface CompletionLine {
  /** First optimiser step, from 1, that learns from it. */
  step: number;
  /** The sample's id. */
  id: string;
  /** Place among the prompt's completions, from 0. */
  index: number;
  /** What the model wrote; untrusted. */
  text: string;
  /** Token ids, the end token included; only where the run's settings ask for them. */
  ids?: number[];
  /** Tokens, the end token included. */
  length: number;
  /** False for a completion that was cut. */
  ended: boolean;
  /** Reward of the caption, 0 … 1; null when it could not be scored. */
  caption: number | null;
  /** The same of the comments. */
  comments: number | null;
  /** The same of the class. */
  accuracy: number | null;
  /** The same of the form. */
  format: number | null;
  /** Total as the scorer weighs it; null when it could not be scored. */
  total: number | null;
  /** Why parts are null, and limits that were hit. */
  reasons: string[];
  /** Dimensionless; 0 for what could not be scored. */
  advantage: number;
  /** Version of the rewards. */
  version: string;
  /** SHA-256 over the sample's list of frame manifests. */
  frames: string;
}

/** Lines of one generation, by prompt and completion. */
export function completionLines(generation: {
  step: number;
  samples: readonly GrpoSample[];
  groups: readonly (readonly Sample[])[];
  scores: readonly RewardBreakdown[];
  advantages: ArrayLike<number>;
  withIds: boolean;
}): CompletionLine[] {
  const { step, samples, groups, scores, advantages, withIds } = generation;
  let row = 0;
  return groups.flatMap((group, p) => {
    const frames = hashJson(samples[p]!.videos);
    return group.map(({ text, ids, finishReason }, index): CompletionLine => {
      const { caption, comments, accuracy, format, total, reasons, version } = scores[row]!;
      const advantage = advantages[row++]!;
      return {
        step, id: samples[p]!.sampleId, index, text, ...(withIds && { ids: Array.from(ids) }), length: ids.length, ended: finishReason === "stop",
        caption, comments, accuracy, format, total, reasons, advantage, version, frames,
      };
    });
  });
}
