import type { ChatContent } from "@dramascope/chat-client";
import { DramascopeError, sha256 } from "@dramascope/schema";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";
import { folderName } from "../export/folder-name.ts";
import type { DramaRecord, StoredDrama } from "../ledger/drama-types.ts";
import type { StepLedger } from "../ledger/step-ledger.ts";
import { mediaPath } from "./media-path.ts";

/** Parts of a message that show an episode, 1-based; none where there is nothing to show. */
export type EpisodeMedia = (episode: number) => Promise<ChatContent[]>;

/** JPEGs of an episode's frames, 1-based, in order; called again for every request, so whoever makes them keeps them. */
export type LoadPictures = (drama: StoredDrama, episode: number) => Promise<Uint8Array[]>;

/** The provider's id of an episode's file, 1-based, uploaded or renewed where needed. It is never part of a step's key. */
export type LoadFileId = (drama: StoredDrama, episode: number) => Promise<string>;

/** How a run gets what a teacher sees. */
export interface MediaOptions {
  /** Default frames from the episodes' files, kept in the work folder; an episode without a file has none. */
  loadPictures?: LoadPictures;
  /** Needed for `teacher.media: file_id`. */
  loadFileId?: LoadFileId;
  signal?: AbortSignal;
}

/** Folder of a drama's frames in the work folder; names are hashes where an id is not plain. */
function dramaFramesFolder({ workdir }: Pick<CurationConfig, "workdir">, dramaId: string): string {
  return join(workdir, "frames", folderName(dramaId));
}

/** Removes a drama from a ledger with all its steps, and its frames from the work folder. Number of deleted steps. */
export async function deleteDrama(ledger: StepLedger, dramaId: string, options: Pick<CurationConfig, "workdir">): Promise<number> {
  const deleted = await ledger.deleteDrama(dramaId);
  await rm(dramaFramesFolder(options, dramaId), { recursive: true, force: true });
  return deleted;
}

/** Folder of a drama's frames under the settings' plan: `1/manifest.json` and so on. Other plans and other contents have other folders. */
function framesFolder(config: CurationConfig, { dramaId, drama }: Pick<DramaRecord, "dramaId" | "drama">): string {
  const content = JSON.stringify([Object.entries(config.frames).sort(), drama.episodes.map(({ sha256: hash }) => hash ?? null)]);
  return join(dramaFramesFolder(config, dramaId), sha256(content).slice(0, 16));
}

/** Manifest of an episode's frames, 1-based, where a run keeps them; undefined for an episode without a file. */
export function frameManifestPath(config: CurationConfig, record: Pick<DramaRecord, "dramaId" | "drama">, episode: number): string | undefined {
  const paths = record.drama.episodes.map(({ path }) => path);
  if (paths[episode - 1] === undefined) return undefined;
  return join(framesFolder(config, record), String(paths.slice(0, episode).filter((path) => path !== undefined).length), "manifest.json");
}

/** Frames of episodes as JPEGs: extracted once by `@dramascope/video`, then read from the work folder. */
function picturesFromFiles(config: CurationConfig, signal: AbortSignal | undefined): LoadPictures {
  const running = new Map<string, Promise<unknown>>();
  return async (drama, episode) => {
    const record = { dramaId: drama.dramaId, drama };
    const manifest = frameManifestPath(config, record, episode);
    if (manifest === undefined) return [];
    const { extractFrames, readJpegs } = await import("@dramascope/video");
    const folder = framesFolder(config, record);
    const ready = await readJpegs(manifest).catch(() => undefined);
    if (ready) return ready;
    let work = running.get(folder);
    if (!work) {
      const plan = Object.fromEntries(Object.entries(config.frames).filter(([, value]) => value !== undefined));
      const episodes = drama.episodes.flatMap(({ path }) => (path === undefined ? [] : [{ path: mediaPath(config, path) }]));
      work = extractFrames(episodes, { plan, out: folder, strict: true, ...(signal ? { signal } : {}) }).finally(() => running.delete(folder));
      running.set(folder, work);
    }
    await work;
    return readJpegs(manifest);
  };
}

/** Whether the chosen form shows anything of a drama: files or addresses. What a program shows is not known before it is asked. */
export function isShown({ teacher: { media } }: CurationConfig, episodes: readonly { path?: string | undefined; url?: string | undefined }[], { loadPictures }: Pick<MediaOptions, "loadPictures">): boolean {
  if (media === "file_id" || (media === "frames" && loadPictures)) return true;
  return episodes.some(({ path, url }) => (media === "frames" ? path : url) !== undefined);
}

/**
 * How the teacher is shown a drama's episodes; a drama that the chosen form shows nothing of is judged by its transcript.
 *
 * @throws CurationError `CONFIG_INVALID` for `file_id` without a hook; what is returned throws `MEDIA_MISSING` for an episode without an address, and for a drama with neither media nor transcript.
 */
export function teacherMedia(config: CurationConfig, options: MediaOptions): (record: DramaRecord) => EpisodeMedia {
  const { media, fps } = config.teacher;
  const { loadFileId, loadPictures = picturesFromFiles(config, options.signal) } = options;
  if (media === "file_id" && !loadFileId) throw new CurationError("teacher.media is file_id, but nothing says the ids of files", { code: "CONFIG_INVALID", hint: "Give loadFileId, which a program has to do, or choose frames or video_url." });
  return ({ dramaId, drama }) =>
    async (episode) => {
      if (!isShown(config, drama.episodes, options)) {
        if (drama.transcript !== undefined) return [];
        throw new CurationError(`drama ${dramaId} has neither a transcript nor what teacher.media ${media} shows`, { code: "MEDIA_MISSING", hint: "Give its episodes a path or a url, or the drama a transcript." });
      }
      if (media === "frames") return (await loadPictures(drama, episode)).map((data) => ({ type: "jpeg", data }));
      if (media === "file_id") return [{ type: "fileId", id: await loadFileId!(drama, episode) }];
      const url = drama.episodes[episode - 1]?.url;
      if (url === undefined) throw new CurationError(`episode ${episode} of drama ${dramaId} has no url`, { code: "MEDIA_MISSING", hint: "Give every episode a url, or set teacher.media to frames." });
      return [{ type: "videoUrl", url, ...(fps === undefined ? {} : { fps }) }];
    };
}

/** Faults of the settings, and ends that were wished for. What a machine could not decode or hold ends one step, which `retry` frees, and not all runs. */
const NO_MEDIA_FAULT: ReadonlySet<string> = new Set(["VIDEO_CANCELLED", "VIDEO_OPTIONS_INVALID"]);

/** Code of an error that says that one drama's media are of no use; undefined for any other error. */
export function mediaFaultOf(error: unknown): string | undefined {
  if (!DramascopeError.isInstance(error)) return undefined;
  return error.code === "MEDIA_MISSING" || (error.code.startsWith("VIDEO_") && !NO_MEDIA_FAULT.has(error.code)) ? error.code : undefined;
}
