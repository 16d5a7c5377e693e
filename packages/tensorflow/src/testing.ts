/** For tests of op bodies; nothing here is made for production. */
import { createRequire } from "node:module";
import type * as tfjs from "@tensorflow/tfjs";
import { TensorFlowError } from "./errors.ts";
import { bindingOf, type NodeBackend } from "./native/backend.ts";
import { GraphRecorder, type GraphValue } from "./native/graph.ts";
import type { Koffi } from "./native/library.ts";
import type { Inputs, Ops, TensorSpec } from "./ops.ts";

/** A body with one result. */
export type Forward = <V>(ops: Ops<V>, inputs: Inputs<V>) => V;

/** Functions of one context need names of their own. */
let count = 0;

/**
 * Gradients of Σ y · dy with respect to some inputs, by TensorFlow's own C++ gradients: the reference of hand-written backward passes. Right, but
 * slower than those.
 *
 * @param tf      TensorFlow.js on native TensorFlow through koffi.
 * @param forward Gives y of operations that have a gradient in C++; `updateRows` has none.
 * @param inputs  By name, float32 or int32.
 * @param wrt     Names of the float32 inputs whose gradients are wanted.
 * @param dy      As y.
 * @returns       One tensor a name, shaped as its input; the caller disposes them.
 * @throws TensorFlowError `GRADIENTS_UNAVAILABLE` without koffi, and where y does not depend on an input by operations that have a gradient.
 */
export function gradientsByTensorFlow(tf: typeof tfjs, forward: Forward, inputs: Readonly<Record<string, tfjs.Tensor>>, wrt: readonly string[], dy: tfjs.Tensor): tfjs.Tensor[] {
  const backend = tf.backend();
  const binding = bindingOf(backend);
  if (!binding) throw new TensorFlowError(`the back end ${tf.getBackend()} has no gradients of its own`, { code: "GRADIENTS_UNAVAILABLE", hint: "Use a native TensorFlow through koffi." });
  const { c, check, status, context } = binding.raw;
  const koffi = createRequire(import.meta.url)("koffi") as Koffi;
  // The library is open in the whole process: no path is needed to find one more of its functions.
  const address = c.dlsym(null, "TF_AddGradientsWithPrefix") as bigint;
  const addGradients = koffi.decode(address, koffi.proto("void", ["void*", "const char*", "void*", "int", "void*", "int", "void*", "void*", "void*"])) as (...values: unknown[]) => void;
  const recorder = new GraphRecorder(binding);
  try {
    const all: [string, tfjs.Tensor][] = [...Object.entries(inputs), ["the gradient of y", dy]];
    const values = all.map(([, tensor], i) => recorder.placeholder(`input/${i}`, { shape: tensor.shape, dtype: tensor.dtype as TensorSpec["dtype"] }));
    const byName = new Map(Object.keys(inputs).map((key, i) => [key, values[i]!]));
    const { y } = recorder.record((ops, given) => ({ y: forward(ops, given) }), Object.fromEntries(byName)) as { y: GraphValue };
    const pairs = (list: readonly GraphValue[]): BigUint64Array => BigUint64Array.from(list.flatMap(({ oper, index }) => [oper, BigInt(index)]));
    const xs = wrt.map((key) => byName.get(key)!);
    const results = new BigUint64Array(2 * wrt.length);
    addGradients(recorder.graph, "gradients", pairs([y]), 1, pairs(xs), xs.length, pairs([values.at(-1)!]), status, results);
    check();
    const gradients = xs.map((x, i): GraphValue => {
      if (results[2 * i] === 0n) throw new TensorFlowError(`TensorFlow has no gradient with respect to ${wrt[i]!}`, { code: "GRADIENTS_UNAVAILABLE", hint: "The result must depend on it by operations with gradients." });
      return { oper: results[2 * i]!, index: Number(results[2 * i + 1]! & 0xffff_ffffn), shape: x.shape, dtype: x.dtype };
    });
    const name = `GradientsByTensorFlow_${count++}`;
    const made = recorder.finish(name, values, gradients);
    try {
      const native = backend as unknown as NodeBackend;
      const ids = native.getInputTensorIds(all.map(([, tensor]) => tensor));
      return binding.executeOp(name, [], ids, wrt.length).map((metadata) => native.createOutputTensor(metadata));
    } finally {
      c.TFE_ContextRemoveFunction(context, name, status);
      c.TF_DeleteFunction(made);
    }
  } finally {
    recorder.dispose();
  }
}
