import { compile, RawTensor, uploadBfloat16, type Body, type Compiled, type LoadedTensorFlow, type OpsDtype, type TensorLike, type TensorSpec } from "@dramascope/tensorflow";
import type { Tensor } from "@dramascope/qwen-vl";
import { narrowBrain } from "../../src/float-bits.ts";
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
  /** The model's, which goes on working after the model was disposed. */
  runtime: Runtime;
  inputs: Record<string, HostTensor>;
  outputs: Record<string, HostTensor>;
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

/** Every body that runs meanwhile, with the values of its second call, or its only one: in a second one caches are no longer empty. */
export async function recordBodies(action: () => Promise<void>): Promise<RecordedBody[]> {
  const recorded = new Map<Compiled, RecordedBody[]>();
  const descriptor = Object.getOwnPropertyDescriptor(Runtime.prototype, "prepare")!;
  const prepare = descriptor.value as Runtime["prepare"];
  const recording = function (this: Runtime, key: string, given: Readonly<Record<string, TensorLike>>, body: Body): Compiled {
    const compiled = prepare.call(this, key, given, body) as Compiled;
    const calls = recorded.get(compiled) ?? [];
    recorded.set(compiled, calls);
    const call = (tensors: Readonly<Record<string, TensorLike>>): Record<string, Tensor> => {
      if (calls.length === 2) return compiled(tensors);
      const inputs = hostRecord(this.tf, tensors);
      const results = compiled(tensors);
      calls.push({ name: key.split(":")[0]!, key, body, runtime: this, inputs, outputs: hostRecord(this.tf, results) });
      return results;
    };
    return Object.assign(call, { mode: compiled.mode, async: compiled.async.bind(compiled), dispose: compiled.dispose.bind(compiled) });
  };
  Object.defineProperty(Runtime.prototype, "prepare", { ...descriptor, value: recording });
  try {
    await action();
  } finally {
    Object.defineProperty(Runtime.prototype, "prepare", descriptor);
  }
  return [...recorded.values()].flatMap((calls) => calls.slice(-1));
}
