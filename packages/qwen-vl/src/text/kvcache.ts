import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import type { Tensor, Tensor1D } from "../tensor-types.ts";

/** Shape of the cache of one decoding batch. */
export interface CacheShape {
  prompts: number;
  /** Samples of every prompt. */
  samples: number;
  /** Rows of the prompts' keys, padding included. */
  promptRows: number;
  /** Slots of every sample. */
  capacity: number;
}

/** Keys and values of one layer. */
export interface LayerCache {
  /** [prompts·kvHeads, promptRows, d], shared by the samples of a prompt. */
  prefixKeys: Tensor;
  prefixValues: Tensor;
  /** [prompts·kvHeads·samples·capacity, d]. */
  ownKeys: Tensor;
  ownValues: Tensor;
}

/** Cache of all layers; tensors belong to the arena. */
export class KvCache {
  readonly #core: Core;
  readonly #arena: Arena;
  /** One entry a layer. */
  readonly layers: LayerCache[];
  /** Current shape. */
  shape: CacheShape;

  constructor(core: Core, arena: Arena, prefixes: readonly { keys: Tensor; values: Tensor }[], shape: CacheShape) {
    this.#core = core;
    this.#arena = arena;
    this.shape = shape;
    const d = core.config.text.headDim;
    const rows = shape.prompts * core.config.text.kvHeads * shape.samples * shape.capacity;
    const zeros = (): Tensor => arena.add(core.runtime.tf.zeros([rows, d], "float32"));
    this.layers = prefixes.map(({ keys, values }) => ({ prefixKeys: keys, prefixValues: values, ownKeys: zeros(), ownValues: zeros() }));
  }

  /** Takes the written caches of a layer. */
  update(index: number, ownKeys: Tensor, ownValues: Tensor): void {
    const layer = this.layers[index]!;
    this.#arena.free(layer.ownKeys, layer.ownValues);
    layer.ownKeys = this.#arena.add(ownKeys);
    layer.ownValues = this.#arena.add(ownValues);
  }

  /** Makes room for more tokens of every sample. */
  grow(capacity: number): void {
    const { shape } = this;
    const d = this.#core.config.text.headDim;
    const owners = shape.prompts * this.#core.config.text.kvHeads * shape.samples;
    const grown = (x: Tensor): Tensor =>
      this.#core.runtime.tf.tidy(() =>
        x.reshape([owners, shape.capacity, d]).pad([[0, 0], [0, capacity - shape.capacity], [0, 0]]).reshape([owners * capacity, d]),
      );
    this.layers.forEach((layer, i) => {
      this.update(i, grown(layer.ownKeys), grown(layer.ownValues));
    });
    this.shape = { ...shape, capacity };
  }

  /**
   * Keeps chosen rows: `prompts[i]` is the old prompt at new place i, `rows[i]` its old samples. All lists of `rows` have one length.
   */
  keep(prompts: readonly number[], rows: readonly (readonly number[])[]): void {
    const { shape } = this;
    const { runtime, config } = this.#core;
    const heads = config.text.kvHeads;
    const d = config.text.headDim;
    const samples = rows[0]!.length;
    const prefixIndex = prompts.flatMap((p) => Array.from({ length: heads }, (_, h) => p * heads + h));
    const ownIndex = prompts.flatMap((p, i) =>
      Array.from({ length: heads }, (_, h) => rows[i]!.map((s) => (p * heads + h) * shape.samples + s)).flat(),
    );
    const chosenPrefix = this.#arena.add(runtime.ints(Int32Array.from(prefixIndex), [prefixIndex.length]));
    const chosenOwn = this.#arena.add(runtime.ints(Int32Array.from(ownIndex), [ownIndex.length]));
    const own = (x: Tensor): Tensor =>
      runtime.tf.tidy(() =>
        x.reshape([x.size / (shape.capacity * d), shape.capacity * d]).gather(chosenOwn as Tensor1D).reshape([ownIndex.length * shape.capacity, d]),
      );
    const prefix = (x: Tensor): Tensor => runtime.tf.tidy(() => x.gather(chosenPrefix as Tensor1D));
    this.layers.forEach((layer, i) => {
      const keys = this.#arena.add(prefix(layer.prefixKeys));
      const values = this.#arena.add(prefix(layer.prefixValues));
      this.#arena.free(layer.prefixKeys, layer.prefixValues);
      layer.prefixKeys = keys;
      layer.prefixValues = values;
      this.update(i, own(layer.ownKeys), own(layer.ownValues));
    });
    this.#arena.free(chosenPrefix, chosenOwn);
    this.shape = { ...shape, prompts: prompts.length, samples };
  }
}
