import type { Ops } from "@dramascope/tensorflow";

/** Output matrix of the decoder: [hidden, vocab], or the embedding [vocab, hidden] when the weights are tied. */
export interface HeadValues<V> {
  matrix: V;
  tied: boolean;
}

/** Logits [n, vocab] of normalised rows [n, hidden]. */
export function headLogits<V>(ops: Ops<V>, x: V, head: HeadValues<V>): V {
  return ops.matmul(x, head.matrix, { transposeB: head.tied });
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
