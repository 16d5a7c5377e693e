import type { Ops, OpsDtype } from "@dramascope/tensorflow";

/** A tensor of doubles, row-major. */
export interface Doubles {
  shape: readonly number[];
  values: Float64Array;
}

/** Nested arrays as a tensor. */
export function doubles(nested: unknown): Doubles {
  const shape: number[] = [];
  for (let one = nested; Array.isArray(one); one = one[0] as unknown) shape.push(one.length);
  return { shape, values: Float64Array.from((Array.isArray(nested) ? (nested as unknown[]).flat(Infinity) : [nested]) as number[]) };
}

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const strides = (shape: readonly number[]): number[] => shape.map((_, axis) => size(shape.slice(axis + 1)));
const make = (shape: readonly number[], at: (place: readonly number[], i: number) => number): Doubles => {
  const steps = strides(shape);
  return { shape, values: Float64Array.from({ length: size(shape) }, (_, i) => at(shape.map((side, axis) => Math.floor(i / steps[axis]!) % side), i)) };
};
const read = ({ shape, values }: Doubles, place: readonly number[]): number => values[strides(shape).reduce((sum, step, axis) => sum + step * place[axis]!, 0)]!;

function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => Math.max(a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1));
}
/** The entry that stands at a place of a broadcast result. */
const spread = (x: Doubles, place: readonly number[]): number => read(x, x.shape.map((side, axis) => (side === 1 ? 0 : place[axis + place.length - x.shape.length]!)));

const map = (f: (x: number) => number) => (x: Doubles): Doubles => ({ shape: x.shape, values: x.values.map(f) });
const pairwise = (f: (a: number, b: number) => number) => (a: Doubles, b: Doubles): Doubles => make(broadcast(a.shape, b.shape), (place) => f(spread(a, place), spread(b, place)));

function reduce(x: Doubles, axes: readonly number[], keepDims: boolean, start: number, f: (a: number, b: number) => number): Doubles {
  const kept = make(x.shape.map((side, axis) => (axes.includes(axis) ? 1 : side)), () => start);
  const [from, to] = [strides(x.shape), strides(kept.shape)];
  x.values.forEach((value, i) => {
    const at = x.shape.reduce((sum, side, axis) => sum + (axes.includes(axis) ? 0 : to[axis]! * (Math.floor(i / from[axis]!) % side)), 0);
    kept.values[at] = f(kept.values[at]!, value);
  });
  return keepDims ? kept : { shape: x.shape.filter((_, axis) => !axes.includes(axis)), values: kept.values };
}

function product(a: Doubles, b: Doubles, { transposeA = false, transposeB = false } = {}): Doubles {
  const lead = a.shape.slice(0, -2);
  const [rows, inner] = transposeA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
  return make([...lead, rows, transposeB ? b.shape.at(-2)! : b.shape.at(-1)!], (place) => {
    const before = place.slice(0, -2);
    const [row, column] = place.slice(-2) as [number, number];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += read(a, [...before, ...(transposeA ? [k, row] : [row, k])]) * read(b, [...before, ...(transposeB ? [column, k] : [k, column])]);
    return sum;
  });
}

const sub = pairwise((a, b) => a - b);
const exp = map(Math.exp);
const last = (x: Doubles): number[] => [x.shape.length - 1];
const sumOf = (x: Doubles, axes: readonly number[], keepDims = false): Doubles => reduce(x, axes, keepDims, 0, (a, b) => a + b);
const maxOf = (x: Doubles, axes: readonly number[], keepDims = false): Doubles => reduce(x, axes, keepDims, Number.NEGATIVE_INFINITY, Math.max);
const logSoftmax = (x: Doubles): Doubles => {
  const centred = sub(x, maxOf(x, last(x), true));
  return sub(centred, map(Math.log)(sumOf(exp(centred), last(x), true)));
};
const slice = (x: Doubles, begin: readonly number[], shape: readonly number[]): Doubles => make(shape, (place) => read(x, place.map((at, axis) => at + begin[axis]!)));

const missing = (name: string) => (): never => {
  throw new Error(`${name} is not needed in doubles`);
};

/** The operations that bodies of the decoder need, in doubles on the host: slow, and exact enough to be held against float64 references. */
export const doubleOps: Ops<Doubles> = {
  shape: ({ shape }) => shape,
  dtype: (): OpsDtype => "float32",
  scope: () => doubleOps,
  constant: (values, shape) => ({ shape, values: Float64Array.from(values) }),
  scalar: (value) => ({ shape: [], values: Float64Array.of(value) }),
  matmul: product,
  batchMatmul: product,
  add: pairwise((a, b) => a + b),
  sub,
  mul: pairwise((a, b) => a * b),
  div: pairwise((a, b) => a / b),
  maximum: pairwise(Math.max),
  minimum: pairwise(Math.min),
  neg: map((x) => -x),
  exp,
  log: map(Math.log),
  sqrt: map(Math.sqrt),
  rsqrt: map((x) => 1 / Math.sqrt(x)),
  square: map((x) => x * x),
  sigmoid: map((x) => 1 / (1 + Math.exp(-x))),
  tanh: map(Math.tanh),
  erf: missing("erf"),
  softmax: (x) => exp(logSoftmax(x)),
  logSoftmax,
  sum: sumOf,
  mean: (x, axes, keepDims) => {
    const total = sumOf(x, axes, keepDims);
    return map((value) => (value * total.values.length) / x.values.length)(total);
  },
  max: maxOf,
  argMax: (x) => make(x.shape.slice(0, -1), (place) => {
    const row = Array.from({ length: x.shape.at(-1)! }, (_, k) => read(x, [...place, k]));
    return row.indexOf(Math.max(...row));
  }),
  reshape: ({ values }, shape) => ({ shape, values }),
  transpose: (x, permutation) => make(permutation.map((axis) => x.shape[axis]!), (place) => read(x, x.shape.map((_, axis) => place[permutation.indexOf(axis)]!))),
  concat: (values, axis) => make(values[0]!.shape.map((side, k) => (k === axis ? values.reduce((sum, one) => sum + one.shape[axis]!, 0) : side)), (place) => {
    let [at, i] = [place[axis]!, 0];
    while (at >= values[i]!.shape[axis]!) at -= values[i++]!.shape[axis]!;
    return read(values[i]!, place.map((one, k) => (k === axis ? at : one)));
  }),
  split: (x, sizes, axis) => {
    let at = 0;
    return sizes.map((side) => slice(x, x.shape.map((_, k) => (k === axis ? (at += side) - side : 0)), x.shape.map((one, k) => (k === axis ? side : one))));
  },
  slice,
  pad: (x, paddings) => make(x.shape.map((side, k) => side + paddings[k]![0] + paddings[k]![1]), (place) => {
    const inner = place.map((at, k) => at - paddings[k]![0]);
    return inner.every((at, k) => at >= 0 && at < x.shape[k]!) ? read(x, inner) : 0;
  }),
  broadcastTo: (x, shape) => make(shape, (place) => spread(x, place)),
  gather: (x, indices) => make([indices.values.length, ...x.shape.slice(1)], ([row, ...rest]) => read(x, [indices.values[row!]!, ...rest])),
  segmentSum: (x, ids, count) => make([count, ...x.shape.slice(1)], ([row, ...rest]) => ids.values.reduce((sum, id, i) => (id === row ? sum + read(x, [i, ...rest]) : sum), 0)),
  updateRows: missing("updateRows"),
  equal: pairwise((a, b) => Number(a === b)),
  less: pairwise((a, b) => Number(a < b)),
  lessEqual: pairwise((a, b) => Number(a <= b)),
  logicalAnd: pairwise((a, b) => Number(a !== 0 && b !== 0)),
  select: (condition, a, b) => make(broadcast(condition.shape, broadcast(a.shape, b.shape)), (place) => (spread(condition, place) !== 0 ? spread(a, place) : spread(b, place))),
  cast: (x) => x,
  oneHot: (indices, depth) => make([indices.values.length, depth], ([row, column]) => Number(indices.values[row!] === column)),
};
