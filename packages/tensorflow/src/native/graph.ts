import { TensorFlowError } from "../errors.ts";
import type { MatmulOptions, Ops, OpsDtype, TensorSpec } from "../ops.ts";
import { TF_DTYPES, type Binding } from "./binding.ts";

/** A value of a graph under construction: output 0 … of an operation. */
export interface GraphValue {
  oper: bigint;
  index: number;
  shape: readonly number[];
  dtype: OpsDtype;
}

type Attribute = { int: number | bigint } | { bool: boolean } | { type: OpsDtype } | { shape: readonly number[] };

const DTYPE_NAMES = new Map<number, OpsDtype>((["float32", "int32", "bool", "bfloat16"] as const).map((name) => [TF_DTYPES[name], name]));

/** [oper, index] pairs as TF_Output structs in memory. */
function outputArray(values: readonly GraphValue[]): BigUint64Array {
  return BigUint64Array.from(values.flatMap(({ oper, index }) => [oper, BigInt(index)]));
}

/** A graph that records operations; TensorFlow infers every shape as it goes. */
export class GraphRecorder {
  readonly #binding: Binding["raw"];
  readonly #graph: bigint;
  readonly #constants = new Map<string, GraphValue>();
  #count = 0;

  constructor(binding: Binding) {
    this.#binding = binding.raw;
    this.#graph = binding.raw.c.TF_NewGraph() as bigint;
  }

  /** A declared input. */
  placeholder(name: string, spec: TensorSpec): GraphValue {
    return this.#node("Placeholder", name, [], { dtype: { type: spec.dtype }, shape: { shape: spec.shape } })[0]!;
  }

  /** The recorded operations as a function in the eager context. The graph is gone afterwards. */
  finish(name: string, inputs: readonly GraphValue[], outputs: readonly GraphValue[]): bigint {
    const { c, status, check, context } = this.#binding;
    const made = c.TF_GraphToFunction(this.#graph, name, 0, -1, null, inputs.length, outputArray(inputs), outputs.length, outputArray(outputs), null, null, null, status) as bigint;
    check();
    c.TFE_ContextAddFunction(context, made, status);
    check();
    this.dispose();
    return made;
  }

  /** Frees the graph. */
  dispose(): void {
    this.#binding.c.TF_DeleteGraph(this.#graph);
  }

  #node(type: string, name: string, inputs: readonly (GraphValue | readonly GraphValue[])[], attributes: Record<string, Attribute> = {}, outputs = 1, tensor?: bigint): GraphValue[] {
    const { c, status, check } = this.#binding;
    const description = c.TF_NewOperation(this.#graph, type, `${name}_${this.#count++}`) as bigint;
    for (const input of inputs) {
      if (Array.isArray(input)) c.TF_AddInputList(description, outputArray(input as readonly GraphValue[]), (input as readonly GraphValue[]).length);
      else c.TF_AddInput(description, { oper: (input as GraphValue).oper, index: (input as GraphValue).index });
    }
    for (const [key, value] of Object.entries(attributes)) {
      if ("int" in value) c.TF_SetAttrInt(description, key, value.int);
      else if ("bool" in value) c.TF_SetAttrBool(description, key, value.bool ? 1 : 0);
      else if ("type" in value) c.TF_SetAttrType(description, key, TF_DTYPES[value.type]);
      else c.TF_SetAttrShape(description, key, BigInt64Array.from(value.shape, BigInt), value.shape.length);
    }
    if (tensor !== undefined) {
      c.TF_SetAttrTensor(description, "value", tensor, status);
      check();
    }
    const oper = c.TF_FinishOperation(description, status) as bigint;
    check();
    return Array.from({ length: outputs }, (_, index) => this.#describe(oper, index, type));
  }

  #describe(oper: bigint, index: number, type: string): GraphValue {
    const { c, status, check } = this.#binding;
    const output = { oper, index };
    const rank = Number(c.TF_GraphGetTensorNumDims(this.#graph, output, status));
    check();
    const dims = new BigInt64Array(Math.max(0, rank));
    if (rank > 0) {
      c.TF_GraphGetTensorShape(this.#graph, output, dims, rank, status);
      check();
    }
    const shape = Array.from(dims, Number);
    if (rank < 0 || shape.some((size) => size < 0)) throw new TensorFlowError(`${type}: its shape is not known when the function is built`, { code: "COMPILE_SHAPE", hint: "Op bodies work on static shapes." });
    const dtype = DTYPE_NAMES.get(Number(c.TF_OperationOutputType(output)));
    if (dtype === undefined) throw new TensorFlowError(`${type}: its element type is not one of op bodies`, { code: "COMPILE_DTYPE", hint: "Use float32, int32, bool or bfloat16." });
    return { oper, index, shape, dtype };
  }

  #constant(values: Float32Array | Int32Array | readonly number[], shape: readonly number[], dtype: "float32" | "int32" | "bool"): GraphValue {
    const typed = dtype === "float32" ? Float32Array.from(values) : dtype === "int32" ? Int32Array.from(values) : Uint8Array.from(values);
    const key = typed.length <= 64 ? `${dtype}[${shape.join()}]${Buffer.from(typed.buffer).toString("base64")}` : "";
    const known = key === "" ? undefined : this.#constants.get(key);
    if (known) return known;
    const { c, hostTensor } = this.#binding;
    const tensor = hostTensor(shape, TF_DTYPES[dtype], typed);
    try {
      const value = this.#node("Const", "constant", [], { dtype: { type: dtype } }, 1, tensor)[0]!;
      if (key !== "") this.#constants.set(key, value);
      return value;
    } finally {
      c.TF_DeleteTensor(tensor);
    }
  }

  /** The operations, with node names below `prefix`. */
  ops(prefix = ""): Ops<GraphValue> {
    const node = (type: string, inputs: readonly (GraphValue | readonly GraphValue[])[], attributes?: Record<string, Attribute>): GraphValue =>
      this.#node(type, `${prefix}${type}`, inputs, attributes)[0]!;
    const ints = (values: readonly number[]): GraphValue => this.#constant(values, [values.length], "int32");
    const unary = (type: string) => (x: GraphValue): GraphValue => node(type, [x]);
    const binary = (type: string) => (a: GraphValue, b: GraphValue): GraphValue => node(type, [a, b]);
    const reduce = (type: string) => (x: GraphValue, axes: readonly number[], keepDims = false): GraphValue => node(type, [x, ints(axes)], { keep_dims: { bool: keepDims } });
    return {
      shape: (x) => x.shape,
      dtype: (x) => x.dtype,
      scope: (name) => this.ops(`${prefix}${name}/`),
      constant: (values, shape, dtype = "float32") => this.#constant(values, shape, dtype),
      scalar: (value) => this.#constant([value], [], "float32"),
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
      argMax: (x) => node("ArgMax", [x, this.#constant([x.shape.length - 1], [], "int32")], { output_type: { type: "int32" } }),
      reshape: (x, shape) => node("Reshape", [x, ints(shape)]),
      transpose: (x, permutation) => node("Transpose", [x, ints(permutation)]),
      concat: (values, axis) => (values.length === 1 ? values[0]! : node("ConcatV2", [values, this.#constant([axis < 0 ? axis + values[0]!.shape.length : axis], [], "int32")])),
      split: (x, sizes, axis) =>
        sizes.length === 1 ? [x] : this.#node("SplitV", `${prefix}SplitV`, [x, ints(sizes), this.#constant([axis < 0 ? axis + x.shape.length : axis], [], "int32")], { num_split: { int: sizes.length } }, sizes.length),
      slice: (x, begin, size) => node("Slice", [x, ints(begin), ints(size)]),
      pad: (x, paddings) => node("Pad", [x, this.#constant(paddings.flat(), [paddings.length, 2], "int32")]),
      broadcastTo: (x, shape) => node("BroadcastTo", [x, ints(shape)]),
      gather: (x, indices) => node("GatherV2", [x, indices, this.#constant([0], [], "int32")]),
      segmentSum: (x, ids, count) => node("UnsortedSegmentSum", [x, ids, this.#constant([count], [], "int32")]),
      updateRows: (x, indices, rows) => node("InplaceUpdate", [x, indices, rows]),
      equal: binary("Equal"),
      less: binary("Less"),
      lessEqual: binary("LessEqual"),
      logicalAnd: binary("LogicalAnd"),
      select: (condition, a, b) => node("SelectV2", [condition, a, b]),
      cast: (x, dtype) => (x.dtype === dtype ? x : node("Cast", [x], { DstT: { type: dtype } })),
      oneHot: (indices, depth) =>
        node("OneHot", [indices, this.#constant([depth], [], "int32"), this.#constant([1], [], "float32"), this.#constant([0], [], "float32")], { axis: { int: -1 } }),
    };
  }
}
