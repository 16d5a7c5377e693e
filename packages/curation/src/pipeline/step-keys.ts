import { hash } from "node:crypto";
import type { DramaRecord } from "../ledger/drama-types.ts";
import type { StepSpec } from "../ledger/step-types.ts";
import type { CurationSetting } from "./setting.ts";

/** Episodes that are looked at. */
export const MAX_EPISODES = 5;

/** Temperature of a round, 1-based; after the ladder's end it starts again. */
export const temperatureOf = ({ config: { rounds } }: CurationSetting, round: number): number => rounds.temperature[(round - 1) % rounds.temperature.length]!;

/** SHA-256 of a value's canonical JSON: objects that come here name their fields in the order of the alphabet. */
const hashSorted = (value: object): string => hash("sha256", JSON.stringify(value));

/** Steps of one drama with their keys. */
export interface DramaSteps {
  caption: StepSpec;
  sample(round: number): StepSpec;
  /** A vote of a round's filter, 1-based. */
  vote(round: number, part: number): StepSpec;
  /** An ask for labels, 1-based, with the texts that it is about. */
  comments(part: number, texts: readonly string[]): StepSpec;
}

/**
 * Steps of a drama. A key is the SHA-256 of everything that could change the answer and of nothing else: what the kind has in common, the drama, the contents of its episodes,
 * the known class for the filter, the comments for their labels, the keys of steps whose answers are shown, round and part. So a change to one drama's comments asks for labels
 * alone, and the rounds of a drama stay apart.
 */
export function dramaSteps(setting: CurationSetting, { dramaId, quality, drama }: DramaRecord): DramaSteps {
  const { kindHashes } = setting;
  const shown = hashSorted({ episodes: drama.episodes.map((episode) => episode.sha256 ?? null), transcript: drama.transcript === undefined ? null : hash("sha256", drama.transcript) });
  const step = (kind: StepSpec["kind"], round: number, part: number, rest: object): StepSpec => ({ kind, drama: dramaId, round, part, key: hashSorted({ common: kindHashes[kind], drama: dramaId, part, round, ...rest }) });
  const caption = step("caption", 0, 1, { shown });
  const samples = new Map<number, StepSpec>();
  const sample = (round: number): StepSpec => {
    const known = samples.get(round) ?? step("sample", round, 1, { shown, temperature: temperatureOf(setting, round) });
    samples.set(round, known);
    return known;
  };
  return {
    caption,
    sample,
    vote: (round, part) => step("filter", round, part, { truth: quality, upstream: [caption.key, sample(round).key] }),
    comments: (part, texts) => step("comments", 0, part, { texts }),
  };
}
