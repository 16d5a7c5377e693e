import type { MatmulOptions, Ops } from "@dramascope/tensorflow";

/** Large negative score of a masked pair: its exponential is 0 in float32, and it stays finite. */
export const MASKED = -1e9;

/** Keys and values [g, k, d] of an attention piece. */
export interface KeySource<V> {
  keys: V;
  values: V;
  /** The first keys with a further column that is added to their scores, {@link withBias}. */
  biased?: V | undefined;
  /** Added to the scores of the last w keys, [m, w]: where causality cuts through. */
  diagonal?: V | undefined;
}

/** Forward values of one piece: output in the queries' shape and the probabilities [g, m, k]. */
export interface Attended<V> {
  output: V;
  probabilities: V;
}

/** Gradients of one piece: of the queries, and of keys and values with rows and columns exchanged, [g, d, k], for that product is faster. */
export interface AttendedGradients<V> {
  queries: V;
  keys: V;
  values: V;
}

/** Softmax attention of query rows [g, m, d] over a source. Queries carry the scale already. */
export function attend<V>(ops: Ops<V>, queries: V, source: KeySource<V>): Attended<V> {
  const probabilities = attentionProbabilities(ops, queries, source);
  return { output: product(ops, probabilities, source.values), probabilities };
}

/** The probabilities of {@link attend} alone. */
export function attentionProbabilities<V>(ops: Ops<V>, queries: V, source: KeySource<V>): V {
  return ops.softmax(scoresOf(ops, queries, source));
}

/** Keys [g, k, d] with what is added to the scores of each, [g, k, 1]: a further column of the product is cheaper than a pass over all scores. */
export function withBias<V>(ops: Ops<V>, keys: V, bias: V): V {
  return ops.concat([keys, bias], 2);
}

/** Σ dOutput · output of every query row, which the gradient of a softmax subtracts: [g, m, d] -> [g, m, 1]. */
export function softmaxPull<V>(ops: Ops<V>, output: V, dOutput: V): V {
  return ops.sum(ops.mul(dOutput, output), [2], true);
}

/** Adjoint of {@link attend}; `pull` [g, m, 1] is {@link softmaxPull}. */
export function attendVjp<V>(ops: Ops<V>, queries: V, source: KeySource<V>, probabilities: V, pull: V, dOutput: V): AttendedGradients<V> {
  const dScores = ops.mul(probabilities, pulledBack(ops, source.values, pull, dOutput));
  return {
    queries: product(ops, dScores, source.keys),
    keys: product(ops, queries, dScores, { transposeA: true }),
    values: product(ops, dOutput, probabilities, { transposeA: true }),
  };
}

/** dOutput · valuesᵀ − pull, in one product where that has many rows. */
function pulledBack<V>(ops: Ops<V>, values: V, pull: V, dOutput: V): V {
  const [g, k, d] = ops.shape(values) as [number, number, number];
  if (ops.shape(dOutput)[1]! < 4 * d) return ops.sub(product(ops, dOutput, values, { transposeB: true }), pull);
  return product(ops, ops.concat([dOutput, pull], 2), ops.concat([values, ops.broadcastTo(ops.scalar(-1), [g, k, 1])], 2), { transposeB: true });
}

/** Product over the last two axes; a single matrix is faster by itself. */
function product<V>(ops: Ops<V>, a: V, b: V, options?: MatmulOptions): V {
  if (ops.shape(a)[0]! > 1) return ops.batchMatmul(a, b, options);
  const flat = (x: V): V => ops.reshape(x, ops.shape(x).slice(1));
  const y = ops.matmul(flat(a), flat(b), options);
  return ops.reshape(y, [1, ...ops.shape(y)]);
}

/** Rows from … to−1 of [g, rows, d]; of a single group they are a view, not a copy. */
export function sliceRows<V>(ops: Ops<V>, x: V, from: number, to: number): V {
  const [groups, rows, d] = ops.shape(x) as [number, number, number];
  if (to - from === rows) return x;
  if (groups > 1) return ops.slice(x, [0, from, 0], [groups, to - from, d]);
  return ops.reshape(ops.slice(ops.reshape(x, [rows, d]), [from, 0], [to - from, d]), [1, to - from, d]);
}

/** Only the part that the diagonal touches is added to, for every pass over all scores is memory traffic. */
function scoresOf<V>(ops: Ops<V>, queries: V, { keys, biased, diagonal }: KeySource<V>): V {
  const [g, k] = ops.shape(keys) as [number, number];
  const before = diagonal === undefined ? k : k - ops.shape(diagonal)[1]!;
  const against = (some: V): V => product(ops, queries, some, { transposeB: true });
  const first = (): V =>
    biased === undefined ? against(sliceRows(ops, keys, 0, before)) : product(ops, ops.concat([queries, ops.broadcastTo(ops.scalar(1), [g, ops.shape(queries)[1]!, 1])], 2), biased, { transposeB: true });
  if (diagonal === undefined) return first();
  const cut = ops.add(against(sliceRows(ops, keys, before, k)), diagonal);
  return before === 0 ? cut : ops.concat([first(), cut], 2);
}

/** Biases of at most so many scores are written out; larger ones are compared on the device, to keep them out of compiled graphs. */
const WRITTEN_OUT = 2 ** 16;

/** Columns `first` … `last` that a row of scores sees. */
export interface Band {
  first: number;
  last: number;
}

/** Scores to add where every row sees a band of columns: [rows, columns] with 0 there, else {@link MASKED}. */
export function bandBias<V>(ops: Ops<V>, bands: readonly Band[], columns: number): V {
  const rows = bands.length;
  if (rows * columns <= WRITTEN_OUT) {
    const bias = new Float32Array(rows * columns).fill(MASKED);
    bands.forEach(({ first, last }, row) => bias.fill(0, row * columns + first, row * columns + last + 1));
    return ops.constant(bias, [rows, columns]);
  }
  const column = (pick: (band: Band) => number): V => ops.constant(Int32Array.from(bands, pick), [rows, 1], "int32");
  const at = ops.constant(Int32Array.from({ length: columns }, (_, i) => i), [1, columns], "int32");
  const before = ops.lessEqual(at, column(({ last }) => last));
  const visible = bands.every(({ first }) => first === 0) ? before : ops.logicalAnd(before, ops.lessEqual(column(({ first }) => first), at));
  return ops.select(visible, ops.scalar(0), ops.scalar(MASKED));
}

/** `x`, not computed before `after` is: keeps the score tensors of successive chunks from living side by side. */
export function sequenced<V>(ops: Ops<V>, x: V, after: V | undefined): V {
  if (after === undefined) return x;
  const shape = ops.shape(after);
  const one = ops.reshape(ops.slice(after, shape.map(() => 0), shape.map(() => 1)), []);
  return ops.add(x, ops.mul(one, ops.scalar(0)));
}
