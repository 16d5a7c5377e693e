/** Element types that op bodies may use. */
export type OpsDtype = "float32" | "int32" | "bool" | "bfloat16";

/** Shape and type of one value; every dimension is known when a body runs. */
export interface TensorSpec {
  /** Sizes of the axes. */
  shape: readonly number[];
  /** Element type. */
  dtype: OpsDtype;
}

/** Transposition of the last two axes of a product's sides. */
export interface MatmulOptions {
  /** Of the left side. Default false. */
  transposeA?: boolean;
  /** Of the right side. Default false. */
  transposeB?: boolean;
}

/**
 * Raw operations over opaque values `V`, rank ≤ 4, shapes static. Three implementations: a graph recorder, raw TensorFlow ids
 * and TensorFlow.js (any back end, wasm included). Element-wise binary operations broadcast as in NumPy.
 */
export interface Ops<V> {
  /** Shape of a value. */
  shape(x: V): readonly number[];
  /** Type of a value. */
  dtype(x: V): OpsDtype;
  /** The same operations with node names below `name`; names appear in error texts. */
  scope(name: string): Ops<V>;
  /** A constant tensor. */
  constant(values: Float32Array | Int32Array | readonly number[], shape: readonly number[], dtype?: "float32" | "int32" | "bool"): V;
  /** A float32 constant of rank 0. */
  scalar(value: number): V;

  /** [m,k] x [k,n] -> [m,n]. */
  matmul(a: V, b: V, options?: MatmulOptions): V;
  /** Product over the last two axes of equal-rank (3 or 4) values; leading axes are equal. */
  batchMatmul(a: V, b: V, options?: MatmulOptions): V;

  /** a + b. */
  add(a: V, b: V): V;
  /** a − b. */
  sub(a: V, b: V): V;
  /** a · b. */
  mul(a: V, b: V): V;
  /** a / b. */
  div(a: V, b: V): V;
  /** The larger of two elements. */
  maximum(a: V, b: V): V;
  /** The smaller of two elements. */
  minimum(a: V, b: V): V;
  /** −x. */
  neg(x: V): V;
  /** eˣ. */
  exp(x: V): V;
  /** Natural logarithm. */
  log(x: V): V;
  /** √x. */
  sqrt(x: V): V;
  /** 1 / √x. */
  rsqrt(x: V): V;
  /** x². */
  square(x: V): V;
  /** 1 / (1 + e⁻ˣ). */
  sigmoid(x: V): V;
  /** Hyperbolic tangent. */
  tanh(x: V): V;
  /** Error function, 2/√π ∫₀ˣ e^(−t²) dt. */
  erf(x: V): V;
  /** Over the last axis. */
  softmax(x: V): V;
  /** Over the last axis. */
  logSoftmax(x: V): V;

  /** Sum over `axes`, which are dropped unless `keepDims`. */
  sum(x: V, axes: readonly number[], keepDims?: boolean): V;
  /** Mean over `axes`, which are dropped unless `keepDims`. */
  mean(x: V, axes: readonly number[], keepDims?: boolean): V;
  /** Largest entry over `axes`, which are dropped unless `keepDims`. */
  max(x: V, axes: readonly number[], keepDims?: boolean): V;
  /** Index of the largest entry of the last axis, lowest index on ties; int32, rank one less. */
  argMax(x: V): V;

  /** The same elements in another shape of as many. */
  reshape(x: V, shape: readonly number[]): V;
  /** Axis i of the result is axis `permutation[i]` of x. */
  transpose(x: V, permutation: readonly number[]): V;
  /** Values that differ along `axis` only, one after the other. */
  concat(values: readonly V[], axis: number): V;
  /** Parts of the given sizes along `axis`. */
  split(x: V, sizes: readonly number[], axis: number): V[];
  /** The part that starts at `begin` and has the shape `size`. */
  slice(x: V, begin: readonly number[], size: readonly number[]): V;
  /** Zero padding: [before, after] for each axis. */
  pad(x: V, paddings: readonly (readonly [number, number])[]): V;
  /** Repeats to a larger shape by the broadcasting rules. */
  broadcastTo(x: V, shape: readonly number[]): V;

  /** Rows of axis 0 picked by int32 indices [n] -> [n, ...]. Indices must lie inside: TensorFlow on a CPU refuses others, on a GPU it gives zeros for them. */
  gather(x: V, indices: V): V;
  /** Rows added up by their int32 id: [n, ...] with ids [n] -> [count, ...]; adjoint of {@link gather}. */
  segmentSum(x: V, ids: V, count: number): V;
  /**
   * `x` with rows `indices` of axis 0 replaced by `rows`. An `x` that is an input of the body, or comes from `updateRows` of one, and that no operation has
   * used before is overwritten in place on native TensorFlow: the caller's tensor changes, with every clone and reshape that shares its memory, and the body must
   * not use `x` again (`COMPILE_OVERWRITTEN`). Any other `x` stays as it is.
   */
  updateRows(x: V, indices: V, rows: V): V;

  /** a = b, as bool. */
  equal(a: V, b: V): V;
  /** a < b, as bool. */
  less(a: V, b: V): V;
  /** a ≤ b, as bool. */
  lessEqual(a: V, b: V): V;
  /** Both, of bool values. */
  logicalAnd(a: V, b: V): V;
  /** `condition ? a : b`, element by element, with broadcasting. */
  select(condition: V, a: V, b: V): V;
  /** The same values in another type; float32 to int32 cuts off the fraction. */
  cast(x: V, dtype: OpsDtype): V;
  /** int32 [n] -> float32 [n, depth]. */
  oneHot(indices: V, depth: number): V;
}

/** Inputs of a body by name. */
export type Inputs<V> = Readonly<Record<string, V>>;

/** A pure computation: reads only its arguments, has no data-dependent JavaScript and a fixed order. */
export type Body = <V>(ops: Ops<V>, inputs: Inputs<V>) => Record<string, V>;
