import type * as tfjs from "@tensorflow/tfjs";
import { TensorFlowError } from "./errors.ts";

/** The native side that holds a raw tensor. */
export interface RawTensorOwner {
  /** Frees the tensor behind an id. */
  deleteTensor(id: number): void;
}

/**
 * A bfloat16 tensor on native TensorFlow, which TensorFlow.js itself cannot represent. Made by `uploadBfloat16`, `mapTensorFile` and compiled functions
 * with such outputs; taken by compiled functions with such inputs. `tf.tidy` does not know it: call `dispose`.
 */
export class RawTensor {
  /** Sizes of the axes. */
  readonly shape: readonly number[];
  /** Element type: the upper half of a float32. */
  readonly dtype = "bfloat16";
  readonly #owner: RawTensorOwner;
  readonly #id: number;
  #isDisposed = false;

  /** Takes ownership of a tensor of the native side; applications get theirs from the functions named above. */
  constructor(owner: RawTensorOwner, id: number, shape: readonly number[]) {
    this.#owner = owner;
    this.#id = id;
    this.shape = shape;
  }

  /** Whether the memory was given back. */
  get isDisposed(): boolean {
    return this.#isDisposed;
  }

  /** Size of the elements, two bytes each. */
  get bytes(): number {
    return 2 * this.shape.reduce((count, size) => count * size, 1);
  }

  /**
   * Number of the tensor at its native side.
   *
   * @throws TensorFlowError `TENSOR_DISPOSED` after {@link dispose}.
   */
  get id(): number {
    if (this.#isDisposed) throw new TensorFlowError(`a bfloat16 tensor of shape [${this.shape.join(",")}] was disposed`, { code: "TENSOR_DISPOSED", hint: "Use tensors before they are disposed." });
    return this.#id;
  }

  /** Gives the memory back; a second call does nothing. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#owner.deleteTensor(this.#id);
  }
}

/** What compiled functions take and return: a TensorFlow.js tensor, or a {@link RawTensor} where the type is bfloat16. */
export type TensorLike = tfjs.Tensor | RawTensor;
