import { constants } from "node:fs";
import { copyFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { canonicalJson, writeFileAtomically, writeFolderAtomically, type FrameManifest } from "@dramascope/schema";
import { cachedEpisode, filesOf, storeFrames } from "./cached-episode.ts";
import type { FrameFormat } from "./frame-files.ts";
import { assertReplaceable, removeEarlierFrames } from "./frame-folder.ts";
import { orCancelled } from "./or-cancelled.ts";
import type { Clock, DramaPlan } from "./plan.ts";
import { hashSource, prepareDrama, type DramaOptions, type EpisodeFailure, type EpisodeInput } from "./prepare.ts";
import { runEpisodes } from "./run-episodes.ts";

/** Options of {@link extractFrames}. */
export interface ExtractOptions extends DramaOptions {
  /** Folder that gets one folder an episode: `1`, `2`, … */
  out: string;
  /** `jpeg` is quality 90 without chroma subsampling, `png` lossless, `raw` rgb24 in one file. Default `jpeg`. */
  format?: FrameFormat | undefined;
}

/** One episode's frames on disk. */
export interface ExtractedEpisode {
  /** Position in the drama, from 0. */
  episode: number;
  /** As the caller gave it. */
  path: string;
  manifestPath: string;
  manifest: FrameManifest;
  /** The manifest's, and `CACHE_REPAIRED`. */
  warnings: string[];
}

/** A drama's frames on disk. */
export interface ExtractedFrames {
  plan: DramaPlan;
  clock: Clock;
  /** In order, without the ones that failed. */
  episodes: ExtractedEpisode[];
  /** Empty when `strict`. */
  failures: EpisodeFailure[];
}

/**
 * From episode files to numbered frames and a manifest on disk, one folder an episode: the one call for applications. Frames stream
 * through; memory does not grow with an episode's length. A folder is whole or absent, and replaces frames of an earlier run, nothing else.
 *
 * @throws VideoError naming the episode's file (the first that fails when `strict`); `FRAMES_FOLDER`, `OUTPUT_UNWRITABLE`, `PLAN_EPISODES`,
 *         `PLAN_BUDGET_TOO_SMALL`, `VIDEO_OPTIONS_INVALID`.
 */
export async function extractFrames(episodes: readonly EpisodeInput[], options: ExtractOptions): Promise<ExtractedFrames> {
  const { out, format = "jpeg" } = options;
  for (const index of episodes.keys()) await assertReplaceable(resolve(out, String(index + 1)));
  const drama = await prepareDrama(episodes, options);
  try {
    const { results, failures } = await runEpisodes(drama, options, async (work): Promise<ExtractedEpisode> => {
      const { episode, path } = work.episode;
      const target = resolve(out, String(episode + 1));
      const manifestPath = join(target, "manifest.json");
      const cached = options.cache && (await cachedEpisode(options.cache, work, drama, options, format));
      try {
        await assertReplaceable(target);
        const manifest = await writeFolderAtomically(target, async (folder) => {
          if (cached) for (const file of filesOf(cached)) await copyFile(file, join(folder, basename(file)), constants.COPYFILE_FICLONE);
          const written = cached?.manifest ?? (await storeFrames(folder, work, drama, options, { format, sha256: await orCancelled(hashSource(work.episode, options.maxBytes), work.signal) }));
          await writeFileAtomically(join(folder, "manifest.json"), `${canonicalJson(written)}\n`);
          return written;
        });
        return { episode, path, manifestPath, manifest, warnings: [...manifest.warnings, ...(cached?.warnings ?? [])] };
      } finally {
        await cached?.release();
      }
    });
    await removeEarlierFrames(out, results.map(({ episode }) => String(episode + 1)));
    return { plan: drama.plan, clock: drama.clock, episodes: results, failures };
  } finally {
    await drama.dispose();
  }
}
