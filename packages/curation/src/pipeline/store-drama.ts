import { hashJson, sha256, sha256File, type Quality } from "@dramascope/schema";
import { stat } from "node:fs/promises";
import { chooseComments } from "../choose-comments.ts";
import { commentHash } from "../comment-hash.ts";
import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";
import type { DramaRecord, StoredDrama } from "../ledger/drama-types.ts";
import { prepareComment } from "../prepare-comment.ts";
import { redact } from "../redact.ts";
import { mediaPath } from "./media-path.ts";
import { shownEpisodes, type LabelledDrama } from "./read-input.ts";

type StoredEpisode = StoredDrama["episodes"][number];

/** Longest genre that is kept. */
const MAX_GENRE = 64;

/** A file as it was found. */
interface FoundFile {
  /** Place among the episodes that are looked at, from 0. */
  place: number;
  path: string;
  bytes: number;
  mtimeMs: number;
}

/** Looks a file's hash up; undefined where it is not known. */
export type KnownHash = (file: FoundFile) => Promise<string | null | undefined> | string | null | undefined;

/** A file can go, or its disk, between two looks at it. */
const readable = <T>(reading: Promise<T>): Promise<T> =>
  reading.catch((error: unknown) => {
    throw new CurationError(`a file cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown"})`, { code: "MEDIA_MISSING", cause: error, hint: "Check the files and run again." });
  });

/**
 * Episodes with the hashes of their contents.
 *
 * @param known The hash of a file where it need not be read for it; null leaves it without one.
 * @throws CurationError `MEDIA_MISSING` for a file that cannot be read.
 */
export async function hashEpisodes(one: LabelledDrama["drama"], config: CurationConfig, known: KnownHash): Promise<StoredEpisode[]> {
  const episodes: StoredEpisode[] = [];
  for (const [place, { index, path, url, durationSeconds, sha256: given }] of shownEpisodes(one).entries()) {
    const base = { index, ...(path === undefined ? {} : { path }), ...(url === undefined ? {} : { url }), ...(durationSeconds === undefined ? {} : { durationSeconds }) };
    if (given !== undefined || path === undefined) {
      episodes.push({ ...base, ...(given === undefined ? {} : { sha256: given }) });
      continue;
    }
    const file = mediaPath(config, path);
    const { size: bytes, mtimeMs } = await readable(stat(file));
    const found = await known({ place, path, bytes, mtimeMs });
    const hash = found === undefined ? await readable(sha256File(file)) : found;
    episodes.push({ ...base, bytes, mtimeMs, ...(hash === null ? {} : { sha256: hash }) });
  }
  return episodes;
}

/** Comments that are looked at, redacted; texts that redaction makes equal or empty stand once or not at all. */
function storedComments({ comments = [] }: LabelledDrama["drama"], max: number, salt: string | undefined): StoredDrama["comments"] {
  const seen = new Set<string>();
  return chooseComments(comments, max).flatMap(({ text, likes, episode }) => {
    const clean = prepareComment(text).text;
    if (clean === "" || seen.has(clean)) return [];
    seen.add(clean);
    return [{ text: clean, likes, ...(episode === undefined ? {} : { episode }), ...(salt === undefined ? {} : { hash: commentHash(salt, text) }) }];
  });
}

/** Where a drama was put. */
export interface Placement {
  split: DramaRecord["split"];
  groupId: string;
  quality: Quality;
}

/**
 * A drama as the ledger keeps it: no title, no user ids, no other episodes than those shown, comments, transcript and genre redacted. What is not kept cannot leak.
 *
 * @param salt Secret under which comments are recognised again; without one they have no hash.
 */
export function recordOf({ drama, classCalibration }: LabelledDrama, episodes: readonly StoredEpisode[], { split, groupId, quality }: Placement, config: CurationConfig, salt?: string): DramaRecord {
  const { dramaId } = drama;
  const transcript = typeof drama["transcript"] === "string" ? redact(drama["transcript"]).trim() : "";
  const genre = redact(drama.genre ?? "").trim().slice(0, MAX_GENRE).toWellFormed();
  const stored: StoredDrama = {
    dramaId,
    ...(genre === "" ? {} : { genre }),
    episodes,
    comments: storedComments(drama, config.comments.max, salt),
    ...(transcript === "" ? {} : { transcript }),
    ...(classCalibration === undefined ? {} : { classCalibration }),
  };
  const contentHash = hashJson({ quality, episodes: episodes.map(({ sha256: hash }) => hash ?? null), comments: stored.comments.map(({ text }) => text), transcript });
  return { dramaId, order: sha256(`${split}-${dramaId}`), contentHash, quality, split, groupId, drama: stored };
}
