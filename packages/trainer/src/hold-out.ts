import { createRandom, type TrainingSample } from "@dramascope/schema";
import { TrainerError } from "./errors.ts";

/** Stream of the choice; those of the epochs count from 0. */
const STREAM = 2 ** 32 - 1;

/** Dramas that a sample shows; a sample without videos stands for itself. */
const dramasOf = ({ sampleId, videos }: TrainingSample): string[] => (videos.length === 0 ? [`sample ${sampleId}`] : videos.map(({ dramaId }) => `drama ${dramaId}`));

/** Places of samples that hang together by dramas, be it over others between them; groups in the order of their first. */
function groupsOf(samples: readonly TrainingSample[]): number[][] {
  const parents = [...samples.keys()];
  const rootOf = (place: number): number => {
    let root = place;
    while (parents[root] !== root) root = parents[root] = parents[parents[root]!]!;
    return root;
  };
  const placeOf = new Map<string, number>();
  samples.forEach((sample, i) => {
    for (const drama of dramasOf(sample)) {
      const [own, other] = [rootOf(i), rootOf(placeOf.get(drama) ?? i)];
      parents[Math.max(own, other)] = Math.min(own, other);
      placeOf.set(drama, i);
    }
  });
  return [...Map.groupBy(parents.keys(), rootOf).values()];
}

/**
 * Keeps samples out of training, drawn by the seed: groups of samples that hang together by dramas, as many as give `count` samples or the next more, so that no drama is on both sides.
 *
 * @returns Places of both sides, in order.
 * @throws TrainerError `NO_SAMPLES` when none would be left to train on.
 */
export function holdOut(samples: readonly TrainingSample[], count: number, seed: number): { training: number[]; held: number[] } {
  const held = new Set<number>();
  if (count > 0) {
    for (const places of createRandom(seed, { stream: STREAM }).shuffle(groupsOf(samples))) {
      if (held.size >= count) break;
      places.forEach((i) => held.add(i));
    }
  }
  const training = Array.from(samples.keys()).filter((i) => !held.has(i));
  if (training.length === 0) throw new TrainerError(`holding out ${count} of ${samples.length} samples leaves none to train on`, { code: "NO_SAMPLES", hint: "Lower evalSamples, or give more samples of other dramas." });
  return { training, held: [...held].sort((a, b) => a - b) };
}
