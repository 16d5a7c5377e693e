import { createRandom, type Random } from "@dramascope/schema";

/**
 * The numbers that sampling draws from, the same on every machine. Sample s of prompt p draws from stream p·2¹⁶ + s, one uniform for
 * each token, so that a sample does not depend on what else is in the batch.
 *
 * @param seed   Integer from 0 to 2⁵³ − 1.
 * @param stream Independent stream of the seed, an unsigned 32-bit integer. Default 0.
 */
export function createRng(seed: number, stream = 0): Pick<Random, "next" | "uniform"> {
  return createRandom(seed, { stream });
}
