import type { FrameManifest } from "@dramascope/schema";
import { cachedEpisode } from "./cached-episode.ts";
import type { Frame } from "./decode.ts";
import { readFrames } from "./frame-files.ts";
import { orCancelled } from "./or-cancelled.ts";
import type { Clock, DramaPlan } from "./plan.ts";
import { hashSource, manifestOf, overlayOf, prepareDrama, type DramaOptions, type EpisodeFailure, type EpisodeInput, type PreparedDrama } from "./prepare.ts";
import { runEpisodes, type EpisodeWork } from "./run-episodes.ts";

/** Stamped frames of one episode in memory. */
export interface EpisodeFrames {
  /** rgb24, [frameCount, height, width, 3]. */
  frames: Uint8Array;
  frameCount: number;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** Seconds that a pair of frames stands for. */
  secondsPerGrid: number;
  /** Number on each frame. */
  labels: number[];
  /** What was done; `frames[].file` is absent for frames that are on no disk. */
  manifest: FrameManifest;
}

/** One episode of a drama in memory. */
export interface DramaEpisode extends EpisodeFrames {
  /** Position in the drama, from 0. */
  episode: number;
  /** As the caller gave it; of an address only host and path. */
  path: string;
  /** The manifest's, and `CACHE_REPAIRED`. */
  warnings: string[];
}

/** Stamped frames of a drama in memory. */
export interface DramaFrames {
  plan: DramaPlan;
  clock: Clock;
  /** In order, without the ones that failed. */
  episodes: DramaEpisode[];
  /** Empty when `strict`. */
  failures: EpisodeFailure[];
}

/** The frames of an episode in memory, one after the other. */
export function* eachFrame({ frames, width, height, manifest }: Pick<EpisodeFrames, "frames" | "width" | "height" | "manifest">): Generator<Frame> {
  const size = width * height * 3;
  for (const { i, second, label, repeat } of manifest.frames) yield { index: i, second, label, repeat, width, height, data: frames.subarray(i * size, (i + 1) * size) };
}

async function collect(work: EpisodeWork, drama: PreparedDrama, options: DramaOptions): Promise<EpisodeFrames> {
  const { episode } = work;
  const { width, height, frames: planned } = episode.plan;
  const sha256 = await orCancelled(hashSource(episode, options.maxBytes), work.signal);
  const size = width * height * 3;
  let frames = new Uint8Array(planned * size);
  const entries: FrameManifest["frames"] = [];
  const stream = work.decode();
  for await (const { index, second, label, repeat, data } of stream) {
    frames.set(data, index * size);
    entries.push({ i: index, second, label, repeat });
  }
  if (entries.length < planned) frames = frames.slice(0, entries.length * size);
  const manifest = manifestOf(drama, episode, { sha256, overlay: overlayOf(options, episode), frames: entries, report: await stream.report });
  return { frames, frameCount: entries.length, width, height, secondsPerGrid: drama.plan.secondsPerGrid, labels: entries.map(({ label }) => label), manifest };
}

/**
 * Probes, plans, decodes and numbers up to five episodes, and holds their frames in memory: at most 4.7 kB a token of the budget.
 *
 * @throws VideoError naming the episode's file (the first that fails when `strict`), or `PLAN_EPISODES`, `PLAN_BUDGET_TOO_SMALL`.
 */
export async function decodeDrama(episodes: readonly EpisodeInput[], options: DramaOptions = {}): Promise<DramaFrames> {
  const drama = await prepareDrama(episodes, options);
  try {
    const { results, failures } = await runEpisodes(drama, options, async (work): Promise<DramaEpisode> => {
      const { episode, path } = work.episode;
      const cached = options.cache && (await cachedEpisode(options.cache, work, drama, options, "raw"));
      if (!cached) {
        const frames = await collect(work, drama, options);
        return { ...frames, episode, path, warnings: frames.manifest.warnings };
      }
      try {
        return { ...(await readFrames(cached.manifestPath)), manifest: cached.manifest, episode, path, warnings: [...cached.manifest.warnings, ...cached.warnings] };
      } finally {
        await cached.release();
      }
    });
    return { plan: drama.plan, clock: drama.clock, episodes: results, failures };
  } finally {
    await drama.dispose();
  }
}
