import type { AdapterChoice } from "./gradient-types.ts";

/** Options of `generate`. */
export interface GenerateOptions {
  maxNewTokens: number;
  /** Samples for each prompt. Default 1. */
  n?: number;
  /** 0 takes the most likely token, else a finite number from 1e-30. Default 1. */
  temperature?: number;
  /** From 0 to 1, which is off. Default 1. */
  topP?: number;
  /** An integer; 0 is off. Default 0. */
  topK?: number;
  /** Above 0; 1 is off. Default 1. */
  repetitionPenalty?: number;
  /** An integer from 0 to 2⁵³ − 1. Default 0. */
  seed?: number;
  /** Default the generation configuration's. */
  stopIds?: readonly number[];
  /** Never sampled, beside vision tokens and ids without a token; which ids have none is known from tokenizer.json only. */
  forbiddenIds?: readonly number[];
  /** Lifts the ban on vision tokens and ids without a token. Default false. */
  allowAll?: boolean;
  /** Ids whose log-probabilities each sample keeps for every place, whatever was sampled there. Default none. */
  watchIds?: readonly number[];
  /** Takes defaults from generation_config.json. Default false. */
  useGenerationConfig?: boolean;
  /** Sequences decoded at once. Default 64. */
  maxRows?: number;
  /**
   * Called with every token; `text` is what it adds, and what ends inside a character comes with a later token. The parts of an answer add up to its text, unless an abort cuts
   * it inside a character.
   */
  onToken?: (event: { prompt: number; sample: number; id: number; text: string }) => void;
  /** Ends the call with what there is: samples that are not finished have the finishReason `abort`. */
  signal?: AbortSignal;
  adapter?: AdapterChoice;
}

/** One generated answer. */
export interface Sample {
  /** With the stop id. */
  ids: Int32Array;
  /** The ids as text, special tokens left out. Reading it throws `NO_TOKENIZER` where the checkpoint has no tokenizer.json. */
  text: string;
  /** Log-probability of each id under the whole vocabulary at the sampling temperature, nats. */
  logProbs: Float32Array;
  /** Log-probability that each of the `watchIds` had in the place of each id, [ids, watchIds] row-major, as `logProbs`; −∞ where it underflows. Absent without `watchIds`. */
  watched?: Float32Array;
  finishReason: "stop" | "length" | "abort";
}
