import { compile } from "@dramascope/tensorflow";
import type { Body, Compiled, OpsDtype, TensorLike, TensorSpec } from "@dramascope/tensorflow";
import { disposed } from "./errors.ts";
import { mixedOps, type MatrixProducts } from "./ops/mixed.ts";
import type { Pace } from "./pace.ts";
import type { Tensor, Tf } from "./tensor-types.ts";

function dtypeOf({ dtype }: TensorLike): OpsDtype {
  return dtype === "int32" || dtype === "bool" || dtype === "bfloat16" ? dtype : "float32";
}

/** Compiled bodies that one model keeps. */
const FUNCTIONS = 256;

/** Multiplications from which a call is worth a thread of its own, which costs about a tenth of a millisecond. */
const LONG_CALL = 2 ** 29;

/** Multiplications of a body's products, roughly: every row of `x` meets every element of the other inputs. */
function multiplications(inputs: Readonly<Record<string, TensorLike>>): number {
  const rows = inputs["x"]?.shape[0] ?? 0;
  return rows * Object.values(inputs).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

/** Compiled bodies of one model, least recently used first out. */
export class Runtime {
  readonly tf: Tf;
  readonly products: MatrixProducts;
  readonly #functions = new Map<string, Compiled<TensorLike>>();
  #disposed = false;

  constructor(tf: Tf, products: MatrixProducts = "bfloat16") {
    this.tf = tf;
    this.products = products;
  }

  /**
   * The compiled form of a body for inputs of these shapes and types. `key` names the body and everything fixed in it: equal keys mean
   * equal bodies. Bodies need not know which matrices are bfloat16.
   */
  prepare<Output extends TensorLike = Tensor>(key: string, inputs: Readonly<Record<string, TensorLike>>, body: Body): Compiled<Output> {
    this.#alive();
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
    const made = compile<TensorLike>(this.tf, key.replaceAll(/[^A-Za-z0-9_]/g, "_").slice(0, 60), specs, isMixed ? (ops, values) => body(mixedOps(ops, this.products), values) : body);
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

  /**
   * Runs a body as part of a long call: beside the event loop where it is large and the back end can, and with a breath of the call's pace after it. The
   * body starts before this returns, so inputs may be freed at once. Whatever ends the call meanwhile frees the results.
   */
  async runPaced<Output extends TensorLike = Tensor>(pace: Pace, key: string, inputs: Readonly<Record<string, TensorLike>>, body: Body): Promise<Record<string, Output>> {
    const made = this.prepare<Output>(key, inputs, body);
    const { signal } = pace;
    const results = made.mode === "function" && multiplications(inputs) >= LONG_CALL ? await made.async(inputs, signal === undefined ? {} : { signal }) : made(inputs);
    try {
      await pace.breathe();
      this.#alive();
      return results;
    } catch (error) {
      for (const tensor of Object.values(results)) tensor.dispose();
      throw error;
    }
  }

  /** A float32 tensor on the back end. */
  floats(values: Float32Array, shape: readonly number[]): Tensor {
    this.#alive();
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

  /** Frees all compiled bodies; what still runs ends with an error. */
  dispose(): void {
    this.#disposed = true;
    for (const made of this.#functions.values()) made.dispose();
    this.#functions.clear();
  }

  #alive(): void {
    if (this.#disposed) throw disposed();
  }
}
