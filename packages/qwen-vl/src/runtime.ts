import { compile } from "@dramascope/tensorflow";
import type { Body, Compiled, TensorSpec } from "@dramascope/tensorflow";
import type { Tensor, Tf } from "./types.ts";

/** Compiled bodies of one model, least recently used first out. */
export class Runtime {
  readonly tf: Tf;
  readonly #functions = new Map<string, Compiled>();
  readonly #limit: number;

  constructor(tf: Tf, limit = 256) {
    this.tf = tf;
    this.#limit = limit;
  }

  /**
   * The compiled form of a body for inputs of these shapes. `key` names the body and everything fixed in it: equal keys mean equal
   * bodies.
   */
  prepare(key: string, inputs: Readonly<Record<string, Tensor>>, body: Body): Compiled {
    let signature = key;
    for (const name in inputs) signature += `|${name}:${inputs[name]!.dtype === "int32" ? "i" : "f"}${inputs[name]!.shape.join(",")}`;
    const known = this.#functions.get(signature);
    if (known !== undefined) {
      this.#functions.delete(signature);
      this.#functions.set(signature, known);
      return known;
    }
    const specs: Record<string, TensorSpec> = {};
    for (const [name, tensor] of Object.entries(inputs)) specs[name] = { shape: tensor.shape, dtype: tensor.dtype === "int32" ? "int32" : "float32" };
    const made = compile(this.tf, key.replaceAll(/[^A-Za-z0-9_]/g, "_").slice(0, 60), specs, body);
    this.#functions.set(signature, made);
    if (this.#functions.size > this.#limit) {
      const [oldest, old] = this.#functions.entries().next().value!;
      this.#functions.delete(oldest);
      old.dispose();
    }
    return made;
  }

  /** Runs a body; the caller owns the results. */
  run(key: string, inputs: Readonly<Record<string, Tensor>>, body: Body): Record<string, Tensor> {
    return this.prepare(key, inputs, body)(inputs);
  }

  /** A float32 tensor on the back end. */
  floats(values: Float32Array, shape: readonly number[]): Tensor {
    return this.tf.tensor(values, [...shape], "float32");
  }

  /** An int32 tensor on the back end. */
  ints(values: Int32Array, shape: readonly number[]): Tensor {
    return this.tf.tensor(values, [...shape], "int32");
  }

  /** Frees all compiled bodies. */
  dispose(): void {
    for (const made of this.#functions.values()) made.dispose();
    this.#functions.clear();
  }
}
