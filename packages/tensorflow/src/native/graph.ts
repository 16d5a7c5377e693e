import { TensorFlowError } from "../errors.ts";
import type { Body, OpsDtype, TensorSpec } from "../ops.ts";
import type { Binding } from "./binding.ts";
import { TF_DTYPES } from "./dtypes.ts";
import { runBody, type Attribute, type Emit, type RawValue } from "./raw-ops.ts";

/** A value of a graph under construction: output 0 … of an operation. */
export interface GraphValue extends RawValue {
  oper: bigint;
  index: number;
}

const DTYPE_NAMES = new Map<number, OpsDtype>((["float32", "int32", "bool", "bfloat16"] as const).map((name) => [TF_DTYPES[name], name]));

/**
 * Element type of a value by TensorFlow's number.
 *
 * @throws TensorFlowError `COMPILE_DTYPE` for a type that op bodies do not have.
 */
export function opsDtype(dtype: number, where: string): OpsDtype {
  const name = DTYPE_NAMES.get(dtype);
  if (name === undefined) throw new TensorFlowError(`${where}: its element type is not one of op bodies`, { code: "COMPILE_DTYPE", hint: "Use float32, int32, bool or bfloat16." });
  return name;
}

/** [oper, index] pairs as TF_Output structs in memory. */
function outputArray(values: readonly GraphValue[]): BigUint64Array {
  return BigUint64Array.from(values.flatMap(({ oper, index }) => [oper, BigInt(index)]));
}

/** A graph that records operations; TensorFlow infers every shape as it goes. */
export class GraphRecorder {
  readonly #binding: Binding["raw"];
  /** TensorFlow's graph. */
  readonly graph: bigint;
  readonly #inputs = new Set<GraphValue>();
  #count = 0;

  constructor(binding: Binding) {
    this.#binding = binding.raw;
    this.graph = binding.raw.c.TF_NewGraph() as bigint;
  }

  /** A declared input. */
  placeholder(name: string, spec: TensorSpec): GraphValue {
    const value = this.#node("Placeholder", name, [], { dtype: { type: spec.dtype }, shape: { shape: spec.shape } }, 1)[0]!;
    this.#inputs.add(value);
    return value;
  }

  /** Records a body over placeholders; its results by name. */
  record(body: Body, inputs: Readonly<Record<string, GraphValue>>): Record<string, GraphValue> {
    const emit: Emit<GraphValue> = {
      node: (type, name, inputs, attributes, outputs) => this.#node(type, name, inputs, attributes, outputs),
      constant: (values, shape, dtype) => {
        const { c, hostTensor } = this.#binding;
        const tensor = hostTensor(shape, TF_DTYPES[dtype], values);
        try {
          return this.#node("Const", "constant", [], { dtype: { type: dtype } }, 1, tensor)[0]!;
        } finally {
          c.TF_DeleteTensor(tensor);
        }
      },
      isInput: (value) => this.#inputs.has(value),
    };
    return runBody(emit, body, inputs);
  }

  /** The recorded operations as a function in the eager context. */
  finish(name: string, inputs: readonly GraphValue[], outputs: readonly GraphValue[]): bigint {
    const { c, status, check, context } = this.#binding;
    const made = c.TF_GraphToFunction(this.graph, name, 0, -1, null, inputs.length, outputArray(inputs), outputs.length, outputArray(outputs), null, null, null, status) as bigint;
    check();
    c.TFE_ContextAddFunction(context, made, status);
    try {
      check();
    } catch (error) {
      c.TF_DeleteFunction(made);
      throw error;
    }
    return made;
  }

  /** Frees the graph; a function made from it stays. */
  dispose(): void {
    this.#binding.c.TF_DeleteGraph(this.graph);
  }

  #node(type: string, name: string, inputs: readonly (GraphValue | readonly GraphValue[])[], attributes: Readonly<Record<string, Attribute>>, outputs: number, tensor?: bigint): GraphValue[] {
    const { c, status, check } = this.#binding;
    const description = c.TF_NewOperation(this.graph, type, `${name}_${this.#count++}`) as bigint;
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
    const rank = Number(c.TF_GraphGetTensorNumDims(this.graph, output, status));
    check();
    const dims = new BigInt64Array(Math.max(0, rank));
    if (rank > 0) {
      c.TF_GraphGetTensorShape(this.graph, output, dims, rank, status);
      check();
    }
    const shape = Array.from(dims, Number);
    if (rank < 0 || shape.some((size) => size < 0)) throw new TensorFlowError(`${type}: its shape is not known when the function is built`, { code: "COMPILE_SHAPE", hint: "Op bodies work on static shapes." });
    return { oper, index, shape, dtype: opsDtype(Number(c.TF_OperationOutputType(output)), type) };
  }
}
