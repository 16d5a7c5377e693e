import type { ReferenceWarning, ScoredCompletion } from "./score.ts";

/** Why an item has no rewards. */
export interface RewardFault {
  /** In SCREAMING_SNAKE, for example `REFERENCE_SCORE_INVALID`, `WORKER_LOST`. */
  code: string;
  /** One sentence without text of completions or references. */
  message: string;
}

/** Rewards of one item, or nulls with the fault. */
export type PooledScore = ScoredCompletion & {
  /** Null when the item was scored. */
  error: RewardFault | null;
  /** Warnings of the item's reference, as preparation gives them. Left out when there are none. */
  warnings?: readonly ReferenceWarning[];
};

/** Work that one worker does at a time. */
export interface ScoreTask {
  /** References as JSON, each once: the text is what a worker knows a prepared reference by. */
  references: string[];
  /** Completions, each with the place of its reference. */
  items: [reference: number, completion: string][];
  /** Whether results carry details. */
  details: boolean;
}

/** Nulls for an item that was not scored; the reason is the fault's code in lower case. */
export function unscored(error: RewardFault, version: string): PooledScore {
  return { format: null, accuracy: null, caption: null, comments: null, total: null, reasons: [error.code.toLowerCase().replaceAll("_", "-")], version, error };
}
