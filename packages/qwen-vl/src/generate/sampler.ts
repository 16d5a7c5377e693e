import { QwenVlError } from "../errors.ts";

/** How a token is chosen from logits. */
export interface SamplingOptions {
  /** 0 takes the most likely token. Default 1. */
  temperature?: number;
  /** Keeps the likeliest tokens whose probabilities reach this share. Default 1 (off). */
  topP?: number;
  /** Keeps this many tokens, ties with the last included. Default 0 (off). */
  topK?: number;
  /** Divides positive and multiplies negative logits of ids seen before. Default 1 (off). */
  repetitionPenalty?: number;
  /** Never chosen. */
  forbiddenIds?: readonly number[];
}

/** Ids that top-p leaves out: the least likely ones whose cumulative probability stays within 1 − topP; the likeliest always stays. */
function outsideTopP(scores: Float64Array, topP: number): number[] {
  const order = Array.from(scores.keys()).sort((a, b) => scores[a]! - scores[b]! || a - b);
  const max = scores[order.at(-1)!]!;
  const total = scores.reduce((sum, score) => sum + Math.exp(score - max), 0);
  const out: number[] = [];
  let cumulative = 0;
  for (const id of order.slice(0, -1)) {
    cumulative += Math.exp(scores[id]! - max) / total;
    if (cumulative > 1 - topP) break;
    out.push(id);
  }
  return out;
}

/** Smallest temperature above 0: logits divided by it stay finite in float32. */
export const LEAST_TEMPERATURE = 1e-30;

/** What is wrong with sampling options; undefined when nothing is. */
export function samplingFault({ temperature = 1, topP = 1, topK = 0, repetitionPenalty = 1 }: SamplingOptions): string | undefined {
  if (!isTemperature(temperature) && temperature !== 0) return `temperature is ${temperature}, expected 0 or a finite number from ${LEAST_TEMPERATURE}`;
  if (!(topP >= 0 && topP <= 1)) return `topP is ${topP}, expected 0 to 1`;
  if (!(Number.isSafeInteger(topK) && topK >= 0)) return `topK is ${topK}, expected 0 or a positive integer`;
  if (!(Number.isFinite(repetitionPenalty) && repetitionPenalty > 0)) return `repetitionPenalty is ${repetitionPenalty}, expected a number above 0`;
  return undefined;
}

/** Whether logits can be divided by a number. */
export function isTemperature(value: number): boolean {
  return Number.isFinite(value) && value >= LEAST_TEMPERATURE;
}

/** Refuses sampling options out of range. */
export function checkSampling(options: SamplingOptions): void {
  const fault = samplingFault(options);
  if (fault !== undefined) throw new QwenVlError(fault, { code: "BAD_OPTION" });
}

/** Refuses logits that no token can be drawn from. */
export function refuseLogits(): never {
  throw new QwenVlError("no token can be drawn: the logits hold NaN or infinity, or every id is forbidden", { code: "NO_TOKEN", hint: "Check the weights and the forbidden ids." });
}

/**
 * Probabilities to draw from: forbidden ids, repetition penalty, temperature, top-k, top-p, softmax, in this order.
 *
 * @param history Ids of prompt and output so far, for the penalty.
 * @returns       Probabilities, sum 1; a single 1 at temperature 0 (lowest id on ties).
 * @throws QwenVlError `BAD_OPTION` for options out of range, `NO_TOKEN` when nothing is left to draw or the logits are not numbers.
 */
export function processLogits(logits: ArrayLike<number>, history: ArrayLike<number>, options: SamplingOptions): Float64Array {
  const { temperature = 1, topP = 1, topK = 0, repetitionPenalty = 1, forbiddenIds = [] } = options;
  checkSampling(options);
  const scores = Float64Array.from(logits);
  for (const id of forbiddenIds) if (id < scores.length) scores[id] = -Infinity;
  if (repetitionPenalty !== 1) {
    for (const id of new Set(Array.from(history))) {
      const score = scores[id];
      if (score !== undefined) scores[id] = score > 0 ? score / repetitionPenalty : score * repetitionPenalty;
    }
  }
  if (temperature === 0) {
    if (scores.some(Number.isNaN)) refuseLogits();
    const probabilities = new Float64Array(scores.length);
    const best = scores.reduce((most, score, id) => (score > scores[most]! ? id : most), 0);
    if (!Number.isFinite(scores[best])) refuseLogits();
    probabilities[best] = 1;
    return probabilities;
  }
  for (let id = 0; id < scores.length; id++) scores[id]! /= temperature;
  if (topK > 0 && topK < scores.length) {
    const kth = Float64Array.from(scores).sort().at(-topK)!;
    for (let id = 0; id < scores.length; id++) if (scores[id]! < kth) scores[id] = -Infinity;
  }
  if (topP < 1) for (const id of outsideTopP(scores, topP)) scores[id] = -Infinity;
  const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  let total = 0;
  for (let id = 0; id < scores.length; id++) total += scores[id] = Math.exp(scores[id]! - max);
  if (!(total > 0)) refuseLogits();
  for (let id = 0; id < scores.length; id++) scores[id]! /= total;
  return scores;
}

/** First id, ascending, whose cumulative probability exceeds u · total. */
export function pickToken(probabilities: Float64Array, u: number): number {
  const limit = u * probabilities.reduce((a, b) => a + b, 0);
  let cumulative = 0;
  let last = 0;
  for (let id = 0; id < probabilities.length; id++) {
    if (probabilities[id]! === 0) continue;
    cumulative += probabilities[id]!;
    last = id;
    if (cumulative > limit) return id;
  }
  return last;
}
