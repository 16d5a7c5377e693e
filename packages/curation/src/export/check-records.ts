import { trainingSample, type CuratedSample, type Quality, type Split, type TrainingSample } from "@dramascope/schema";
import type { DramaRecord } from "../ledger/drama-types.ts";
import { CurationError } from "../errors.ts";
import { parseAnswer } from "../answers/read-answer.ts";
import { scoreInTags } from "./sft-target.ts";

/** Looks at everything that is about to be written. Each function throws CurationError `EXPORT_CHECK` at the first thing that must not be. */
export interface RecordCheck {
  /** A drama of the ledger: order and ids strictly ascending (so that none comes twice), no group in two splits. */
  drama(record: DramaRecord): void;
  /** A record of `samples.jsonl`. */
  curated(sample: CuratedSample): void;
  /** A training record of a drama: media, score and form of the answer, text that is well-formed. */
  training(sample: TrainingSample, quality: Quality): void;
}

/** First string of a value that is not well-formed Unicode, by its path; undefined when all are. */
function brokenText(value: unknown, path = ""): string | undefined {
  if (typeof value === "string") return value.isWellFormed() ? undefined : path;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, entry] of Object.entries(value)) {
    const found = name.isWellFormed() ? brokenText(entry, path === "" ? name : `${path}.${name}`) : path;
    if (found !== undefined) return found;
  }
  return undefined;
}

function scoreOf(target: string, format: "json" | "tags"): number | null {
  if (format === "tags") return scoreInTags(target);
  const parsed = parseAnswer("cot", { content: target });
  return parsed.ok && parsed.flags.length === 0 ? parsed.value.answer : null;
}

/** Creates the check of one export. Its memory holds ids of records of the drama at hand and the split of each group. */
export function createRecordCheck({ sftFormat }: { sftFormat: "json" | "tags" }): RecordCheck {
  const refuse = (what: string): never => {
    throw new CurationError(`the export would be wrong: ${what}`, { code: "EXPORT_CHECK", hint: "Nothing was written. The ledger was changed by something else than this program, or this is a fault of it: please report it." });
  };
  let last = "";
  let current: DramaRecord | undefined;
  let ids = new Set<string>();
  const splits = new Map<string, Split>();

  const common = (sampleId: string, sample: unknown): void => {
    if (ids.has(sampleId)) refuse(`the id ${JSON.stringify(sampleId)} comes twice`);
    ids.add(sampleId);
    const broken = brokenText(sample);
    if (broken !== undefined) refuse(`${JSON.stringify(sampleId)}: ${broken} is not well-formed text`);
  };

  return {
    drama: (record) => {
      const { dramaId, order, groupId, split } = record;
      const shown = JSON.stringify(dramaId);
      if (order <= last) refuse(`drama ${shown} comes twice or out of order`);
      const known = splits.get(groupId);
      if (known !== undefined && known !== split) refuse(`the group ${JSON.stringify(groupId)} of drama ${shown} is in the splits ${known} and ${split}`);
      splits.set(groupId, split);
      last = order;
      current = record;
      ids = new Set();
    },
    curated: (sample) => {
      if (sample.dramaId !== current?.dramaId || sample.split !== current.split) refuse(`${JSON.stringify(sample.sampleId)} is not of the drama at hand`);
      const broken = brokenText(sample);
      if (broken !== undefined) refuse(`${JSON.stringify(sample.sampleId)}: ${broken} is not well-formed text`);
    },
    training: (sample, quality) => {
      const shown = JSON.stringify(sample.sampleId);
      common(sample.sampleId, sample);
      const parsed = trainingSample.safeParse(sample);
      if (!parsed.success) refuse(`${shown}: ${parsed.error.issues[0]!.path.join(".")} ${parsed.error.issues[0]!.message}`);
      const expected = Math.max(1, current?.drama.episodes.length ?? 0);
      const places = sample.messages.flatMap(({ content }) => (typeof content === "string" ? [] : content)).flatMap((part) => (part.type === "video" ? [part.video] : []));
      const isWhole = sample.videos.length === expected && places.length === expected && places.every((video, i) => video === i);
      if (!isWhole) refuse(`${shown} has ${sample.videos.length} videos and ${places.length} places for them, its drama has ${expected} episodes to show`);
      if (sample.videos.some(({ dramaId }) => dramaId !== current?.dramaId)) refuse(`${shown} shows another drama`);
      const score = sample.kind === "sft" ? scoreOf(sample.target, sftFormat) : sample.quality;
      if (score !== quality) refuse(`${shown} teaches the score ${score ?? "(unreadable)"}, its class is ${quality}`);
    },
  };
}
