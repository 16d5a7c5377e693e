import type { TensorLike } from "@dramascope/tensorflow";

/** Owner of the tensors that live during one call; whatever it still holds at the end is freed, also after an error. */
export class Arena {
  readonly #held = new Set<TensorLike>();

  /** Takes a tensor and returns it. */
  add<T extends TensorLike>(tensor: T): T {
    this.#held.add(tensor);
    return tensor;
  }

  /** Takes every tensor of a record and returns the record. */
  addAll<R extends Record<string, TensorLike>>(tensors: R): R {
    for (const tensor of Object.values(tensors)) this.#held.add(tensor);
    return tensors;
  }

  /** Frees tensors before the end. */
  free(...tensors: readonly (TensorLike | undefined)[]): void {
    for (const tensor of tensors) if (tensor !== undefined && this.#held.delete(tensor)) tensor.dispose();
  }

  /** Gives a tensor away: it lives on after the call. */
  release<T extends TensorLike>(tensor: T): T {
    this.#held.delete(tensor);
    return tensor;
  }

  /** Frees everything still held. */
  dispose(): void {
    for (const tensor of this.#held) tensor.dispose();
    this.#held.clear();
  }
}
