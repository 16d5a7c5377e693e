import { scoreFromLogprobs } from "@dramascope/evaluation";
import type { Prompt, QwenVl, Sample } from "@dramascope/qwen-vl";
import type { Distribution } from "@dramascope/schema";
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

/**
 * Place among a sample's ids of the token that became the given part of its text; undefined when that part is no digit 1 … 5 with a token of
 * its own. A digit is one byte, whatever characters the tokens around it cut, so that counting its occurrences leads to its token.
 */
export function digitPlace({ tokenizer }: QwenVl, { ids, text }: Sample, [start, end]: readonly [start: number, end: number], digits: readonly number[]): number | undefined {
  const digit = text.slice(start, end);
  const wanted = digits[DIGITS.findIndex((one) => one === digit)];
  if (wanted === undefined) return undefined;
  const count = (part: string): number => part.split(digit).length - 1;
  let before = count(text.slice(0, start));
  for (const [place, id] of ids.entries()) {
    if (before === 0 && id === wanted) return tokenizer.decode(ids.subarray(0, place), { skipSpecial: true }) === text.slice(0, start) ? place : undefined;
    before -= count(tokenizer.decode([id], { skipSpecial: true }));
    if (before < 0) return undefined;
  }
  return undefined;
}

/** Probabilities of the five classes where a sample has the token `place`; the sample watched the digits. */
export function probabilitiesIn({ watched }: Sample, place: number): ScoreProbabilities {
  return fromLogProbs(watched!.subarray(place * DIGITS.length, (place + 1) * DIGITS.length));
}

function fromLogProbs(logProbs: ArrayLike<number>): ScoreProbabilities {
  const { mass, expected, p } = scoreFromLogprobs(Array.from(logProbs));
  // Shares that sum to 1 but for rounding may lead a last bit beyond the scale.
  return { mass, expected: expected === null ? null : Math.min(5, Math.max(1, expected)), distribution: p === null ? null : toDistribution(p) };
}

/** Probabilities of the five classes for the token that follows the prompt and `before`. */
export async function probabilitiesAt(model: QwenVl, prompt: Prompt, before: ArrayLike<number>, digits: readonly number[], signal?: AbortSignal): Promise<ScoreProbabilities> {
  signal?.throwIfAborted();
  const result = await model.forward(prompt, { completion: before, rows: "last" });
  try {
    const logits = (await result.logits.data()) as Float32Array;
    const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const logSum = max + Math.log(logits.reduce((sum, value) => sum + Math.exp(value - max), 0));
    return fromLogProbs(digits.map((id) => logits[id]! - logSum));
  } finally {
    result.dispose();
  }
}

/** Five shares as a record. */
export function toDistribution(p: ArrayLike<number>): Distribution {
  return { p1: p[0]!, p2: p[1]!, p3: p[2]!, p4: p[3]!, p5: p[4]! };
}
