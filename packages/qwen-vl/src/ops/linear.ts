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

/** What {@link linearVjp} is asked for. */
export interface LinearWants {
  x: boolean;
  weight: boolean;
  bias: boolean;
  lora: boolean;
}

/** Gradients of one linear; weight gradient in PyTorch's shape [out, in]. */
export interface LinearGradients<V> {
  x?: V;
  weight?: V;
  bias?: V;
  a?: V;
  b?: V;
}

/** y = x W + b + scale · (x Aᵀ) Bᵀ over rows [n, in] -> [n, out]. */
export function linear<V>(ops: Ops<V>, x: V, l: LinearValues<V>): V {
  let y = ops.matmul(x, l.weight);
  if (l.bias !== undefined) y = ops.add(y, l.bias);
  if (l.lora !== undefined) {
    const low = ops.mul(ops.matmul(keptOf(ops, x, l.lora), l.lora.a, { transposeB: true }), ops.scalar(l.lora.scale));
    y = ops.add(y, ops.matmul(low, l.lora.b, { transposeB: true }));
  }
  return y;
}

/** Adjoint of {@link linear}. */
export function linearVjp<V>(ops: Ops<V>, x: V, l: LinearValues<V>, dy: V, wants: LinearWants): LinearGradients<V> {
  const out: LinearGradients<V> = {};
  if (wants.x) out.x = ops.matmul(dy, l.weight, { transposeB: true });
  if (wants.weight) out.weight = ops.matmul(dy, x, { transposeA: true });
  if (wants.bias) out.bias = ops.sum(dy, [0]);
  if (l.lora === undefined || !(wants.x || wants.lora)) return out;
  const scale = ops.scalar(l.lora.scale);
  const dLow = ops.mul(ops.matmul(dy, l.lora.b), scale);
  if (out.x !== undefined) out.x = ops.add(out.x, keptOf(ops, ops.matmul(dLow, l.lora.a), l.lora));
  if (!wants.lora) return out;
  const given = keptOf(ops, x, l.lora);
  const low = ops.mul(ops.matmul(given, l.lora.a, { transposeB: true }), scale);
  out.b = ops.matmul(dy, low, { transposeA: true });
  out.a = ops.matmul(dLow, given, { transposeA: true });
  return out;
}

function keptOf<V>(ops: Ops<V>, x: V, { kept }: LowRank<V>): V {
  return kept === undefined ? x : ops.mul(x, ops.cast(kept, "float32"));
}
