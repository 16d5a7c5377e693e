import type { Grid, QwenVlConfig } from "@dramascope/qwen-vl";

/** Patch rows that the tower computes at once, unless a single video has more. */
const ROWS_AT_ONCE = 16_384;

/** Patches of a video. */
export const patchesOf = ([t, h, w]: Grid): number => t * h * w;

/** Operations of the tower over one video: patch embedding, linears, attention in windows and over whole frame pairs, merger. */
export function visionFlops({ vision }: QwenVlConfig, grid: Grid): number {
  const { depth, hiddenSize: c, intermediateSize, outHiddenSize, patchSize, temporalPatchSize, inChannels, spatialMergeSize, windowSize, fullAttentionBlocks } = vision;
  const patches = patchesOf(grid);
  const frame = grid[1] * grid[2];
  const seen = fullAttentionBlocks.length * frame + (depth - fullAttentionBlocks.length) * Math.min(frame, (windowSize / patchSize) ** 2);
  const merged = c * spatialMergeSize ** 2;
  return 2 * patches * (inChannels * temporalPatchSize * patchSize ** 2 * c + depth * (4 * c * c + 3 * c * intermediateSize)) + 4 * patches * c * seen + (2 * patches * merged * (merged + outHiddenSize)) / spatialMergeSize ** 2;
}

/** Bytes that the tower takes over the videos of one sample: pixels on both sides, the residual stream, and one block's widest moment. */
export function visionBytes({ vision }: QwenVlConfig, grids: readonly Grid[], queryChunk: number): number {
  if (grids.length === 0) return 0;
  const { hiddenSize: c, heads, intermediateSize, patchSize, temporalPatchSize, inChannels } = vision;
  const sizes = grids.map(patchesOf);
  const rows = Math.max(Math.min(ROWS_AT_ONCE, sizes.reduce((a, b) => a + b, 0)), ...sizes);
  const frame = Math.max(...grids.map(([, h, w]) => h * w));
  const scores = heads * rows * Math.min(frame, queryChunk);
  return 4 * rows * (2 * inChannels * temporalPatchSize * patchSize ** 2 + 3 * c + Math.max(3 * intermediateSize, 4 * c)) + 8 * scores;
}

/** What the tower has to look at. */
export interface Looks {
  /** Operations for one sample, on average; samples with the same videos share one look. */
  flops: number;
  /** Vision tokens of all different videos. */
  tokens: number;
  /** The video that it is measured with: the largest, perhaps with fewer frames. */
  measured: Grid | undefined;
  /** The videos of the sample that has the most. */
  largest: readonly Grid[];
  /** Patches of all different videos over those of that sample. */
  share: number;
}

/**
 * What the tower has to look at.
 *
 * @param videos Videos of every sample that the run looks at.
 * @param samples Number of its samples; those with the same videos share one look.
 * @param mostFlops Operations that measuring may take.
 */
export function looksOf(config: QwenVlConfig, videos: readonly (readonly Grid[])[], samples: number, mostFlops: number): Looks {
  const all = videos.flat();
  const patches = (grids: readonly Grid[]): number => grids.reduce((sum, grid) => sum + patchesOf(grid), 0);
  const most = all.reduce<Grid | undefined>((largest, grid) => (largest === undefined || patchesOf(grid) > patchesOf(largest) ? grid : largest), undefined);
  const largest = videos.reduce((known, grids) => (patches(grids) > patches(known) ? grids : known), []);
  // Frame pairs do not see each other: the time grows with their number.
  const pairs = most && Math.max(1, Math.min(most[0], Math.floor(mostFlops / visionFlops(config, [1, most[1], most[2]]))));
  return {
    flops: all.reduce((sum, grid) => sum + visionFlops(config, grid), 0) / samples,
    tokens: patches(all) / config.vision.spatialMergeSize ** 2,
    measured: most && [pairs!, most[1], most[2]],
    largest,
    share: largest.length === 0 ? 0 : patches(all) / patches(largest),
  };
}
