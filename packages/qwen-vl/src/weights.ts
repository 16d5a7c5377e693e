import { RawTensor } from "@dramascope/tensorflow";
import type { Body, TensorLike } from "@dramascope/tensorflow";
import { QwenVlError } from "./errors.ts";
import { EMBEDDING } from "./parameters.ts";
import type { ModuleTensors } from "./parameters.ts";
import type { Runtime } from "./runtime.ts";
import type { Tensor } from "./types.ts";

/** One weight as stored: linears transposed to [in, out], everything else as in the checkpoint. */
export interface StoredWeight {
  tensor: TensorLike;
  /** Shape in the checkpoint. */
  shape: readonly number[];
  transposed: boolean;
}

/** Whether a weight of this shape in the checkpoint is a matrix, the kind that may be kept in bfloat16. */
export function isMatrix(shape: readonly number[]): boolean {
  return shape.length >= 2;
}

/** Whether a weight is stored transposed. */
export function isTransposed(name: string, shape: readonly number[]): boolean {
  return name.endsWith(".weight") && name !== EMBEDDING && isMatrix(shape);
}

/** All weights of a model on the back end, by new-style name. */
export class Weights {
  readonly #runtime: Runtime;
  readonly #stored = new Map<string, StoredWeight>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Names in the order of loading. */
  get names(): string[] {
    return [...this.#stored.keys()];
  }

  /** Shape in the checkpoint. */
  shape(name: string): readonly number[] {
    return this.#entry(name).shape;
  }

  /** How a weight is kept. */
  dtype(name: string): "float32" | "bfloat16" {
    return this.#entry(name).tensor instanceof RawTensor ? "bfloat16" : "float32";
  }

  /** The stored tensor. */
  tensor(name: string): TensorLike {
    return this.#entry(name).tensor;
  }

  /** Weight [in, out] and bias of a linear. */
  module(name: string): ModuleTensors {
    return { weight: this.tensor(`${name}.weight`), bias: this.#stored.get(`${name}.bias`)?.tensor };
  }

  /** Takes a weight in its stored form and frees the one it replaces. */
  put(name: string, stored: StoredWeight): void {
    this.#stored.get(name)?.tensor.dispose();
    this.#stored.set(name, stored);
  }

  /** The weight as float32 in the checkpoint's shape, owned by the caller. */
  read(name: string): Tensor {
    const { tensor, shape, transposed } = this.#entry(name);
    if (tensor instanceof RawTensor) {
      const widen: Body = (ops, v) => ({ y: ops.cast(transposed ? ops.transpose(v["x"]!, [1, 0]) : v["x"]!, "float32") });
      const wide = this.#runtime.run(`widen:${String(transposed)}`, { x: tensor }, widen)["y"]!;
      const shaped = wide.reshape([...shape]);
      wide.dispose();
      return shaped;
    }
    return transposed ? this.#runtime.tf.tidy(() => tensor.transpose().reshape([...shape])) : tensor.clone();
  }

  /** Replaces a float32 weight by a value in the checkpoint's shape and frees the value. */
  write(name: string, value: Tensor): void {
    const { shape, transposed } = this.#entry(name);
    if (!transposed) {
      this.put(name, { tensor: value, shape, transposed });
      return;
    }
    const tensor = this.#runtime.tf.tidy(() => value.reshape([shape[0]!, value.size / shape[0]!]).transpose());
    value.dispose();
    this.put(name, { tensor, shape, transposed });
  }

  /** Replaces a stored tensor, as {@link tensor} gives it, and returns the old one, which the caller now owns. */
  exchange(name: string, tensor: TensorLike): TensorLike {
    const entry = this.#entry(name);
    const old = entry.tensor;
    entry.tensor = tensor;
    return old;
  }

  /** Number of weights and their bytes on the back end. */
  totals(): { parameters: number; bytes: number } {
    let parameters = 0;
    let bytes = 0;
    for (const { tensor, shape } of this.#stored.values()) {
      const size = shape.reduce((a, b) => a * b, 1);
      parameters += size;
      bytes += size * (tensor instanceof RawTensor ? 2 : 4);
    }
    return { parameters, bytes };
  }

  /** Frees everything. */
  dispose(): void {
    for (const { tensor } of this.#stored.values()) tensor.dispose();
    this.#stored.clear();
  }

  #entry(name: string): StoredWeight {
    const entry = this.#stored.get(name);
    if (entry === undefined) throw new QwenVlError(`the model has no weight "${name}"`, { code: "UNKNOWN_WEIGHT" });
    return entry;
  }
}
