import type { Ops } from "@dramascope/tensorflow";

/** Large negative score of a masked pair: its exponential is 0 in float32, and it stays finite. */
export const MASKED = -1e9;

/**
 * One key/value source of an attention piece. `keys` and `values` are [g, k, d]; the m query rows of the piece are seen as
 * [g, m', d] with g·m' = (batch of the piece)·m.
 */
export interface KeySource<V> {
  keys: V;
  values: V;
  /** Added to the scores [g, m', k]; broadcasting shape. */
  bias?: V | undefined;
  /** Added to the scores of the last w keys, [m', w]: where causality cuts through. */
  diagonal?: V | undefined;
}

/** Forward values of one piece: output in the queries' shape and the probabilities by source. */
export interface Attended<V> {
  output: V;
  probabilities: V[];
}

/** Gradients of one piece; keys and values in the order of the sources. */
export interface AttendedGradients<V> {
  queries: V;
  keys: V[];
  values: V[];
}

/**
 * Softmax attention of query rows [g, m, d] over the union of all sources. A source may be grouped differently from the queries
 * (a prefix shared by several completions): only g·m has to agree. Queries carry the scale already.
 */
export function attend<V>(ops: Ops<V>, queries: V, sources: readonly KeySource<V>[]): Attended<V> {
  const [g, m, d] = ops.shape(queries) as [number, number, number];
  const probabilities = attentionProbabilities(ops, queries, sources);
  const outputs = sources.map((source, i) => {
    const [groups, k] = ops.shape(source.keys) as [number, number, number];
    const p = ops.reshape(probabilities[i]!, [groups, (g * m) / groups, k]);
    return ops.reshape(ops.batchMatmul(p, source.values), [g, m, d]);
  });
  return { output: outputs.reduce((a, b) => ops.add(a, b)), probabilities };
}

/** The probabilities of {@link attend} alone, by source [g, m, k]. */
export function attentionProbabilities<V>(ops: Ops<V>, queries: V, sources: readonly KeySource<V>[]): V[] {
  const [g, m] = ops.shape(queries) as [number, number, number];
  const widths = sources.map((s) => ops.shape(s.keys)[1]!);
  const parts = sources.map((source, i) => {
    const scores = scoresOf(ops, regroup(ops, queries, source), source);
    return ops.reshape(source.bias === undefined ? scores : ops.add(scores, source.bias), [g, m, widths[i]!]);
  });
  const joined = ops.softmax(parts.length === 1 ? parts[0]! : ops.concat(parts, 2));
  return parts.length === 1 ? [joined] : ops.split(joined, widths, 2);
}

/** Σ dOutput · output of every query row, which the gradient of a softmax subtracts: [g, m, d] -> [g, m, 1]. */
export function softmaxPull<V>(ops: Ops<V>, output: V, dOutput: V): V {
  return ops.sum(ops.mul(dOutput, output), [2], true);
}

/** Adjoint of {@link attend}; `pull` [g, m, 1] is {@link softmaxPull}. */
export function attendVjp<V>(ops: Ops<V>, queries: V, sources: readonly KeySource<V>[], probabilities: readonly V[], pull: V, dOutput: V): AttendedGradients<V> {
  const [g, m, d] = ops.shape(queries) as [number, number, number];
  const keys: V[] = [];
  const values: V[] = [];
  let dQueries: V | undefined;
  sources.forEach((source, i) => {
    const [groups, k] = ops.shape(source.keys) as [number, number, number];
    const rows = (g * m) / groups;
    const grouped = ops.reshape(dOutput, [groups, rows, d]);
    const p = ops.reshape(probabilities[i]!, [groups, rows, k]);
    const dP = ops.batchMatmul(grouped, source.values, { transposeB: true });
    const dS = ops.mul(p, ops.sub(dP, ops.reshape(pull, [groups, rows, 1])));
    values.push(ops.batchMatmul(p, grouped, { transposeA: true }));
    keys.push(ops.batchMatmul(dS, regroup(ops, queries, source), { transposeA: true }));
    const dq = ops.reshape(ops.batchMatmul(dS, source.keys), [g, m, d]);
    dQueries = dQueries === undefined ? dq : ops.add(dQueries, dq);
  });
  return { queries: dQueries!, keys, values };
}

/** Rows from … to−1 of [g, rows, d]; of a single group they are a view, not a copy. */
export function sliceRows<V>(ops: Ops<V>, x: V, from: number, to: number): V {
  const [groups, rows, d] = ops.shape(x) as [number, number, number];
  if (to - from === rows) return x;
  if (groups > 1) return ops.slice(x, [0, from, 0], [groups, to - from, d]);
  return ops.reshape(ops.slice(ops.reshape(x, [rows, d]), [from, 0], [to - from, d]), [1, to - from, d]);
}

/** Only the part that the diagonal touches is added to, for every pass over all scores is memory traffic. */
function scoresOf<V>(ops: Ops<V>, queries: V, { keys, diagonal }: KeySource<V>): V {
  const k = ops.shape(keys)[1]!;
  const against = (from: number, to: number): V => ops.batchMatmul(queries, sliceRows(ops, keys, from, to), { transposeB: true });
  if (diagonal === undefined) return against(0, k);
  const before = k - ops.shape(diagonal)[1]!;
  const cut = ops.add(against(before, k), diagonal);
  return before === 0 ? cut : ops.concat([against(0, before), cut], 2);
}

function regroup<V>(ops: Ops<V>, queries: V, source: KeySource<V>): V {
  const [g, m, d] = ops.shape(queries) as [number, number, number];
  const groups = ops.shape(source.keys)[0]!;
  return groups === g ? queries : ops.reshape(queries, [groups, (g * m) / groups, d]);
}

/** Biases of at most so many scores are written out; larger ones are compared on the device, to keep them out of compiled graphs. */
const WRITTEN_OUT = 2 ** 16;

/**
 * Scores to add where `rows` positions meet themselves: [rows·group, rows] with 0 where the key is not after the query, else
 * {@link MASKED}. Query rows are (position, head of the group).
 */
export function causalBias<V>(ops: Ops<V>, rows: number, group: number): V {
  const positions = Int32Array.from({ length: rows * group }, (_, i) => Math.floor(i / group));
  if (positions.length * rows <= WRITTEN_OUT) {
    const bias = new Float32Array(positions.length * rows);
    positions.forEach((position, row) => bias.fill(MASKED, row * rows + position + 1, (row + 1) * rows));
    return ops.constant(bias, [positions.length, rows]);
  }
  const columns = Int32Array.from({ length: rows }, (_, i) => i);
  const visible = ops.lessEqual(ops.constant(columns, [1, rows], "int32"), ops.constant(positions, [positions.length, 1], "int32"));
  return ops.select(visible, ops.scalar(0), ops.scalar(MASKED));
}

/** `x`, not computed before `after` is: keeps the score tensors of successive chunks from living side by side. */
export function sequenced<V>(ops: Ops<V>, x: V, after: V | undefined): V {
  if (after === undefined) return x;
  const shape = ops.shape(after);
  const one = ops.reshape(ops.slice(after, shape.map(() => 0), shape.map(() => 1)), []);
  return ops.add(x, ops.mul(one, ops.scalar(0)));
}
