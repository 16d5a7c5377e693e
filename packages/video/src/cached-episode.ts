import { join } from "node:path";
import type { FrameManifest } from "@dramascope/schema";
import { VideoError } from "./errors.ts";
import { frameCacheKey } from "./cache/frame-cache-key.ts";
import type { CachedFrames, FrameCache } from "./cache/frame-cache.ts";
import { JPEG_QUALITY, writeFrames, type FrameFormat } from "./frame-files.ts";
import { orCancelled } from "./or-cancelled.ts";
import { hashSource, manifestOf, overlayOf, planPart, type DramaOptions, type PreparedDrama } from "./prepare.ts";
import type { EpisodeWork } from "./run-episodes.ts";

/** Decodes one episode, whose file has this hash, into frame files and says what was done. */
export async function storeFrames(folder: string, work: EpisodeWork, drama: PreparedDrama, options: DramaOptions, { format, sha256 }: { format: FrameFormat; sha256: string }): Promise<FrameManifest> {
  const { episode } = work;
  const stream = work.decode();
  const frames = await writeFrames(folder, stream, format);
  return manifestOf(drama, episode, { sha256, overlay: overlayOf(options, episode), frames, report: await stream.report });
}

/** Frames that were kept of a cut or damaged file are no answer where such files are not allowed. */
function assertAllowed({ path, episode }: EpisodeWork["episode"], { warnings, decode }: FrameManifest, { allowTruncated, allowDamaged }: DramaOptions): void {
  const { decoded, expected, errorLines } = (decode ?? {}) as { decoded?: number; expected?: number; errorLines?: number };
  if (warnings.includes("TRUNCATED") && !allowTruncated) throw new VideoError(`${path}: only ${decoded} of ${expected} pictures are there`, { code: "VIDEO_TRUNCATED", path, episode, hint: "Fetch the file again, or allow truncated files." });
  if (warnings.includes("DAMAGED") && !allowDamaged) throw new VideoError(`${path}: decoding met ${errorLines} errors`, { code: "VIDEO_DAMAGED", path, episode, hint: "Fetch the file again, or allow damaged files." });
}

/**
 * An episode's frames from the cache, decoded into it first where they are not there.
 *
 * @returns Frames to be released after use; undefined when the cache cannot be used and may be done without.
 */
export async function cachedEpisode(cache: FrameCache, work: EpisodeWork, drama: PreparedDrama, options: DramaOptions, format: FrameFormat): Promise<CachedFrames | undefined> {
  const { episode } = work;
  try {
    const { frames, width, height } = episode.plan;
    const sha256 = await orCancelled(hashSource(episode, options.maxBytes, cache), work.signal);
    const key = frameCacheKey({ sourceSha256: sha256, filter: episode.filter, frames, width, height, labels: episode.labels, overlay: overlayOf(options, episode), format, quality: format === "jpeg" ? JPEG_QUALITY : null });
    let isDecoded = false as boolean; // set while the cache writes
    const put = cache.put(key, (folder) => {
      isDecoded = true;
      return storeFrames(folder, work, drama, options, { format, sha256 });
    });
    const found = await orCancelled(put, work.signal, (late) => late.release());
    try {
      assertAllowed(episode, found.manifest, options);
    } catch (error) {
      await found.release();
      throw error;
    }
    if (!isDecoded) work.sayCached();
    // The frames are the same whatever plan led to them; the plan is today's.
    return { ...found, manifest: { ...found.manifest, ...planPart(drama, episode) } };
  } catch (error) {
    if (options.cacheOptional && VideoError.isInstance(error) && error.code === "CACHE_IO") return undefined;
    throw error;
  }
}

/** Frame files of an episode in the cache. */
export function filesOf({ folder, manifest }: Pick<CachedFrames, "folder" | "manifest">): string[] {
  return [...new Set(manifest.frames.map(({ file }) => file!))].map((name) => join(folder, name));
}
