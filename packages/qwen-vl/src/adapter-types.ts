import type { Tensor } from "./tensor-types.ts";

/** Shape of an adapter. */
export interface LoraConfig {
  /** Rank, from 1 to 65536. */
  r: number;
  /** Above 0; the adapter's product is scaled by alpha / r. */
  alpha: number;
  /**
   * Share of the adapter's inputs that gradient calls drop, at least 0 and below 1; the others are scaled by 1 / (1 − dropout). Nothing else drops:
   * not `generate`, `logProbs`, `forward` or a merge. Default 0.
   */
  dropout?: number;
  /**
   * Suffixes of module names, each of which must fit a linear, or an expression for whole names: characters, `.`, `\d`, sets such as `[^.]`, each with `?`, `*` or `+`, and groups
   * of alternatives; nothing else is served, so that a file cannot hang the process. Default the decoder's seven linears.
   */
  targetModules?: string | readonly string[];
  /** Left out of those, named alike. Default none. */
  excludeModules?: string | readonly string[];
  /** Scale alpha / √r instead of alpha / r. Default false. */
  rslora?: boolean;
  /** Rank of some modules in place of `r`; keys are suffixes of module names or expressions as above, the first that fits counts. Default none. */
  rankPattern?: Readonly<Record<string, number>>;
  /** The same for `alpha`. Default none. */
  alphaPattern?: Readonly<Record<string, number>>;
}

/** Options of `attachLora`. */
export interface AttachLoraOptions {
  /** Name among the model's adapters. Default the folder's, or `default`. */
  name?: string;
  /** Lets `trainable()` take its matrices. Default true. */
  trainable?: boolean;
  /** Seed of a fresh adapter's values. Default 0. */
  seed?: number;
  /** In place of the dropout that the folder or configuration names. */
  dropout?: number;
}

/** An attached adapter. */
export interface LoraAdapter {
  readonly name: string;
  readonly config: LoraConfig;
  /** Module names it changes. */
  readonly modules: string[];
  /** Whether it changed anything when it was attached: an adapter whose B matrices are all zero, fresh or never trained, does not. */
  readonly hasEffect: boolean;
  dispose(): void;
}

/** Parameters under training with their gradient sums; values have PyTorch's shapes. */
export interface TrainableSet {
  readonly names: string[];
  /** A copy that the caller owns. */
  value(name: string): Tensor;
  /** The sum so far; owned by the set. */
  gradient(name: string): Tensor | undefined;
  zeroGradients(): void;
  scaleGradients(factor: number): void;
  gradientNorm(): Promise<number>;
  /** Replaces a value and takes ownership of the tensor. */
  assign(name: string, value: Tensor): void;
  /** All gradients in the order of `names`, one read. */
  readGradients(): Promise<Float32Array[]>;
  /** All values in the order of `names`, one read. */
  readValues(): Promise<Float32Array[]>;
  /** Replaces all values, in the order of `names`. */
  assignAll(values: readonly Float32Array[]): void;
  dispose(): void;
}
