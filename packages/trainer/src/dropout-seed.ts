import { sha256 } from "@dramascope/schema";

/** Seed of what the adapter drops in step `step` for its prompt `prompt`: a function of the run's seed and the place alone, so that a resumed run drops the same. */
export function dropoutSeedAt(seed: number, step: number, prompt = 0): number {
  return Number.parseInt(sha256(`dropout ${seed} ${step} ${prompt}`).slice(0, 13), 16);
}
