import type { Ops } from "@dramascope/tensorflow";

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

/** Adjoint of {@link headLogits} for the rows. */
export function headLogitsVjp<V>(ops: Ops<V>, dLogits: V, { blocks, tied }: HeadValues<V>): V {
  const sizes = blocks.map((block) => ops.shape(block)[tied ? 0 : 1]!);
  const parts = blocks.length === 1 ? [dLogits] : ops.split(dLogits, sizes, 1);
  return parts.map((part, i) => ops.matmul(part, blocks[i]!, { transposeB: !tied })).reduce((a, b) => ops.add(a, b));
}

/** Log-softmax of logits / temperature. */
export function logSoftmaxAt<V>(ops: Ops<V>, logits: V, temperature: number): V {
  return ops.logSoftmax(temperature === 1 ? logits : ops.mul(logits, ops.scalar(1 / temperature)));
}

/** Entries [n] of a table [n, vocab] at int32 positions `row · vocab + id`. */
export function pick<V>(ops: Ops<V>, table: V, flat: V): V {
  const [rows, columns] = ops.shape(table) as [number, number];
  return ops.gather(ops.reshape(table, [rows * columns]), flat);
}

/** Entropy [n] in nats of log-probabilities [n, vocab]. */
export function entropyOf<V>(ops: Ops<V>, logProbs: V): V {
  return ops.neg(ops.sum(ops.mul(ops.exp(logProbs), logProbs), [1]));
}

/** Gradient of Σ g·logp with respect to the logits: g (onehot − p) / temperature. */
export function logProbVjp<V>(ops: Ops<V>, logProbs: V, targets: V, g: V, temperature: number): V {
  const [rows, vocab] = ops.shape(logProbs) as [number, number];
  const weight = ops.reshape(temperature === 1 ? g : ops.mul(g, ops.scalar(1 / temperature)), [rows, 1]);
  return ops.mul(ops.sub(ops.oneHot(targets, vocab), ops.exp(logProbs)), weight);
}
