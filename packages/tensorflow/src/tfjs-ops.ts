import type * as tfjs from "@tensorflow/tfjs";
import { TensorFlowError } from "./errors.ts";
import type { MatmulOptions, Ops, OpsDtype } from "./ops.ts";

type T = tfjs.Tensor;

/** Multiplications of one product of a batch from which taking the batch apart on wasm (a fifth of a millisecond each) pays. */
const SPLIT_FROM = 250_000;

/**
 * {@link Ops} as plain TensorFlow.js operations on the current back end: what bodies run on where nothing can be compiled, and the
 * reference for what is. Intermediate tensors belong to the caller's `tf.tidy`.
 */
export function tfjsOps(tf: typeof tfjs): Ops<T> {
  // wasm multiplies fast only without transposition and without a batch; everything else costs about ten times as much there.
  const plainProducts = tf.getBackend() === "wasm";

  const transposed = (x: T): T => {
    const axes = x.shape.map((_, axis) => axis);
    axes.push(...axes.splice(-2).reverse());
    return tf.transpose(x, axes);
  };

  const matmul = (a: T, b: T, { transposeA = false, transposeB = false }: MatmulOptions = {}): T => {
    if (!plainProducts) return tf.matMul(a, b, transposeA, transposeB);
    return tf.matMul(transposeA ? transposed(a) : a, transposeB ? transposed(b) : b);
  };

  const batchMatmul = (a: T, b: T, options: MatmulOptions = {}): T => {
    if (!plainProducts) return tf.matMul(a, b, options.transposeA, options.transposeB);
    const left = options.transposeA ? transposed(a) : a;
    const right = options.transposeB ? transposed(b) : b;
    const batch = left.shape.slice(0, -2);
    const count = batch.reduce((x, y) => x * y, 1);
    const [m, k] = left.shape.slice(-2) as [number, number];
    const n = right.shape.at(-1)!;
    if (count > 1 && m * k * n < SPLIT_FROM) return tf.matMul(left, right);
    if (count === 1) return tf.matMul(left.reshape([m, k]), right.reshape([k, n])).reshape([...batch, m, n]);
    const lefts = tf.unstack(left.reshape([count, m, k]));
    const rights = tf.unstack(right.reshape([count, k, n]));
    return tf.stack(lefts.map((one, i) => tf.matMul(one as tfjs.Tensor2D, rights[i] as tfjs.Tensor2D))).reshape([...batch, m, n]);
  };

  const dtypeOf = (x: T): OpsDtype => {
    if (x.dtype === "float32" || x.dtype === "int32" || x.dtype === "bool") return x.dtype;
    throw new TensorFlowError(`op bodies do not know tensors of type ${x.dtype}`, { code: "OPS_DTYPE", hint: "Use float32, int32 or bool." });
  };

  const tfjsDtype = (dtype: OpsDtype): "float32" | "int32" | "bool" => {
    if (dtype !== "bfloat16") return dtype;
    throw new TensorFlowError("bfloat16 needs compiled functions: TensorFlow.js itself has no such tensors", { code: "OPS_DTYPE", hint: "Use float32 on this back end." });
  };

  const logSoftmax = (x: T): T => {
    const shifted = tf.sub(x, tf.max(x, -1, true));
    return tf.sub(shifted, tf.log(tf.sum(tf.exp(shifted), -1, true)));
  };

  const ops: Ops<T> = {
    shape: (x) => x.shape,
    dtype: dtypeOf,
    scope: () => ops,
    constant: (values, shape, dtype = "float32") => tf.tensor(values, [...shape], dtype),
    scalar: (value) => tf.scalar(value),
    matmul,
    batchMatmul,
    add: (a, b) => tf.add(a, b),
    sub: (a, b) => tf.sub(a, b),
    mul: (a, b) => tf.mul(a, b),
    div: (a, b) => tf.div(a, b),
    maximum: (a, b) => tf.maximum(a, b),
    minimum: (a, b) => tf.minimum(a, b),
    neg: (x) => tf.neg(x),
    exp: (x) => tf.exp(x),
    log: (x) => tf.log(x),
    sqrt: (x) => tf.sqrt(x),
    rsqrt: (x) => tf.rsqrt(x),
    square: (x) => tf.square(x),
    sigmoid: (x) => tf.sigmoid(x),
    tanh: (x) => tf.tanh(x),
    erf: (x) => tf.erf(x),
    softmax: (x) => tf.softmax(x, -1),
    logSoftmax,
    sum: (x, axes, keepDims = false) => tf.sum(x, [...axes], keepDims),
    mean: (x, axes, keepDims = false) => tf.mean(x, [...axes], keepDims),
    max: (x, axes, keepDims = false) => tf.max(x, [...axes], keepDims),
    argMax: (x) => tf.argMax(x, -1),
    reshape: (x, shape) => tf.reshape(x, [...shape]),
    transpose: (x, permutation) => tf.transpose(x, [...permutation]),
    concat: (values, axis) => (values.length === 1 ? tf.clone(values[0]!) : tf.concat([...values], axis)),
    split: (x, sizes, axis) => (sizes.length === 1 ? [tf.clone(x)] : tf.split(x, [...sizes], axis)),
    slice: (x, begin, size) => tf.slice(x, [...begin], [...size]),
    pad: (x, paddings) => tf.pad(x, paddings.map(([before, after]): [number, number] => [before, after])),
    broadcastTo: (x, shape) => tf.broadcastTo(x, [...shape]),
    gather: (x, indices) => tf.gather(x, indices, 0),
    segmentSum: (x, ids, count) => {
      if (!plainProducts) return tf.unsortedSegmentSum(x, ids as tfjs.Tensor1D, count);
      const flat = tf.reshape(x, [x.shape[0], -1]);
      return tf.reshape(matmul(tf.cast(tf.oneHot(ids, count), "float32"), flat, { transposeA: true }), [count, ...x.shape.slice(1)]);
    },
    updateRows: (x, indices, rows) => tf.tensorScatterUpdate(x, tf.reshape(indices, [-1, 1]), rows),
    equal: (a, b) => tf.equal(a, b),
    less: (a, b) => tf.less(a, b),
    lessEqual: (a, b) => tf.lessEqual(a, b),
    logicalAnd: (a, b) => tf.logicalAnd(a, b),
    select: (condition, a, b) => tf.where(condition, a, b),
    cast: (x, dtype) => tf.cast(x, tfjsDtype(dtype)),
    oneHot: (indices, depth) => tf.cast(tf.oneHot(indices, depth), "float32"),
  };
  return ops;
}
