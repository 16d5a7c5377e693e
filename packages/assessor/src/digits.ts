import { scoreFromLogprobs } from "@dramascope/evaluation";
import type { Prompt, QwenVl, Sample } from "@dramascope/qwen-vl";
import type { Distribution, Quality } from "@dramascope/schema";
import { AssessorError } from "./errors.ts";

/** The classes in words of the answer. */
const DIGITS = ["1", "2", "3", "4", "5"] as const;

/** What the model's next-token probabilities say about the class. */
export interface ScoreProbabilities {
  /** Expected class, 1 … 5; null when the digits hold too little of the probability. */
  expected: number | null;
  distribution: Distribution | null;
  /** Probability of all five digits together, 0 … 1. */
  mass: number;
}

/** Token ids of the five digits. */
export function digitTokens(model: QwenVl): number[] {
  return DIGITS.map((digit) => {
    const ids = model.tokenizer.encode(digit);
    if (ids.length !== 1) {
      throw new AssessorError(`the model's tokenizer writes the digit ${digit} as ${ids.length} tokens`, {
        code: "DIGIT_TOKENS",
        hint: "Use mode greedy, which reads the answer's text.",
      });
    }
    return ids[0]!;
  });
}

/** Position of the answer's digit among a sample's tokens: the last token that is this digit; −1 when there is none. */
export function answerPosition(sample: Sample, score: Quality, digits: readonly number[]): number {
  return sample.ids.lastIndexOf(digits[score - 1]!);
}

/** Probabilities of the five classes for the token that follows the prompt and `before`. */
export async function probabilitiesAt(model: QwenVl, prompt: Prompt, before: ArrayLike<number>, digits: readonly number[], signal?: AbortSignal): Promise<ScoreProbabilities> {
  signal?.throwIfAborted();
  const result = await model.forward(prompt, { completion: before, rows: "last" });
  try {
    const logits = (await result.logits.data()) as Float32Array;
    const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const logSum = max + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - max), 0));
    const { mass, expected, p } = scoreFromLogprobs(digits.map((id) => logits[id]! - logSum));
    return { mass, expected, distribution: p === null ? null : toDistribution(p) };
  } finally {
    result.dispose();
  }
}

/** Five shares as a record. */
export function toDistribution(p: ArrayLike<number>): Distribution {
  return { p1: p[0]!, p2: p[1]!, p3: p[2]!, p4: p[3]!, p5: p[4]! };
}
