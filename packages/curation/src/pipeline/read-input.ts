import { drama, hotValueRecord, readJsonl, type Drama, type Quality, type RejectedLine } from "@dramascope/schema";
import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";
import { mediaPath } from "./media-path.ts";
import { MAX_EPISODES } from "./step-keys.ts";

/** A drama with its known class. */
export interface LabelledDrama {
  drama: Drama;
  quality: Quality;
  /** Hash of the hot value model that gave the class. */
  classCalibration?: string;
}

/** A drama and where it stands. */
interface ReadDrama extends LabelledDrama {
  /** File, or `dramas` for what a program gives. */
  file: string;
  /** 1-based line, or place among what a program gives. */
  line: number;
}

/** Dramas to curate; they can be read more than once. */
export interface DramaSource {
  /** @param onRejected Receives lines that are left out, with their file and line. Default they are left out in silence, for a second reading. */
  read(onRejected?: (line: RejectedLine) => void): AsyncIterable<ReadDrama>;
}

/** Episodes of a drama that are looked at, in order. */
export const shownEpisodes = (one: Drama): Drama["episodes"] => [...one.episodes].sort((a, b) => a.index - b.index).slice(0, MAX_EPISODES);

/**
 * Why a drama's files are of no use.
 *
 * @throws Any error that is not about its files.
 */
export function mediaRefusal(error: unknown): string {
  if (!(error instanceof CurationError) || error.code !== "MEDIA_MISSING") throw error;
  return error.hint === undefined ? error.message : `${error.message}; ${error.hint}`;
}

/** What is wrong with a drama among others; undefined when nothing is. Ids and paths are what people wrote and are not repeated: file and line lead to them. */
function objection(one: Drama, seen: Set<string>, config: CurationConfig): string | undefined {
  if (seen.has(one.dramaId)) return "the drama was given before; remove one of the two";
  seen.add(one.dramaId);
  for (const { index, path } of shownEpisodes(one)) {
    try {
      if (path !== undefined) mediaPath(config, path);
    } catch (error) {
      return `episode ${index}: ${mediaRefusal(error)}`;
    }
  }
  return undefined;
}

/** Classes by drama, and the model that they come from. */
interface Classes {
  classes: Map<string, Quality>;
  calibration: string | undefined;
}

async function readClasses(file: string, onRejected: (line: RejectedLine) => void): Promise<Classes> {
  const classes = new Map<string, Quality>();
  const models = new Set<string>();
  const record = hotValueRecord.refine(({ dramaId, quality }) => quality === null || (classes.get(dramaId) ?? quality) === quality, { message: "another line gives the drama another class; remove one of the two", path: ["dramaId"] });
  for await (const { dramaId, quality, modelHash } of readJsonl(file, record, { onRejected })) {
    if (quality === null) continue;
    classes.set(dramaId, quality);
    models.add(modelHash);
  }
  if (models.size > 1) throw new CurationError(`${file}: classes of ${models.size} hot value models stand side by side: ${[...models].join(", ")}`, { code: "LABELS_MIXED", hint: "Score all dramas with one model; classes of two cannot be compared." });
  return { classes, calibration: [...models][0] };
}

/** Dramas and classes from the files of the settings, streamed. A drama without a class is a rejected line, too. */
export function dramasFromFiles(config: CurationConfig, input: NonNullable<CurationConfig["input"]>): DramaSource {
  let known: Promise<Classes> | undefined;
  return {
    async *read(onRejected) {
      known ??= readClasses(input.labels, onRejected ?? (() => undefined));
      const { classes, calibration } = await known;
      const seen = new Set<string>();
      const accepted = drama.superRefine((one, context) => {
        const message = onRejected && (objection(one, seen, config) ?? (classes.has(one.dramaId) ? undefined : `the drama has no class in ${input.labels}`));
        if (message !== undefined) context.addIssue({ code: "custom", message });
      });
      let line = 0;
      for await (const one of readJsonl(input.dramas, accepted, { onRejected: onRejected ?? (() => undefined), onRecord: (at) => void (line = at) })) {
        const quality = classes.get(one.dramaId);
        if (quality !== undefined) yield { drama: one, quality, file: input.dramas, line, ...(calibration === undefined ? {} : { classCalibration: calibration }) };
      }
    },
  };
}

/** Dramas that a program gives. What can be walked through only once is held in memory. */
export function dramasFromProgram(config: CurationConfig, dramas: AsyncIterable<LabelledDrama> | Iterable<LabelledDrama>): DramaSource {
  let list: readonly LabelledDrama[] | undefined = Array.isArray(dramas) ? (dramas as LabelledDrama[]) : undefined;
  return {
    async *read(onRejected) {
      if (list === undefined) {
        const all: LabelledDrama[] = [];
        for await (const one of dramas) all.push(one);
        list = all;
      }
      const seen = new Set<string>();
      for (const [i, one] of list.entries()) {
        const place = { file: "dramas", line: i + 1 };
        const reason = onRejected && objection(one.drama, seen, config);
        if (reason === undefined) yield { ...one, ...place };
        else onRejected?.({ ...place, reason });
      }
    },
  };
}
