import type { Ops } from "@dramascope/tensorflow";

/** Low-rank addition to a linear: y += scale · (x Aᵀ) Bᵀ, of the kept entries of x only where there is a mask. */
interface LowRank<V> {
  /** [r, in]. */
  a: V;
  /** [out, r]. */
  b: V;
  /** Factor of the product, constant of the body; with a mask it makes up for the dropped entries. */
  scale: number;
  /** Entries of x that the product reads, bool [n, in]; undefined = all. */
  kept?: V | undefined;
}

/** Weights of one linear as values of a body. */
export interface LinearValues<V> {
  /** [in, out]. */
  weight: V;
  /** [out], when the linear has one. */
  bias?: V | undefined;
  /** The active adapter's part, when it touches this linear. */
  lora?: LowRank<V> | undefined;
}

/** Parameters whose gradients {@link linearsVjp} is asked for. */
interface LinearWants {
  weight: boolean;
  bias: boolean;
  lora: boolean;
}

/** Gradients of one linear; weight gradient in PyTorch's shape [out, in]. */
export interface LinearGradients<V> {
  weight?: V;
  bias?: V;
  a?: V;
  b?: V;
}

/**
 * Whether the low-rank part is added to the matrix, which then is multiplied once: what that costs does not grow with the rows. Dropped inputs differ between both parts, and
 * bfloat16 matrices would round the sum.
 */
function isFolded<V>(ops: Ops<V>, x: V, { weight, lora }: LinearValues<V>): boolean {
  return lora !== undefined && lora.kept === undefined && ops.dtype(weight) === "float32" && ops.shape(x)[0]! >= ops.shape(weight)[0]!;
}

/** W + scale · (B A)ᵀ. */
function folded<V>(ops: Ops<V>, { weight, lora }: LinearValues<V>): V {
  const { a, b, scale } = lora!;
  return ops.add(weight, ops.matmul(ops.mul(a, ops.scalar(scale)), b, { transposeA: true, transposeB: true }));
}

/** y = x W + b + scale · (x Aᵀ) Bᵀ over rows [n, in] -> [n, out]. */
export function linear<V>(ops: Ops<V>, x: V, l: LinearValues<V>): V {
  const isOne = isFolded(ops, x, l);
  let y = ops.matmul(x, isOne ? folded(ops, l) : l.weight);
  if (l.bias !== undefined) y = ops.add(y, l.bias);
  if (l.lora !== undefined && !isOne) {
    const low = ops.matmul(keptOf(ops, x, l.lora), ops.mul(l.lora.a, ops.scalar(l.lora.scale)), { transposeB: true });
    y = ops.add(y, ops.matmul(low, l.lora.b, { transposeB: true }));
  }
  return y;
}

/** One of several linears that read the same rows, with the gradient of its result. */
export interface LinearPart<V> {
  values: LinearValues<V>;
  dy: V;
  wants: LinearWants;
}

/** Adjoint of {@link linear} for linears that read the same rows `x`: the gradient of `x` when asked for, and those of each linear. */
export function linearsVjp<V>(ops: Ops<V>, x: V, parts: readonly LinearPart<V>[], wantsX: boolean): { x?: V; parts: LinearGradients<V>[] } {
  const toX: V[] = [];
  const out = parts.map(({ values: l, dy, wants }): LinearGradients<V> => {
    const grads: LinearGradients<V> = {};
    if (wants.weight) grads.weight = ops.matmul(dy, x, { transposeA: true });
    if (wants.bias) grads.bias = ops.sum(dy, [0]);
    if (wantsX) toX.push(ops.matmul(dy, isFolded(ops, x, l) ? folded(ops, l) : l.weight, { transposeB: true }));
    return grads;
  });
  const low = parts.flatMap(({ values: { lora }, dy, wants }, i) => (lora === undefined || !(wantsX || wants.lora) ? [] : [{ i, lora, dLow: ops.matmul(dy, ops.mul(lora.b, ops.scalar(lora.scale))) }]));
  if (wantsX) for (const { i, lora, dLow } of low) if (!isFolded(ops, x, parts[i]!.values)) toX.push(keptOf(ops, ops.matmul(dLow, lora.a), lora));
  // Matrices of a few rows are slow to multiply: those that read the same rows are put together.
  const wanted = low.filter(({ i }) => parts[i]!.wants.lora);
  const groups = [wanted.filter(({ lora }) => lora.kept === undefined), ...wanted.filter(({ lora }) => lora.kept !== undefined).map((one) => [one])];
  for (const group of groups) {
    if (group.length === 0) continue;
    const given = keptOf(ops, x, group[0]!.lora);
    const ranks = group.map(({ lora }) => ops.shape(lora.a)[0]!);
    const scaled = group.map(({ lora }) => ops.mul(lora.a, ops.scalar(lora.scale)));
    const lows = ops.split(ops.matmul(given, ops.concat(scaled, 0), { transposeB: true }), ranks, 1);
    const dA = ops.split(ops.matmul(ops.concat(group.map(({ dLow }) => dLow), 1), given, { transposeA: true }), ranks, 0);
    group.forEach(({ i }, k) => {
      out[i]!.b = ops.transpose(ops.matmul(lows[k]!, parts[i]!.dy, { transposeA: true }), [1, 0]);
      out[i]!.a = dA[k]!;
    });
  }
  return wantsX ? { x: toX.reduce((a, b) => ops.add(a, b)), parts: out } : { parts: out };
}

function keptOf<V>(ops: Ops<V>, x: V, { kept }: LowRank<V>): V {
  return kept === undefined ? x : ops.mul(x, ops.cast(kept, "float32"));
}
