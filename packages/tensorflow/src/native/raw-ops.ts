import { TensorFlowError } from "../errors.ts";
import type { Body, MatmulOptions, Ops, OpsDtype } from "../ops.ts";

/** A value whose shape and type are known. */
export interface RawValue {
  shape: readonly number[];
  dtype: OpsDtype;
}

/** An attribute of an operation that does not follow from its inputs. */
export type Attribute = { int: number } | { bool: boolean } | { type: OpsDtype } | { shape: readonly number[] };

/** Where TensorFlow's operations go: into a graph, or to be run at once. */
export interface Emit<V extends RawValue> {
  /** The results of one operation; an input that is a list is one argument of it. */
  node(type: string, name: string, inputs: readonly (V | readonly V[])[], attributes: Readonly<Record<string, Attribute>>, outputs: number): V[];
  /** A constant. */
  constant(values: Float32Array | Int32Array | Uint8Array, shape: readonly number[], dtype: "float32" | "int32" | "bool"): V;
  /** Whether the value is one of the body's inputs, unchanged. */
  isInput(value: V): boolean;
}

/** Constants of up to so many elements are made once a body. */
const SHARED_UP_TO = 64;

function refuseOverwritten(name: string): never {
  throw new TensorFlowError(`${name} uses a value that updateRows has overwritten`, { code: "COMPILE_OVERWRITTEN", hint: "Use the result of updateRows, and its input for nothing else." });
}

/** Runs a body on {@link Ops} by TensorFlow's own operations. */
export function runBody<V extends RawValue>(emit: Emit<V>, body: Body, inputs: Readonly<Record<string, V>>): Record<string, V> {
  const overwritten = new Set<V>();
  const outputs = body(rawOps(emit, overwritten), inputs);
  for (const [key, value] of Object.entries(outputs)) if (overwritten.has(value)) refuseOverwritten(`the result ${key}`);
  return outputs;
}

function rawOps<V extends RawValue>(emit: Emit<V>, overwritten: Set<V>): Ops<V> {
  /** Values that an operation has read. In a graph it may run at any later time. */
  const used = new Set<V>();
  /** Results of in-place updates, which nothing outside shares. */
  const updated = new Set<V>();
  const constants = new Map<string, V>();
  const constant = (values: Float32Array | Int32Array | readonly number[], shape: readonly number[], dtype: "float32" | "int32" | "bool"): V => {
    const typed = dtype === "float32" ? Float32Array.from(values) : dtype === "int32" ? Int32Array.from(values) : Uint8Array.from(values);
    if (typed.length > SHARED_UP_TO) return emit.constant(typed, shape, dtype);
    const key = `${dtype}[${shape.join()}]${Buffer.from(typed.buffer).toString("base64")}`;
    const known = constants.get(key) ?? emit.constant(typed, shape, dtype);
    constants.set(key, known);
    return known;
  };

  const at = (prefix: string): Ops<V> => {
    const nodes = (type: string, inputs: readonly (V | readonly V[])[], attributes: Readonly<Record<string, Attribute>>, outputs: number): V[] => {
      for (const value of inputs.flat() as V[]) {
        if (overwritten.has(value)) refuseOverwritten(`${prefix}${type}`);
        used.add(value);
      }
      return emit.node(type, `${prefix}${type}`, inputs, attributes, outputs);
    };
    const node = (type: string, inputs: readonly (V | readonly V[])[], attributes: Readonly<Record<string, Attribute>> = {}): V => nodes(type, inputs, attributes, 1)[0]!;
    const ints = (values: readonly number[]): V => {
      const wrong = values.find((value) => !Number.isInteger(value) || Math.abs(value) >= 2 ** 31);
      if (wrong !== undefined) throw new TensorFlowError(`${prefix || "the body"}: ${wrong} among [${values.join(",")}] is no 32-bit integer`, { code: "OPS_INTEGER", hint: "Sizes, axes and offsets are whole numbers below 2³¹." });
      return constant(values, [values.length], "int32");
    };
    /** In place only where nobody else can see it: writing into a constant, or into what an optimiser makes of one, would change the function itself. */
    const updateRows = (x: V, indices: V, rows: V): V => {
      if (used.has(x) || !(emit.isInput(x) || updated.has(x))) return node("TensorScatterUpdate", [x, node("ExpandDims", [indices, constant([1], [], "int32")]), rows]);
      const result = node("InplaceUpdate", [x, indices, rows]);
      overwritten.add(x);
      updated.add(result);
      return result;
    };
    const unary = (type: string) => (x: V): V => node(type, [x]);
    const binary = (type: string) => (a: V, b: V): V => node(type, [a, b]);
    const reduce = (type: string) => (x: V, axes: readonly number[], keepDims = false): V => node(type, [x, ints(axes)], { keep_dims: { bool: keepDims } });
    return {
      shape: (x) => x.shape,
      dtype: (x) => x.dtype,
      scope: (name) => at(`${prefix}${name}/`),
      constant: (values, shape, dtype = "float32") => constant(values, shape, dtype),
      scalar: (value) => constant([value], [], "float32"),
      matmul: (a, b, { transposeA = false, transposeB = false }: MatmulOptions = {}) => node("MatMul", [a, b], { transpose_a: { bool: transposeA }, transpose_b: { bool: transposeB } }),
      batchMatmul: (a, b, { transposeA = false, transposeB = false }: MatmulOptions = {}) => node("BatchMatMulV2", [a, b], { adj_x: { bool: transposeA }, adj_y: { bool: transposeB } }),
      add: binary("AddV2"),
      sub: binary("Sub"),
      mul: binary("Mul"),
      div: binary("RealDiv"),
      maximum: binary("Maximum"),
      minimum: binary("Minimum"),
      neg: unary("Neg"),
      exp: unary("Exp"),
      log: unary("Log"),
      sqrt: unary("Sqrt"),
      rsqrt: unary("Rsqrt"),
      square: unary("Square"),
      sigmoid: unary("Sigmoid"),
      tanh: unary("Tanh"),
      erf: unary("Erf"),
      softmax: unary("Softmax"),
      logSoftmax: unary("LogSoftmax"),
      sum: reduce("Sum"),
      mean: reduce("Mean"),
      max: reduce("Max"),
      argMax: (x) => node("ArgMax", [x, constant([x.shape.length - 1], [], "int32")], { output_type: { type: "int32" } }),
      reshape: (x, shape) => node("Reshape", [x, ints(shape)]),
      transpose: (x, permutation) => node("Transpose", [x, ints(permutation)]),
      concat: (values, axis) => (values.length === 1 ? values[0]! : node("ConcatV2", [values, constant([axis < 0 ? axis + values[0]!.shape.length : axis], [], "int32")], { Tidx: { type: "int32" } })),
      split: (x, sizes, axis) =>
        sizes.length === 1 ? [x] : nodes("SplitV", [x, ints(sizes), constant([axis < 0 ? axis + x.shape.length : axis], [], "int32")], { num_split: { int: sizes.length } }, sizes.length),
      slice: (x, begin, size) => node("Slice", [x, ints(begin), ints(size)]),
      pad: (x, paddings) => node("Pad", [x, constant(paddings.flat(), [paddings.length, 2], "int32")]),
      broadcastTo: (x, shape) => node("BroadcastTo", [x, ints(shape)]),
      gather: (x, indices) => node("GatherV2", [x, indices, constant([0], [], "int32")]),
      segmentSum: (x, ids, count) => node("UnsortedSegmentSum", [x, ids, constant([count], [], "int32")]),
      updateRows,
      equal: binary("Equal"),
      less: binary("Less"),
      lessEqual: binary("LessEqual"),
      logicalAnd: binary("LogicalAnd"),
      select: (condition, a, b) => node("SelectV2", [condition, a, b]),
      cast: (x, dtype) => (x.dtype === dtype ? x : node("Cast", [x], { DstT: { type: dtype } })),
      oneHot: (indices, depth) =>
        node("OneHot", [indices, constant([depth], [], "int32"), constant([1], [], "float32"), constant([0], [], "float32")], { axis: { int: -1 } }),
    };
  };
  return at("");
}
