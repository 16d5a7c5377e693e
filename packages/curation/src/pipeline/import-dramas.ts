import { writeJsonl, type OnProgress, type RejectedLine, type Split } from "@dramascope/schema";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { CurationConfig } from "../config.ts";
import type { DramaRecord } from "../ledger/drama-types.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { isShown, type LoadPictures } from "./media.ts";
import { splitDramas, type DramaRow, type SplitManifest } from "../split-dramas.ts";
import { mediaRefusal, shownEpisodes, type DramaSource } from "./read-input.ts";
import { hashEpisodes, recordOf, type KnownHash, type Placement } from "./store-drama.ts";

/** What came of reading the dramas. */
export interface ImportReport {
  /** Dramas that were taken. */
  dramas: number;
  /** Of them, by split. In `yield-first` mode what may become SFT counts as SFT until its rounds are over. */
  splits: Record<Split, number>;
  /** Lines that were left out. */
  rejected: number;
  /** File that names each of them with the reason; null when there are none. */
  rejectedFile: string | null;
  /** Dramas of which the chosen form of media shows nothing: the teacher is asked on their transcripts alone. */
  withoutMedia: number;
  /** Dramas that the split could not give: classes short of evaluation dramas, or SFT short of its size. */
  shortfall: SplitManifest["shortfall"];
  /** Dramas that belong to groups of different splits, and are therefore left out. */
  conflicts: SplitManifest["conflicts"];
}

/** Options of {@link importDramas}. */
export interface ImportOptions {
  config: CurationConfig;
  source: DramaSource;
  /** Given when a program makes the pictures: then every drama counts as shown. */
  loadPictures?: LoadPictures;
  /** Places of dramas that the ledger does not know yet. */
  previousSplit?: Pick<SplitManifest, "assignment">;
  /** Secret under which comments are recognised again; without one no hash of a raw comment is kept. */
  commentSalt?: string;
  signal?: AbortSignal;
  onProgress?: OnProgress;
}

/** Dramas of one write. */
const BATCH = 500;

/** Dramas as a first reading leaves them: what a split needs, and what has been hashed. */
interface FirstReading {
  rows: DramaRow[];
  /** Of the episodes of each drama. */
  hashes: Map<string, readonly (string | undefined)[]>;
  rejected: RejectedLine[];
  withoutMedia: number;
}

/** Hashes of a drama's files that have neither their size nor their time changed since they were stored. */
export function storedHashes(ledger: Pick<StepLedger, "drama">, dramaId: string): KnownHash {
  let stored: DramaRecord | undefined;
  return async ({ path, bytes, mtimeMs }) => {
    stored ??= await ledger.drama(dramaId);
    return stored?.drama.episodes.find((one) => one.path === path && one["bytes"] === bytes && one["mtimeMs"] === mtimeMs)?.sha256;
  };
}

/** Places of dramas that a ledger holds. */
export async function storedSplits(ledger: Pick<StepLedger, "dramas">): Promise<Map<string, Split>> {
  const placed = new Map<string, Split>();
  for await (const { dramaId, split } of ledger.dramas()) placed.set(dramaId, split);
  return placed;
}

/**
 * Reads all dramas for what a split needs.
 *
 * @param known The hash of a drama's file where it need not be read for it.
 */
export async function readOnce({ config, source, signal, onProgress, ...pictures }: ImportOptions, known: (dramaId: string) => KnownHash): Promise<FirstReading> {
  const first: FirstReading = { rows: [], hashes: new Map(), rejected: [], withoutMedia: 0 };
  for await (const { drama, quality, file, line } of source.read((rejected) => first.rejected.push(rejected))) {
    signal?.throwIfAborted();
    const { dramaId, title, franchiseId } = drama;
    const reject = (reason: string): void => void first.rejected.push({ file, line, reason });
    const isTextOnly = !isShown(config, shownEpisodes(drama), pictures);
    if (isTextOnly && (typeof drama["transcript"] !== "string" || drama["transcript"].trim() === "")) {
      reject(`MEDIA_MISSING: the drama has neither a transcript nor what teacher.media ${config.teacher.media} shows; give its episodes a path or a url, or the drama a transcript`);
      continue;
    }
    const episodes = await hashEpisodes(drama, config, known(dramaId)).catch((error: unknown) => reject(mediaRefusal(error)));
    if (!episodes) continue;
    first.hashes.set(dramaId, episodes.map(({ sha256 }) => sha256));
    first.rows.push({ dramaId, quality, title, franchiseId, episodeHashes: episodes.flatMap(({ sha256 }) => sha256 ?? []) });
    if (isTextOnly) first.withoutMedia++;
    onProgress?.({ phase: "read", done: first.rows.length });
  }
  return first;
}

/** Where everything goes. What is placed stays there. */
export function placeDramas({ config, previousSplit }: ImportOptions, rows: readonly DramaRow[], placed: ReadonlyMap<string, Split>): { places: Map<string, Placement>; manifest: SplitManifest } {
  const { mode, seed, evalPerClass, sftSize } = config.split;
  const assignment = Object.fromEntries([...Object.entries(previousSplit?.assignment ?? {}), ...placed]);
  const manifest = splitDramas(rows, { seed, evalPerClass, sftSize: mode === "yield-first" ? Infinity : sftSize }, { assignment });
  const splits = new Map(Object.entries(manifest.assignment));
  const groups = new Map(Object.entries(manifest.groups).flatMap(([groupId, members]) => members.map((id) => [id, groupId] as const)));
  const places = rows.flatMap(({ dramaId, quality }): [string, Placement][] => {
    const split = splits.get(dramaId);
    return split === undefined ? [] : [[dramaId, { split, groupId: groups.get(dramaId)!, quality }]];
  });
  return { manifest, places: new Map(places) };
}

/** How many dramas SFT gets is only known at the end. */
const withoutSft = ({ sft: _sft, ...rest }: SplitManifest["shortfall"]): SplitManifest["shortfall"] => rest;

/** Writes down which lines were left out; a list of an earlier run goes. */
async function writeRejected({ workdir }: CurationConfig, rejected: readonly RejectedLine[]): Promise<string | null> {
  const file = join(workdir, "rejected.jsonl");
  if (rejected.length === 0) {
    await rm(file, { force: true });
    return null;
  }
  await writeJsonl(file, rejected);
  return file;
}

/**
 * Reads dramas twice, first for the split, then to store them: memory grows with their number, not with their texts. Nothing that may not be kept is stored.
 *
 * @returns What came of it, and the ids of all dramas that were taken.
 * @throws DataError `FILE_UNREADABLE`, CurationError `LABELS_MIXED`; what the ledger throws.
 */
export async function importDramas(options: ImportOptions, ledger: StepLedger): Promise<{ report: ImportReport; ids: Set<string> }> {
  const { config, source, commentSalt, signal } = options;
  const placed = await storedSplits(ledger);
  const { rows, hashes, rejected, withoutMedia } = await readOnce(options, (dramaId) => storedHashes(ledger, dramaId));
  const { manifest, places } = placeDramas(options, rows, placed);
  const ids = new Set(places.keys());
  const splits: Record<Split, number> = { sft: 0, grpo: 0, eval: 0 };

  let batch: DramaRecord[] = [];
  for await (const one of source.read()) {
    signal?.throwIfAborted();
    const { dramaId } = one.drama;
    const placement = places.get(dramaId);
    // A second one with the same id was rejected.
    if (placement === undefined || !places.delete(dramaId)) continue;
    const episodes = await hashEpisodes(one.drama, config, ({ place: episode }) => hashes.get(dramaId)?.[episode]).catch((error: unknown) => {
      rejected.push({ file: one.file, line: one.line, reason: mediaRefusal(error) });
      ids.delete(dramaId);
    });
    if (!episodes) continue;
    splits[placement.split]++;
    batch.push(recordOf(one, episodes, placement, config, commentSalt));
    if (batch.length < BATCH) continue;
    await ledger.putDramas(batch);
    batch = [];
  }
  await ledger.putDramas(batch);
  const rejectedFile = await writeRejected(config, rejected);
  return { ids, report: { dramas: ids.size, splits, rejected: rejected.length, rejectedFile, withoutMedia, shortfall: config.split.mode === "yield-first" ? withoutSft(manifest.shortfall) : manifest.shortfall, conflicts: manifest.conflicts } };
}
