import { availableParallelism } from "node:os";
import { createRequire } from "node:module";
import { sha256File, type FrameManifest, type OnProgress } from "@dramascope/schema";
import { decodeEpisode } from "./decode.ts";
import { dotSize, drawNumber, type Overlay } from "./draw-number.ts";
import { findFfmpeg } from "./find-ffmpeg.ts";
import { labelsOf, planDrama, type Clock, type DramaPlan, type PlanOptions } from "./plan.ts";
import { probeEpisode, type Probe } from "./probe.ts";

/** An episode's file. */
export interface EpisodeInput {
  path: string;
}

/** Options of {@link decodeDrama}. */
export interface DramaOptions {
  plan?: PlanOptions;
  /** Numbers run on over the episodes, or start again in each. Default `continuous`. */
  clock?: Clock;
  overlay?: Overlay;
  /** ffmpeg processes at once. Default the number of cores. */
  processes?: number;
  ffmpegPath?: string;
  /** Default false. */
  allowTruncated?: boolean;
  /** Default false. */
  allowDamaged?: boolean;
  signal?: AbortSignal;
  onProgress?: OnProgress;
}

/** Stamped frames of one episode. */
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
  /** What was done; `frames[].file` is absent until the frames are written. */
  manifest: FrameManifest;
}

/** Stamped frames of a drama. */
export interface DramaFrames {
  plan: DramaPlan;
  clock: Clock;
  episodes: EpisodeFrames[];
}

/** Runs work on all items, so many at once; results in the order of the items. The first failure stops the rest. */
async function inParallel<T, R>(items: readonly T[], limit: number, work: (item: T, index: number, signal: AbortSignal) => Promise<R>, outer?: AbortSignal): Promise<R[]> {
  const stop = new AbortController();
  const signal = outer ? AbortSignal.any([outer, stop.signal]) : stop.signal;
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index]!, index, signal);
    }
  };
  const workers = Array.from({ length: Math.min(limit, items.length) }, () => worker());
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort();
    await Promise.allSettled(workers);
    throw error;
  }
  return results;
}

function manifestOf(input: { sha256: string; probe: Probe; plan: DramaPlan; index: number; clock: Clock; filter: string; overlay: Overlay; labels: number[]; report: { decoded: number; expected: number; errorLines: number; warnings: string[] }; ffmpeg: string }): FrameManifest {
  const { probe, plan, index, clock, labels, overlay } = input;
  const episode = plan.episodes[index]!;
  const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
  return {
    schema: 1,
    kind: "dramascope.frames",
    source: { sha256: input.sha256, bytes: probe.bytes, container: probe.container, codec: probe.codec, display: [probe.displayWidth, probe.displayHeight], rotation: probe.rotation, fileStart: probe.fileStart, end: probe.end },
    plan: {
      strideSeconds: plan.strideSeconds, frames: episode.frames, sampled: episode.sampled, width: episode.width, height: episode.height, pairTokens: plan.pairTokens, tokens: episode.tokens,
      clock, clockOffset: clock === "continuous" ? episode.clockOffset : 0,
    },
    sampleFps: 1 / plan.strideSeconds,
    secondPerGrid: plan.secondsPerGrid,
    filter: input.filter,
    overlay: { enabled: overlay.enabled ?? true, position: overlay.position ?? "bottom_right", colour: [...(overlay.colour ?? [255, 0, 0])], outline: overlay.outline ?? false, dot: overlay.dot ?? dotSize(episode.width, episode.height, labels.at(-1)!) },
    frames: labels.map((label, i) => ({ i, second: Math.min(i, episode.sampled - 1) * plan.strideSeconds, label, repeat: i >= episode.sampled })),
    decode: { decoded: input.report.decoded, expected: input.report.expected, errorLines: input.report.errorLines },
    warnings: input.report.warnings,
    tool: { ffmpeg: input.ffmpeg, video: version },
  };
}

/**
 * Probes, plans, decodes and numbers up to five episodes.
 *
 * @throws VideoError naming the episode's file, or `PLAN_BUDGET_TOO_SMALL`.
 */
export async function decodeDrama(episodes: readonly EpisodeInput[], options: DramaOptions = {}): Promise<DramaFrames> {
  const { clock = "continuous", overlay = {}, processes = availableParallelism(), signal } = options;
  const ffmpeg = await findFfmpeg({ ffmpegPath: options.ffmpegPath });
  const probes = await Promise.all(episodes.map(({ path }) => probeEpisode(path)));
  const plan = planDrama(probes, options.plan);
  const total = plan.episodes.reduce((sum, episode) => sum + episode.sampled, 0);
  const done = new Array<number>(episodes.length).fill(0);
  const report = (index: number, frames: number): void => {
    done[index] = frames;
    options.onProgress?.({ phase: "frames", done: done.reduce((a, b) => a + b, 0), total });
  };
  const decoded = await inParallel(
    episodes,
    processes,
    async ({ path }, index, inner): Promise<EpisodeFrames> => {
      const episode = plan.episodes[index]!;
      const { frames, filter, report: outcome } = await decodeEpisode(path, episode, {
        ffmpegPath: ffmpeg.path,
        strideSeconds: plan.strideSeconds,
        allowTruncated: options.allowTruncated ?? false,
        allowDamaged: options.allowDamaged ?? false,
        signal: inner,
        onFrame: (count) => report(index, count),
      });
      const labels = labelsOf(plan, index, clock);
      const size = episode.width * episode.height * 3;
      labels.forEach((label, i) => drawNumber(frames.subarray(i * size, (i + 1) * size), episode.width, episode.height, label, overlay));
      const manifest = manifestOf({ sha256: await sha256File(path), probe: probes[index]!, plan, index, clock, filter, overlay, labels, report: outcome, ffmpeg: ffmpeg.version });
      return { frames, frameCount: episode.frames, width: episode.width, height: episode.height, secondsPerGrid: plan.secondsPerGrid, labels, manifest };
    },
    signal,
  );
  return { plan, clock, episodes: decoded };
}
