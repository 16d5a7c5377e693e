import { QwenVlError } from "./errors.ts";
import { EMBEDDING } from "./parameters.ts";
import type { ModuleTensors } from "./parameters.ts";
import type { Tensor, Tf } from "./types.ts";

/** One weight as stored: linears transposed to [in, out], everything else as in the checkpoint. */
interface StoredWeight {
  tensor: Tensor;
  /** Shape in the checkpoint. */
  shape: readonly number[];
  transposed: boolean;
}

/** All weights of a model on the back end, by new-style name. */
export class Weights {
  readonly #tf: Tf;
  readonly #stored = new Map<string, StoredWeight>();

  constructor(tf: Tf) {
    this.#tf = tf;
  }

  /** Names in the order of loading. */
  get names(): string[] {
    return [...this.#stored.keys()];
  }

  /** True when the weight exists. */
  has(name: string): boolean {
    return this.#stored.has(name);
  }

  /** Shape in the checkpoint. */
  shape(name: string): readonly number[] {
    return this.#entry(name).shape;
  }

  /** The stored tensor. */
  tensor(name: string): Tensor {
    return this.#entry(name).tensor;
  }

  /** Weight [in, out] and bias of a linear. */
  module(name: string): ModuleTensors {
    return { weight: this.tensor(`${name}.weight`), bias: this.#stored.get(`${name}.bias`)?.tensor };
  }

  /** Puts a weight given in the checkpoint's shape. */
  put(name: string, values: Float32Array, shape: readonly number[]): void {
    const tf = this.#tf;
    const transposed = isLinear(name, shape);
    const tensor = transposed
      ? tf.tidy(() => tf.tensor(values, [shape[0]!, values.length / shape[0]!], "float32").transpose())
      : tf.tensor(values, [...shape], "float32");
    this.#set(name, { tensor, shape: [...shape], transposed });
  }

  /** The weight in the checkpoint's shape, owned by the caller. */
  read(name: string): Tensor {
    const { tensor, shape, transposed } = this.#entry(name);
    return transposed ? this.#tf.tidy(() => tensor.transpose().reshape([...shape])) : tensor.clone();
  }

  /** Replaces a weight by a value in the checkpoint's shape and frees the value. */
  write(name: string, value: Tensor): void {
    const { shape, transposed } = this.#entry(name);
    if (!transposed) {
      this.#set(name, { tensor: value, shape, transposed });
      return;
    }
    const tensor = this.#tf.tidy(() => value.reshape([shape[0]!, value.size / shape[0]!]).transpose());
    value.dispose();
    this.#set(name, { tensor, shape, transposed });
  }

  /** Replaces a stored tensor, as {@link tensor} gives it, and returns the old one, which the caller now owns. */
  exchange(name: string, tensor: Tensor): Tensor {
    const entry = this.#entry(name);
    const old = entry.tensor;
    entry.tensor = tensor;
    return old;
  }

  /** Number of weights and their bytes on the back end. */
  totals(): { parameters: number; bytes: number } {
    let parameters = 0;
    for (const { tensor } of this.#stored.values()) parameters += tensor.size;
    return { parameters, bytes: parameters * 4 };
  }

  /** Frees everything. */
  dispose(): void {
    for (const { tensor } of this.#stored.values()) tensor.dispose();
    this.#stored.clear();
  }

  #set(name: string, stored: StoredWeight): void {
    this.#stored.get(name)?.tensor.dispose();
    this.#stored.set(name, stored);
  }

  #entry(name: string): StoredWeight {
    const entry = this.#stored.get(name);
    if (entry === undefined) throw new QwenVlError(`the model has no weight "${name}"`, { code: "UNKNOWN_WEIGHT" });
    return entry;
  }
}

function isLinear(name: string, shape: readonly number[]): boolean {
  return name.endsWith(".weight") && name !== EMBEDDING && shape.length >= 2;
}
