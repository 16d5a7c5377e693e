import { createRandom } from "@dramascope/schema";
import type { SftConfig } from "./config.ts";

/** A window is at most this part of all samples: else every epoch would put the same ones together. */
const WINDOWS = 4;

/** A list in pieces of so many, the last one perhaps shorter. */
export const cut = <T>(list: readonly T[], size: number): T[][] => Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));

/**
 * Samples of each step of one epoch, those of like lengths together inside windows of a random order. A function of lengths, seed and epoch alone, so that a resumed run goes on where
 * it was.
 *
 * @param lengths Tokens of each sample.
 * @param epoch   From 0.
 * @returns       Places of the samples by step; the last ones of the epoch may make a step of fewer.
 */
export function epochBatches(lengths: readonly number[], epoch: number, { seed, batchSize, bucketWindow }: Pick<SftConfig, "seed" | "batchSize" | "bucketWindow">): number[][] {
  const random = createRandom(seed, { stream: epoch });
  const order = random.shuffle(Array.from(lengths.keys()));
  const steps = Math.floor(Math.min(bucketWindow, lengths.length / WINDOWS) / batchSize);
  if (steps < 2) return cut(order, batchSize);
  return cut(order, steps * batchSize).flatMap((window) => random.shuffle(cut(window.toSorted((a, b) => lengths[a]! - lengths[b]!), batchSize)));
}
