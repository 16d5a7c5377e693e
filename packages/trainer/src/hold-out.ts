import { createRandom, type TrainingSample } from "@dramascope/schema";
import { TrainerError } from "./errors.ts";

/** Stream of the choice; those of the epochs count from 0. */
const STREAM = 2 ** 32 - 1;

/** Dramas that a sample shows; a sample without videos stands for itself. */
const dramasOf = ({ sampleId, videos }: TrainingSample): string => JSON.stringify(videos.length === 0 ? [sampleId] : [...new Set(videos.map(({ dramaId }) => dramaId))].sort());

/**
 * Keeps samples out of training, drawn by the seed: whole dramas, as many as give `count` samples or the next more, so that no drama is on both sides.
 *
 * @returns Places of both sides, in order.
 * @throws TrainerError `NO_SAMPLES` when none would be left to train on.
 */
export function holdOut(samples: readonly TrainingSample[], count: number, seed: number): { training: number[]; held: number[] } {
  const held = new Set<number>();
  if (count > 0) {
    const byDrama = new Map<string, number[]>();
    samples.forEach((sample, i) => {
      const key = dramasOf(sample);
      byDrama.set(key, [...(byDrama.get(key) ?? []), i]);
    });
    for (const places of createRandom(seed, { stream: STREAM }).shuffle([...byDrama.values()])) {
      if (held.size >= count) break;
      places.forEach((i) => held.add(i));
    }
  }
  const training = Array.from(samples.keys()).filter((i) => !held.has(i));
  if (training.length === 0) throw new TrainerError(`holding out ${count} of ${samples.length} samples leaves none to train on`, { code: "NO_SAMPLES", hint: "Lower evalSamples, or give more samples of other dramas." });
  return { training, held: [...held].sort((a, b) => a - b) };
}
