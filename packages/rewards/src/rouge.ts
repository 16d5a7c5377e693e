import { tokenize, type TokenizerName } from "./tokenize.ts";

/** Precision, recall and their harmonic mean, each 0 … 1. */
export interface RougeScore {
  precision: number;
  recall: number;
  fmeasure: number;
}

/** ROUGE-1, -2 and -L, and the mean of their three F-measures. */
export interface RougeScores {
  rouge1: RougeScore;
  rouge2: RougeScore;
  rougeL: RougeScore;
  mean: number;
}

/** A text indexed once and compared with many. */
export interface RougeTarget {
  tokens: readonly string[];
  /** Token → number, integers only: any text is an ordinary key of a Map. */
  ids: ReadonlyMap<string, number>;
  /** Number of each token at each place. */
  sequence: Int32Array;
  unigrams: ReadonlyMap<number, number>;
  /** Pairs as first · size + second. */
  bigrams: ReadonlyMap<number, number>;
  /** Bit masks of each token's places, 32 places a word; made on first use. */
  masks: Map<number, Uint32Array>;
}

function countAll(keys: Iterable<number>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

function pairs(sequence: Int32Array, base: number): number[] {
  const keys: number[] = [];
  for (let i = 0; i + 1 < sequence.length; i++) keys.push(sequence[i]! * base + sequence[i + 1]!);
  return keys;
}

/** Indexes a target's tokens. */
export function rougeTarget(tokens: readonly string[]): RougeTarget {
  const ids = new Map<string, number>();
  const sequence = Int32Array.from(tokens, (token) => {
    const known = ids.get(token);
    if (known !== undefined) return known;
    ids.set(token, ids.size);
    return ids.size - 1;
  });
  return { tokens, ids, sequence, unigrams: countAll(sequence), bigrams: countAll(pairs(sequence, ids.size + 1)), masks: new Map() };
}

function score(hits: number, predicted: number, wanted: number): RougeScore {
  const precision = hits / Math.max(predicted, 1);
  const recall = hits / Math.max(wanted, 1);
  return { precision, recall, fmeasure: precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0 };
}

function overlap(keys: readonly number[], counts: ReadonlyMap<number, number>): number {
  const used = new Map<number, number>();
  let hits = 0;
  for (const key of keys) {
    const limit = counts.get(key);
    if (limit === undefined) continue;
    const soFar = used.get(key) ?? 0;
    if (soFar < limit) hits++;
    used.set(key, soFar + 1);
  }
  return hits;
}

function maskOf(target: RougeTarget, id: number): Uint32Array {
  let mask = target.masks.get(id);
  if (mask) return mask;
  mask = new Uint32Array(Math.ceil(target.sequence.length / 32));
  for (let i = 0; i < target.sequence.length; i++) if (target.sequence[i] === id) mask[i >>> 5]! |= 1 << (i & 31);
  target.masks.set(id, mask);
  return mask;
}

/** Length of the longest common subsequence, 32 places at a time (Hyyrö 2004). */
function commonSubsequence(target: RougeTarget, ids: Int32Array): number {
  const words = new Uint32Array(Math.ceil(target.sequence.length / 32)).fill(0xffffffff);
  for (const id of ids) {
    if (id < 0) continue;
    const mask = maskOf(target, id);
    let carry = 0;
    for (let w = 0; w < words.length; w++) {
      const v = words[w]!;
      const u = (v & mask[w]!) >>> 0;
      const sum = v + u + carry;
      carry = sum > 0xffffffff ? 1 : 0;
      words[w] = (sum >>> 0) | (v & ~u);
    }
  }
  let zeros = 0;
  for (let i = 0; i < target.sequence.length; i++) if (((words[i >>> 5]! >>> (i & 31)) & 1) === 0) zeros++;
  return zeros;
}

/** ROUGE of a prediction's tokens against an indexed target. */
export function rougeAgainst(target: RougeTarget, prediction: readonly string[]): RougeScores {
  const unknown = target.ids.size;
  const ids = Int32Array.from(prediction, (token) => target.ids.get(token) ?? -1);
  const pairKeys: number[] = [];
  for (let i = 0; i + 1 < ids.length; i++) if (ids[i]! >= 0 && ids[i + 1]! >= 0) pairKeys.push(ids[i]! * (unknown + 1) + ids[i + 1]!);
  const wanted = target.sequence.length;
  const rouge1 = score(overlap(Array.from(ids).filter((id) => id >= 0), target.unigrams), prediction.length, wanted);
  const rouge2 = score(overlap(pairKeys, target.bigrams), Math.max(prediction.length - 1, 0), Math.max(wanted - 1, 0));
  const rougeL = rouge1.fmeasure === 0 ? score(0, prediction.length, wanted) : score(commonSubsequence(target, ids), prediction.length, wanted);
  return { rouge1, rouge2, rougeL, mean: (rouge1.fmeasure + rouge2.fmeasure + rougeL.fmeasure) / 3 };
}

/** ROUGE of two texts, the numbers of Google's `rouge_score` without stemming. */
export function rouge(target: string, prediction: string, options: { tokenizer?: TokenizerName } = {}): RougeScores {
  return rougeAgainst(rougeTarget(tokenize(target, options.tokenizer)), tokenize(prediction, options.tokenizer));
}
