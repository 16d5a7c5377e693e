/** Temporal grids (frame pairs), rows and columns of an item, in patches of 14 pixels. */
export type Grid = readonly [t: number, h: number, w: number];

/** How text positions go on after a vision item: by the largest axis, or by the larger side of the frame. */
export type MropeRule = "qwen" | "hf5";

/** Decoder part of a configuration. */
export interface TextConfig {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocabSize: number;
  maxPositionEmbeddings: number;
  rmsNormEps: number;
  ropeTheta: number;
  /** Frequencies that read time, height and width; sums to headDim / 2. */
  mropeSection: readonly number[];
}

/** Vision part of a configuration. */
export interface VisionConfig {
  depth: number;
  hiddenSize: number;
  heads: number;
  intermediateSize: number;
  outHiddenSize: number;
  /** Pixels. */
  patchSize: number;
  /** Frames of one temporal grid. */
  temporalPatchSize: number;
  /** Patches merged along each side into one token. */
  spatialMergeSize: number;
  /** Pixels. */
  windowSize: number;
  /** Blocks that attend over a whole frame pair. */
  fullAttentionBlocks: readonly number[];
  tokensPerSecond: number;
  inChannels: number;
  ropeTheta: number;
}

/** A checkpoint's configuration, both layouts unified. */
export interface QwenVlConfig {
  text: TextConfig;
  vision: VisionConfig;
  /** Whether the output matrix is the embedding. */
  tieWordEmbeddings: boolean;
  imageTokenId: number;
  videoTokenId: number;
  visionStartTokenId: number;
  visionEndTokenId: number;
  /** Ids that end an answer unless generation_config.json names others; none when the file names none. */
  eosTokenIds: readonly number[];
  /** Element type that the file names, such as "float16". */
  dtype: string;
}
