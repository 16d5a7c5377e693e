import type { Prompt } from "./prompt-types.ts";

/** Which adapter a call uses. */
export type AdapterChoice = "active" | "none" | (string & {});

/** Options of scoring. */
export interface ScoreOptions {
  /** Divides the logits; a finite number from 1e-30. Default 1. */
  temperature?: number;
  adapter?: AdapterChoice;
  /** Also entropies. Default false. */
  entropy?: boolean;
  /** Also the log-probability of the most likely token in each place: where it is that of the completion's token, greedy decoding would have written it. Default false. */
  best?: boolean;
  /**
   * Completions of each prompt that are computed at once, an integer from 1: fewer take less memory. The prompt is computed once in any case, and the results are the same to
   * rounding; in a gradient call the completions, but for the last so many, are computed twice. Default all.
   */
  completionChunk?: number;
  /** Rejects the call with its reason. In the backward of a gradient call it leaves sums that ask for `zeroGradients()`, with `PARTIAL_GRADIENT`. */
  signal?: AbortSignal;
}

/** Which entries a gradient call drops. */
export interface DropoutOptions {
  /**
   * Needed when the adapter under training has a dropout above 0, else not read: an integer from 0 to 2⁵³ − 1. The same seed drops the
   * same entries on every back end; give another one at every step. A prompt is computed once for all its completions, so they share what its rows drop.
   */
  dropoutSeed?: number;
}

/** How far a gradient call goes back. */
export interface PrefixOptions {
  /**
   * Takes the prompt's keys and values as constants, in every layer: only the row that predicts first tokens and the completions' rows are gone back through, so that a long prompt
   * costs its forward alone. It is another gradient, which leaves out what the adapter does to the prompt, and none for the vision tower. Default false.
   */
  stopPrefixGradient?: boolean;
}

/** Options of a gradient. */
export interface GradientOptions extends DropoutOptions, PrefixOptions {
  /** Receives the log-probabilities, gives the loss and its derivative by each of them. */
  gradient(logProbs: Float32Array[], entropy?: Float32Array[]): { loss: number; dLogProbs: ArrayLike<number>[] };
}

/** A prompt with completions that share it. */
export interface CompletionGroup {
  prompt: Prompt;
  completions: readonly ArrayLike<number>[];
}

/** Options of a gradient over several groups. */
export interface GroupGradientOptions extends DropoutOptions, PrefixOptions {
  /** As in {@link GradientOptions}, by group and completion. */
  gradient(logProbs: Float32Array[][], entropy?: Float32Array[][]): { loss: number; dLogProbs: readonly (readonly ArrayLike<number>[])[] };
}
