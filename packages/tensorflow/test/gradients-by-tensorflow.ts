import { createRequire } from "node:module";
import type { Inputs, LoadedTensorFlow, Ops, TensorSpec } from "@dramascope/tensorflow";
import { GraphRecorder, type GraphValue } from "../src/native/graph.ts";
import type { NodeBackend } from "../src/native/backend.ts";
import { bindingFor } from "./support.ts";

type Tensor = ReturnType<LoadedTensorFlow["tf"]["tensor"]>;

/** A body with one result. */
export type Forward = <V>(ops: Ops<V>, inputs: Inputs<V>) => V;

/**
 * Gradients of sum(y · dy) with respect to some inputs, by TensorFlow's own C++ gradients: the reference of hand-written backward passes.
 *
 * @param name Of the function; unique among those of the process.
 * @param dy   As y.
 */
export function gradientsByTensorFlow(tf: LoadedTensorFlow["tf"], name: string, forward: Forward, inputs: Readonly<Record<string, Tensor>>, wrt: readonly string[], dy: Tensor): Tensor[] {
  const binding = bindingFor(tf);
  const { c, check, status, context } = binding.raw;
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
  // The library is open in the whole process: no path is needed to find one more of its functions.
  const address = c.dlsym(null, "TF_AddGradientsWithPrefix") as bigint;
  const addGradients = koffi.decode(address, koffi.proto("void", ["void*", "const char*", "void*", "int", "void*", "int", "void*", "void*", "void*"])) as (...values: unknown[]) => void;
  const recorder = new GraphRecorder(binding);
  try {
    const all: [string, Tensor][] = [...Object.entries(inputs), ["dy", dy]];
    const values = new Map(all.map(([key, tensor]) => [key, recorder.placeholder(`input/${key}`, { shape: tensor.shape, dtype: tensor.dtype as TensorSpec["dtype"] })]));
    const y = forward(recorder.ops(), Object.fromEntries(values));
    const pairs = (list: readonly GraphValue[]): BigUint64Array => BigUint64Array.from(list.flatMap(({ oper, index }) => [oper, BigInt(index)]));
    const xs = wrt.map((key) => values.get(key)!);
    const results = new BigUint64Array(2 * wrt.length);
    addGradients(recorder.graph, "gradients", pairs([y]), 1, pairs(xs), xs.length, pairs([values.get("dy")!]), status, results);
    check();
    const gradients = xs.map((x, i): GraphValue => {
      if (results[2 * i] === 0n) throw new Error(`${name}: TensorFlow has no gradient with respect to ${wrt[i]!}`);
      return { oper: results[2 * i]!, index: Number(results[2 * i + 1]! & 0xffff_ffffn), shape: x.shape, dtype: x.dtype };
    });
    const made = recorder.finish(name, [...values.values()], gradients);
    try {
      const backend = tf.backend() as unknown as NodeBackend;
      const ids = backend.getInputTensorIds(all.map(([, tensor]) => tensor));
      return binding.executeOp(name, [], ids, wrt.length).map((metadata) => backend.createOutputTensor(metadata));
    } finally {
      c.TFE_ContextRemoveFunction(context, name, status);
      c.TF_DeleteFunction(made);
    }
  } finally {
    recorder.dispose();
  }
}
