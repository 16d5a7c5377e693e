import type { Ops } from "@dramascope/tensorflow";

/** Heads of the decoder. */
export interface HeadShape {
  heads: number;
  kvHeads: number;
  headDim: number;
}

/** Neighbouring rows, `to` not among them. */
export interface Span {
  from: number;
  to: number;
}

/** Rows in spans of at most `chunk`. */
export function spans(rows: number, chunk: number): Span[] {
  const out: Span[] = [];
  for (let from = 0; from < rows; from += chunk) out.push({ from, to: Math.min(rows, from + chunk) });
  return out;
}

/** [b·rows, n·w] -> [b·n, rows, w]: rows of all heads become rows of each head. */
export function toHeads<V>(ops: Ops<V>, x: V, batch: number, n: number): V {
  const rows = ops.shape(x)[0]! / batch;
  const width = ops.shape(x)[1]! / n;
  return ops.reshape(ops.transpose(ops.reshape(x, [batch, rows, n, width]), [0, 2, 1, 3]), [batch * n, rows, width]);
}

/** Inverse of {@link toHeads}. */
export function fromHeads<V>(ops: Ops<V>, x: V, batch: number, rows: number, n: number): V {
  const elements = ops.shape(x).reduce((a, b) => a * b, 1);
  const width = elements / (batch * rows * n);
  return ops.reshape(ops.transpose(ops.reshape(x, [batch, n, rows, width]), [0, 2, 1, 3]), [batch * rows, n * width]);
}

/** Rows of the prompts and of the completions by head; undefined where there are none. */
export function partHeads<V>(ops: Ops<V>, x: V, prompts: number, promptRows: number, n: number): [prompts: V | undefined, completions: V | undefined] {
  const rows = ops.shape(x)[0]!;
  const before = prompts * promptRows;
  if (before === 0) return [undefined, toHeads(ops, x, prompts, n)];
  if (rows === before) return [toHeads(ops, x, prompts, n), undefined];
  const [first, second] = ops.split(x, [before, rows - before], 0) as [V, V];
  return [toHeads(ops, first, prompts, n), toHeads(ops, second, prompts, n)];
}

/** A value in so many equal parts of its first axis; of one head rows are a view, not a copy. */
export function apart<V>(ops: Ops<V>, x: V, parts: number): V[] {
  return parts === 1 ? [x] : ops.split(x, new Array<number>(parts).fill(ops.shape(x)[0]! / parts), 0);
}

/** Values one after the other along an axis. */
export function joined<V>(ops: Ops<V>, values: readonly V[], axis: number): V {
  return values.length === 1 ? values[0]! : ops.concat(values, axis);
}

/** Sum of values whose last axis grows; shorter ones end in zeros. */
export function growingSum<V>(ops: Ops<V>, values: readonly V[]): V {
  return values.reduce((sum, next) => {
    const shape = ops.shape(sum);
    const missing = ops.shape(next).at(-1)! - shape.at(-1)!;
    return ops.add(missing === 0 ? sum : ops.pad(sum, shape.map((_, axis): [number, number] => [0, axis === shape.length - 1 ? missing : 0])), next);
  });
}

/** [g, d, rows] -> [g, rows, d]. */
export function rowsFirst<V>(ops: Ops<V>, x: V): V {
  return ops.transpose(x, [0, 2, 1]);
}

/** Sum of values of one shape. */
export function sum<V>(ops: Ops<V>, values: readonly V[]): V {
  return values.reduce((a, b) => ops.add(a, b));
}
