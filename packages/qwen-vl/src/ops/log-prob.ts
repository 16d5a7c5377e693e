import type { Ops } from "@dramascope/tensorflow";
import { sequenced } from "./attention.ts";

/** Output matrix of the decoder in blocks over the vocabulary: [hidden, part], or the embedding's [part, hidden] when the weights are tied. */
export interface HeadValues<V> {
  blocks: readonly V[];
  tied: boolean;
}

/** Logits [n, vocab] of normalised rows [n, hidden]. */
export function headLogits<V>(ops: Ops<V>, x: V, head: HeadValues<V>): V {
  const parts = head.blocks.map((block) => ops.matmul(x, block, { transposeB: head.tied }));
  return parts.length === 1 ? parts[0]! : ops.concat(parts, 1);
}

/** Neighbouring ids from `start` on: columns `from` … `to`−1 of a block of the output matrix. */
export interface VocabPart {
  block: number;
  from: number;
  to: number;
  start: number;
}

/** A vocabulary that stands in blocks of these sizes, in parts of at most `most` ids. */
export function vocabParts(sizes: readonly number[], most: number): VocabPart[] {
  const parts: VocabPart[] = [];
  let first = 0;
  sizes.forEach((size, block) => {
    for (let from = 0; from < size; from += most) parts.push({ block, from, to: Math.min(size, from + most), start: first + from });
    first += size;
  });
  return parts;
}

/** Where a row's target stands in a part of the vocabulary. */
interface PlacedTargets<V> {
  /** int32 [n]; any column where the target is elsewhere. */
  columns: V;
  /** 1 where the target is in the part, else 0, [n]; undefined = in every row. */
  inside?: V | undefined;
}

/** {@link PlacedTargets} of ids on the host. */
export function placeTargets(targets: Int32Array, { from, to, start }: VocabPart): { columns: Int32Array; inside: Float32Array } {
  const columns = targets.map((id) => Math.min(Math.max(id - start, 0), to - from - 1));
  return { columns, inside: Float32Array.from(targets, (id, i) => (id - start === columns[i] ? 1 : 0)) };
}

/** Output matrix, in parts, and what its rows are scored for. */
export interface VocabScoring<V> {
  head: HeadValues<V>;
  parts: readonly VocabPart[];
  /** By part. */
  targets: readonly PlacedTargets<V>[];
  /** Divides the logits. */
  temperature: number;
}

/** What {@link scoreRows} gives for every row, [n]. */
export interface RowScores<V> {
  /** Log-probabilities of the targets. */
  logProbs: V;
  /** Logarithm of the sum of the exponentials of logits / temperature. */
  logZ: V;
  /** Entropy in nats. */
  entropy: () => V;
  /** Log-probability of the most likely id. */
  best: () => V;
}

/** Sums over a part of the vocabulary, [n, 1], with the largest logit taken off. */
interface PartSums<V> {
  max: V;
  exponentials: V;
  /** Of exponential times logit. */
  weighted: V | undefined;
}

/** Scores of normalised rows [n, hidden], with logits of one part of the vocabulary at a time. */
export function scoreRows<V>(ops: Ops<V>, x: V, scoring: VocabScoring<V>, wants: { entropy: boolean }): RowScores<V> {
  const n = ops.shape(x)[0]!;
  let sums: PartSums<V> | undefined;
  let ofTargets: V | undefined;
  scoring.parts.forEach((part, i) => {
    const logits = partLogits(ops, sequenced(ops, x, sums?.exponentials), scoring, part);
    const width = part.to - part.from;
    const { columns, inside } = scoring.targets[i]!;
    const flat = ops.add(columns, ops.constant(Int32Array.from({ length: n }, (_, row) => row * width), [n], "int32"));
    const found = ops.gather(ops.reshape(logits, [n * width]), flat);
    const counted = inside === undefined ? found : ops.mul(found, inside);
    ofTargets = ofTargets === undefined ? counted : ops.add(ofTargets, counted);
    const max = ops.max(logits, [1], true);
    const shifted = ops.sub(logits, max);
    const e = ops.exp(shifted);
    const own: PartSums<V> = { max, exponentials: ops.sum(e, [1], true), weighted: wants.entropy ? ops.sum(ops.mul(e, shifted), [1], true) : undefined };
    sums = sums === undefined ? own : merged(ops, sums, own);
  });
  const { max, exponentials, weighted } = sums!;
  const flat = (column: V): V => ops.reshape(column, [n]);
  const log = ops.log(exponentials);
  return {
    logProbs: ops.sub(ops.sub(ofTargets!, flat(max)), flat(log)), logZ: flat(ops.add(max, log)),
    entropy: () => flat(ops.sub(log, ops.div(weighted!, exponentials))), best: () => flat(ops.neg(log)),
  };
}

function merged<V>(ops: Ops<V>, a: PartSums<V>, b: PartSums<V>): PartSums<V> {
  const max = ops.maximum(a.max, b.max);
  const scaled = ({ max: own, exponentials, weighted }: PartSums<V>): Omit<PartSums<V>, "max"> => {
    const below = ops.sub(own, max);
    const factor = ops.exp(below);
    return { exponentials: ops.mul(exponentials, factor), weighted: weighted && ops.mul(ops.add(weighted, ops.mul(exponentials, below)), factor) };
  };
  const [first, second] = [scaled(a), scaled(b)];
  return { max, exponentials: ops.add(first.exponentials, second.exponentials), weighted: first.weighted && ops.add(first.weighted, second.weighted!) };
}

/** Gradient of Σ g·logp for the rows of {@link scoreRows}, whose `logZ` is given, and by part for the output matrix [part, hidden], where that is wanted. */
export function scoreRowsVjp<V>(ops: Ops<V>, x: V, scoring: VocabScoring<V>, given: { logZ: V; g: V }, wants: { matrix: boolean }): { x: V; matrix: V[] } {
  const { temperature, head, parts, targets } = scoring;
  const n = ops.shape(x)[0]!;
  const column = (values: V): V => ops.reshape(values, [n, 1]);
  const weight = column(temperature === 1 ? given.g : ops.mul(given.g, ops.scalar(1 / temperature)));
  const matrix: V[] = [];
  let dx: V | undefined;
  parts.forEach((part, i) => {
    const probabilities = ops.exp(ops.sub(partLogits(ops, sequenced(ops, x, dx), scoring, part), column(given.logZ)));
    const { columns, inside } = targets[i]!;
    const one = ops.oneHot(columns, part.to - part.from);
    const dLogits = ops.mul(ops.sub(inside === undefined ? one : ops.mul(one, column(inside)), probabilities), weight);
    const own = ops.matmul(dLogits, partMatrix(ops, head, part), { transposeB: !head.tied });
    dx = dx === undefined ? own : ops.add(dx, own);
    if (wants.matrix) matrix.push(ops.matmul(dLogits, x, { transposeA: true }));
  });
  return { x: dx!, matrix };
}

function partMatrix<V>(ops: Ops<V>, { blocks, tied }: HeadValues<V>, { block, from, to }: VocabPart): V {
  const whole = blocks[block]!;
  const [rows, columns] = ops.shape(whole) as [number, number];
  if (to - from === (tied ? rows : columns)) return whole;
  return tied ? ops.slice(whole, [from, 0], [to - from, columns]) : ops.slice(whole, [0, from], [rows, to - from]);
}

/** Logits / temperature. */
function partLogits<V>(ops: Ops<V>, x: V, { head, temperature }: VocabScoring<V>, part: VocabPart): V {
  const logits = ops.matmul(x, partMatrix(ops, head, part), { transposeB: head.tied });
  return temperature === 1 ? logits : ops.mul(logits, ops.scalar(1 / temperature));
}
