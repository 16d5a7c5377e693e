import type { Ops } from "@dramascope/tensorflow";

/** How bfloat16 matrices are multiplied: with the other side rounded to bfloat16 too, or widened to float32 for each product. */
export type MatrixProducts = "bfloat16" | "float32";

/**
 * The same operations for bodies some of whose matrices are bfloat16: products with such a matrix and rows gathered from it come as
 * float32. Everything else stays in float32.
 */
export function mixedOps<V>(ops: Ops<V>, products: MatrixProducts, narrowed = new Map<V, V>()): Ops<V> {
  const isNarrow = (x: V): boolean => ops.dtype(x) === "bfloat16";
  const wide = (x: V): V => ops.cast(x, "float32");
  // Several linears read one value.
  const narrow = (x: V): V => {
    const known = narrowed.get(x) ?? ops.cast(x, "bfloat16");
    narrowed.set(x, known);
    return known;
  };
  return {
    ...ops,
    scope: (name) => mixedOps(ops.scope(name), products, narrowed),
    matmul: (a, b, options) => {
      if (!isNarrow(a) && !isNarrow(b)) return ops.matmul(a, b, options);
      return products === "float32" ? ops.matmul(wide(a), wide(b), options) : wide(ops.matmul(narrow(a), narrow(b), options));
    },
    gather: (x, indices) => (isNarrow(x) ? wide(ops.gather(x, indices)) : ops.gather(x, indices)),
  };
}
