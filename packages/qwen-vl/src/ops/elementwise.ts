import type { Ops } from "@dramascope/tensorflow";

/** Root-mean-square norm over the last axis of [n, h] with weight [h]. */
export function rmsNorm<V>(ops: Ops<V>, x: V, weight: V, eps: number): V {
  return ops.mul(ops.mul(x, inverseRms(ops, x, eps)), weight);
}

/** Adjoint of {@link rmsNorm}: gradients of x and, when asked for, of the weight. */
export function rmsNormVjp<V>(ops: Ops<V>, x: V, weight: V, eps: number, dy: V, wantsWeight: boolean): { x: V; weight?: V } {
  const r = inverseRms(ops, x, eps);
  const hat = ops.mul(x, r);
  const dHat = ops.mul(dy, weight);
  const projection = ops.mean(ops.mul(dHat, hat), [1], true);
  const dx = ops.mul(r, ops.sub(dHat, ops.mul(hat, projection)));
  return wantsWeight ? { x: dx, weight: ops.sum(ops.mul(dy, hat), [0]) } : { x: dx };
}

function inverseRms<V>(ops: Ops<V>, x: V, eps: number): V {
  return ops.rsqrt(ops.add(ops.mean(ops.square(x), [1], true), ops.scalar(eps)));
}

/**
 * Rotary embedding over the last axis: the halves (u, v) of each head become (u cos − v sin, v cos + u sin). `cos` and `sin`
 * broadcast to half of `x`. With `inverse` the rotation goes back, which is the adjoint.
 */
export function rotate<V>(ops: Ops<V>, x: V, cos: V, sin: V, inverse = false): V {
  const axis = ops.shape(x).length - 1;
  const half = ops.shape(x)[axis]! / 2;
  const [u, v] = ops.split(x, [half, half], axis) as [V, V];
  const first = inverse ? ops.add(ops.mul(u, cos), ops.mul(v, sin)) : ops.sub(ops.mul(u, cos), ops.mul(v, sin));
  const second = inverse ? ops.sub(ops.mul(v, cos), ops.mul(u, sin)) : ops.add(ops.mul(v, cos), ops.mul(u, sin));
  return ops.concat([first, second], axis);
}

/** silu(gate) · up. */
export function swiglu<V>(ops: Ops<V>, gate: V, up: V): V {
  return ops.mul(ops.mul(gate, ops.sigmoid(gate)), up);
}

/** Adjoint of {@link swiglu}. */
export function swigluVjp<V>(ops: Ops<V>, gate: V, up: V, dy: V): { gate: V; up: V } {
  const s = ops.sigmoid(gate);
  const silu = ops.mul(gate, s);
  // The slope of silu is s · (1 + gate − silu).
  const slope = ops.add(ops.sub(gate, silu), ops.scalar(1));
  return { gate: ops.mul(ops.mul(ops.mul(up, s), dy), slope), up: ops.mul(dy, silu) };
}

/** x · Φ(x) with the exact normal distribution function. */
export function gelu<V>(ops: Ops<V>, x: V): V {
  return ops.mul(x, normalCdf(ops, x));
}

/** Adjoint of {@link gelu}. */
export function geluVjp<V>(ops: Ops<V>, x: V, dy: V): V {
  const density = ops.mul(ops.exp(ops.mul(ops.square(x), ops.scalar(-0.5))), ops.scalar(1 / Math.sqrt(2 * Math.PI)));
  return ops.mul(dy, ops.add(normalCdf(ops, x), ops.mul(x, density)));
}

function normalCdf<V>(ops: Ops<V>, x: V): V {
  return ops.mul(ops.add(ops.erf(ops.mul(x, ops.scalar(Math.SQRT1_2))), ops.scalar(1)), ops.scalar(0.5));
}
