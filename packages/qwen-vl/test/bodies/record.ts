import { compile, RawTensor, uploadBfloat16, type AsyncCallOptions, type Body, type Compiled, type CompiledInputs, type LoadedTensorFlow, type OpsDtype, type TensorLike, type TensorSpec } from "@dramascope/tensorflow";
import type { Tensor } from "@dramascope/qwen-vl";
import { narrowBrain } from "../../src/float-bits.ts";
import type { MatrixProducts } from "../../src/ops/mixed.ts";
import { Runtime } from "../../src/runtime.ts";

type Tf = LoadedTensorFlow["tf"];

/** A tensor on the host; bfloat16 values as the float32 that they are. */
export interface HostTensor extends TensorSpec {
  values: Float32Array | Int32Array | Uint8Array;
}

/** One call of a body for inputs of some shapes. */
export interface RecordedBody {
  /** Key without what is fixed in the body: `decoder_block`. */
  name: string;
  /** Whole key. */
  key: string;
  body: Body;
  tf: Tf;
  /** How its bfloat16 matrices are multiplied. */
  products: MatrixProducts;
  inputs: Record<string, HostTensor>;
  outputs: Record<string, HostTensor>;
}

/** Options of {@link recordBodies}. */
interface RecordOptions {
  /** Calls of one body; the last of them is given. From the second call on caches are not empty. Default 2. */
  atMost?: number;
  /** How the models multiply bfloat16 matrices. Default `bfloat16`. */
  products?: MatrixProducts;
}

/** Reads a tensor of any kind. */
export function toHost(tf: Tf, tensor: TensorLike): HostTensor {
  if (!(tensor instanceof RawTensor)) return { shape: [...tensor.shape], dtype: tensor.dtype as OpsDtype, values: tensor.dataSync<"float32" | "int32" | "bool">().slice() };
  const widen = compile(tf, "widen", { x: { shape: tensor.shape, dtype: "bfloat16" } }, (ops, { x }) => ({ y: ops.cast(x!, "float32") }), { mode: "eager" });
  const y = widen({ x: tensor })["y"]!;
  const values = y.dataSync<"float32">();
  y.dispose();
  return { shape: tensor.shape, dtype: "bfloat16", values };
}

/** Uploads a tensor of any kind. */
export function fromHost(tf: Tf, { shape, dtype, values }: HostTensor): TensorLike {
  if (dtype === "bfloat16") return uploadBfloat16(tf, narrowBrain(values as Float32Array), shape);
  return tf.tensor(values.slice(), [...shape], dtype);
}

const hostRecord = (tf: Tf, tensors: Readonly<Record<string, TensorLike>>): Record<string, HostTensor> => Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, toHost(tf, tensor)]));

/** Every body that runs meanwhile. */
export async function recordBodies(action: () => Promise<void>, { atMost = 2, products = "bfloat16" }: RecordOptions = {}): Promise<RecordedBody[]> {
  const recorded = new Map<Compiled, RecordedBody[]>();
  const descriptor = Object.getOwnPropertyDescriptor(Runtime.prototype, "prepare")!;
  const prepare = descriptor.value as Runtime["prepare"];
  const recording = function (this: Runtime, key: string, given: Readonly<Record<string, TensorLike>>, body: Body): Compiled {
    const { tf } = this;
    const compiled = prepare.call(this, key, given, body) as Compiled;
    const calls = recorded.get(compiled) ?? [];
    recorded.set(compiled, calls);
    const push = (inputs: RecordedBody["inputs"], results: Record<string, Tensor>): Record<string, Tensor> => {
      calls.push({ name: key.split(":")[0]!, key, body, tf, products, inputs, outputs: hostRecord(tf, results) });
      return results;
    };
    const call = (tensors: CompiledInputs): Record<string, Tensor> => (calls.length === atMost ? compiled(tensors) : push(hostRecord(tf, tensors), compiled(tensors)));
    const async = async (tensors: CompiledInputs, options?: AsyncCallOptions): Promise<Record<string, Tensor>> =>
      calls.length === atMost ? compiled.async(tensors, options) : push(hostRecord(tf, tensors), await compiled.async(tensors, options));
    return Object.assign(call, { mode: compiled.mode, async, dispose: compiled.dispose.bind(compiled) });
  };
  Object.defineProperty(Runtime.prototype, "prepare", { ...descriptor, value: recording });
  try {
    await action();
  } finally {
    Object.defineProperty(Runtime.prototype, "prepare", descriptor);
  }
  return [...recorded.values()].flatMap((calls) => calls.slice(-1));
}
