import type { Ops } from "@dramascope/tensorflow";

/** The same operations; every product's and softmax's result is also put into `kept`, in the order of the calls. */
export function keepingOps<V>(ops: Ops<V>, kept: V[]): Ops<V> {
  const keep = (value: V): V => {
    kept.push(value);
    return value;
  };
  return {
    ...ops,
    scope: (name) => keepingOps(ops.scope(name), kept),
    matmul: (a, b, options) => keep(ops.matmul(a, b, options)),
    softmax: (x) => keep(ops.softmax(x)),
  };
}

/** The same operations; products and softmax take their results from what {@link keepingOps} kept of the same computation. */
export function replayingOps<V>(ops: Ops<V>, kept: Iterator<V, undefined>): Ops<V> {
  const next = (): V => kept.next().value as V;
  return { ...ops, scope: (name) => replayingOps(ops.scope(name), kept), matmul: next, softmax: next };
}
