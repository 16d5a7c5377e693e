import type { Grid } from "./config-types.ts";
import type { Tensor2D } from "./tensor-types.ts";

/** One image or video as patches. */
export interface VisionItem {
  kind: "video" | "image";
  grid: Grid;
  /** Row-major [t·h·w, 3·2·14·14]; bytes are raw pixels (normalised by table), floats are already normalised. */
  patches: Uint8Array | Float32Array;
  /** Seconds of one temporal grid, videos only. Default 2 (1 FPS). */
  secondsPerGrid?: number;
}

/** Encoded item, [tokens, hidden]. */
export interface VisionFeatures {
  readonly tensor: Tensor2D;
  readonly tokens: number;
  dispose(): void;
}

/** Part of a sequence for position ids. */
export type Segment = { text: number } | { image: Grid } | { video: Grid; secondsPerGrid: number };

/** A prompt ready for the model. */
export interface Prompt {
  /** [S], pads expanded. */
  ids: Int32Array;
  /** [3·S], axis-major: time, height, width. */
  positionIds: Int32Array;
  /** Position of the first completion token: 1 + max(positionIds). */
  nextPosition: number;
  segments: Segment[];
  /** In order of appearance. */
  vision: VisionItem[];
  /** Same order; when present the tower is not run. */
  features?: VisionFeatures[];
  /** Rendered template before the pads were expanded. */
  text: string;
}

/** Part of a chat message. */
export type ChatPart = { type: "text"; text: string } | { type: "video" | "image"; item: VisionItem };

/** One chat message. */
export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string | readonly ChatPart[];
}

/** Options of `prepare`. */
export interface PrepareOptions {
  /** Ends with the opening of the assistant's turn. Default true. */
  addGenerationPrompt?: boolean;
  /** Numbers the items: "Video 1: ". Default false. */
  addVisionId?: boolean;
  /** Lets text create control tokens; only for trusted text. Default false. */
  allowSpecial?: boolean;
  /** `pinned`: one second a grid whatever the item says, the same in every engine; `true-fps`: the item's own. Default `pinned`. */
  timeBase?: "pinned" | "true-fps";
}
