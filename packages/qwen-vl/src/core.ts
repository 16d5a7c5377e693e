import type { QwenVlConfig } from "./config-types.ts";
import type { Runtime } from "./runtime.ts";

/** What every computation of a model shares. */
export interface Core {
  readonly config: QwenVlConfig;
  readonly runtime: Runtime;
  /** Attention rows at once. */
  readonly queryChunk: number;
  /** Logit rows at once. */
  readonly logitsChunk: number;
  /** Ids at once where rows are scored. */
  readonly vocabChunk: number;
  /** Bytes of inner results that a gradient call may keep. */
  readonly keepBytes: number;
  /** How matrices are kept. */
  readonly dtype: "float32" | "bfloat16";
  /** Pixel value by channel and byte, [channels·256]. */
  readonly pixelTable: Float32Array;
}
