import { compile } from "@dramascope/tensorflow";
import type { Body, Compiled, OpsDtype, TensorLike, TensorSpec } from "@dramascope/tensorflow";
import { mixedOps, type MatrixProducts } from "./ops/mixed.ts";
import type { Tensor, Tf } from "./types.ts";

function dtypeOf({ dtype }: TensorLike): OpsDtype {
  return dtype === "int32" || dtype === "bool" || dtype === "bfloat16" ? dtype : "float32";
}

/** Compiled bodies that one model keeps. */
const FUNCTIONS = 256;

/** Compiled bodies of one model, least recently used first out. */
export class Runtime {
  readonly tf: Tf;
  readonly #functions = new Map<string, Compiled<TensorLike>>();
  readonly #products: MatrixProducts;

  constructor(tf: Tf, products: MatrixProducts = "bfloat16") {
    this.tf = tf;
    this.#products = products;
  }

  /**
   * The compiled form of a body for inputs of these shapes and types. `key` names the body and everything fixed in it: equal keys mean
   * equal bodies. Bodies need not know which matrices are bfloat16.
   */
  prepare<Output extends TensorLike = Tensor>(key: string, inputs: Readonly<Record<string, TensorLike>>, body: Body): Compiled<Output> {
    let signature = key;
    for (const name in inputs) signature += `|${name}:${dtypeOf(inputs[name]!)[0]!}${inputs[name]!.shape.join(",")}`;
    const known = this.#functions.get(signature);
    if (known !== undefined) {
      this.#functions.delete(signature);
      this.#functions.set(signature, known);
      return known as Compiled<Output>;
    }
    const specs: Record<string, TensorSpec> = {};
    for (const [name, tensor] of Object.entries(inputs)) specs[name] = { shape: tensor.shape, dtype: dtypeOf(tensor) };
    const isMixed = Object.values(specs).some(({ dtype }) => dtype === "bfloat16");
    const made = compile<TensorLike>(this.tf, key.replaceAll(/[^A-Za-z0-9_]/g, "_").slice(0, 60), specs, isMixed ? (ops, values) => body(mixedOps(ops, this.#products), values) : body);
    this.#functions.set(signature, made);
    if (this.#functions.size > FUNCTIONS) {
      const [oldest, old] = this.#functions.entries().next().value!;
      this.#functions.delete(oldest);
      old.dispose();
    }
    return made as Compiled<Output>;
  }

  /** Runs a body; the caller owns the results. `Output` includes bfloat16 tensors where the body gives any. */
  run<Output extends TensorLike = Tensor>(key: string, inputs: Readonly<Record<string, TensorLike>>, body: Body): Record<string, Output> {
    return this.prepare<Output>(key, inputs, body)(inputs);
  }

  /** A float32 tensor on the back end. */
  floats(values: Float32Array, shape: readonly number[]): Tensor {
    return this.tf.tensor(values, [...shape], "float32");
  }

  /** An int32 tensor on the back end. */
  ints(values: Int32Array, shape: readonly number[]): Tensor {
    return this.tf.tensor(values, [...shape], "int32");
  }

  /** A bool tensor on the back end, of ones and zeros. */
  flags(values: Uint8Array, shape: readonly number[]): Tensor {
    return this.tf.tensor(values, [...shape], "bool");
  }

  /** Frees all compiled bodies. */
  dispose(): void {
    for (const made of this.#functions.values()) made.dispose();
    this.#functions.clear();
  }
}
