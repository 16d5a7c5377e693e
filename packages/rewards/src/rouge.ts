import { ReferenceIndex } from "./reference-index.ts";
import type { RougeScore } from "./rouge-score.ts";
import { tokenize, type TokenizerName } from "./tokenize.ts";

/** ROUGE-1, -2 and -L, and the mean of their three F-measures. */
export interface RougeScores {
  /** Single tokens. */
  rouge1: RougeScore;
  /** Neighbouring pairs of tokens. */
  rouge2: RougeScore;
  /** Longest common subsequence over the whole token list; newlines mean nothing. */
  rougeL: RougeScore;
  /** Mean of the three F-measures, 0 … 1. */
  mean: number;
}

/**
 * ROUGE of two texts, the numbers of Google's `rouge_score` without stemming.
 *
 * @param options `tokenizer` defaults to `rouge-score`.
 */
export function rouge(target: string, prediction: string, options: { tokenizer?: TokenizerName } = {}): RougeScores {
  const [scores] = new ReferenceIndex([tokenize(target, options.tokenizer)]).scores(tokenize(prediction, options.tokenizer));
  const { rouge1, rouge2, rougeL } = scores!;
  return { rouge1, rouge2, rougeL, mean: (rouge1.fmeasure + rouge2.fmeasure + rougeL.fmeasure) / 3 };
}
