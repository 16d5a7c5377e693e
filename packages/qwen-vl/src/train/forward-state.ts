import type { RowTensors } from "../text/forward.ts";
import type { PackedRows } from "../text/packing.ts";
import type { PlacedFeatures } from "../text/vision-rows.ts";
import type { PrefixValues } from "../text/shared-prefix.ts";
import type { Tensor } from "../tensor-types.ts";
import type { RowDropout } from "./dropout.ts";

/** One chunk of scored rows: predictors and targets, padded to a bucket. */
export interface HeadChunk {
  /** First token of the chunk. */
  at: number;
  /** Tokens of the chunk without padding. */
  count: number;
  rows: Int32Array;
  targets: Int32Array;
}

/** Values of a forward pass that the backward needs. */
export interface ForwardState {
  packed: PackedRows;
  rows: RowTensors;
  placed: PlacedFeatures;
  ids: Tensor;
  /** Input of every layer, then the last layer's output, which has the prompts' last rows and then those of the completions; only the latter without training. */
  hidden: Tensor[];
  chunks: HeadChunk[];
  /** What the layers dropped. */
  dropout: RowDropout | undefined;
  /** Results inside every layer that its backward need not compute again; empty lists where memory forbids. */
  kept: Tensor[][];
  /** Gradients of the prompts' keys and values by layer, from completions of other chunks; absent where all completions are among the rows. */
  dPrefixes?: PrefixValues<Tensor>[];
  /** The prompts' keys and values by layer, where they are given. */
  prefixes?: PrefixValues<Tensor>[];
}
