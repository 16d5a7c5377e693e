import { RawTensor } from "@dramascope/tensorflow";
import type { Body, TensorLike } from "@dramascope/tensorflow";
import { QwenVlError } from "./errors.ts";
import { blockedInputs, EMBEDDING, LM_HEAD } from "./parameters.ts";
import type { ModuleTensors } from "./parameters.ts";
import type { Runtime } from "./runtime.ts";
import type { Tensor } from "./tensor-types.ts";

/** One weight as stored: linears transposed to [in, out], everything else as in the checkpoint. */
export interface StoredWeight {
  /** One tensor, or for matrices over the vocabulary blocks of it. */
  blocks: readonly TensorLike[];
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

/** Whether a weight may stand in several blocks: the matrices over the vocabulary, far larger than all others. */
export function isBlocked(name: string): boolean {
  return name === EMBEDDING || name === LM_HEAD;
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
    return this.#entry(name).blocks[0] instanceof RawTensor ? "bfloat16" : "float32";
  }

  /** The stored tensor of a weight that stands in one piece. */
  tensor(name: string): TensorLike {
    return this.#entry(name).blocks[0]!;
  }

  /** The stored tensors of a weight, in order. */
  blocks(name: string): readonly TensorLike[] {
    return this.#entry(name).blocks;
  }

  /** Weight [in, out] and bias of a linear. */
  module(name: string): ModuleTensors {
    return { weight: this.tensor(`${name}.weight`), bias: this.#stored.get(`${name}.bias`)?.blocks[0] };
  }

  /** Takes a weight in its stored form and frees the one it replaces. */
  put(name: string, stored: StoredWeight): void {
    for (const block of this.#stored.get(name)?.blocks ?? []) block.dispose();
    this.#stored.set(name, stored);
  }

  /** The weight as float32 in the checkpoint's shape, owned by the caller. */
  read(name: string): Tensor {
    const { blocks, shape, transposed } = this.#entry(name);
    const body: Body = (ops, v) => {
      const parts = Object.values(v).map((part) => ops.cast(transposed ? ops.transpose(part, [1, 0]) : part, "float32"));
      return { y: parts.length === 1 ? parts[0]! : ops.concat(parts, 0) };
    };
    const whole = this.#runtime.run(`read:${String(transposed)}`, blockedInputs("block", blocks), body)["y"]!;
    const shaped = whole.reshape([...shape]);
    whole.dispose();
    return shaped;
  }

  /** Replaces a float32 weight by a value in the checkpoint's shape and frees the value. */
  write(name: string, value: Tensor): void {
    const { blocks, shape, transposed } = this.#entry(name);
    if (!transposed && blocks.length === 1) {
      this.put(name, { blocks: [value], shape, transposed });
      return;
    }
    const written = this.#runtime.tf.tidy(() => {
      const rows = value.reshape([shape[0]!, value.size / shape[0]!]);
      const parts = blocks.length === 1 ? [rows] : this.#runtime.tf.split(rows, blocks.map((block) => block.shape[transposed ? 1 : 0]!), 0);
      return transposed ? parts.map((part) => part.transpose()) : parts;
    });
    value.dispose();
    this.put(name, { blocks: written, shape, transposed });
  }

  /** Replaces a stored tensor, as {@link tensor} gives it, and returns the old one, which the caller now owns. */
  exchange(name: string, tensor: TensorLike): TensorLike {
    const { blocks, ...rest } = this.#entry(name);
    this.#stored.set(name, { ...rest, blocks: [tensor] });
    return blocks[0]!;
  }

  /** Number of weights and their bytes on the back end. */
  totals(): { parameters: number; bytes: number } {
    let parameters = 0;
    let bytes = 0;
    for (const [name, { shape }] of this.#stored) {
      const size = shape.reduce((a, b) => a * b, 1);
      parameters += size;
      bytes += size * (this.dtype(name) === "bfloat16" ? 2 : 4);
    }
    return { parameters, bytes };
  }

  /** Frees everything. */
  dispose(): void {
    for (const { blocks } of this.#stored.values()) for (const block of blocks) block.dispose();
    this.#stored.clear();
  }

  #entry(name: string): StoredWeight {
    const entry = this.#stored.get(name);
    if (entry === undefined) throw new QwenVlError(`the model has no weight "${name}"`, { code: "UNKNOWN_WEIGHT" });
    return entry;
  }
}
