import { decodeEpisode, type FrameStream } from "./decode.ts";
import { assertCount } from "./options.ts";
import { inEpisode, isBug, type DramaOptions, type EpisodeFailure, type FrameProgress, type PreparedDrama, type PreparedEpisode } from "./prepare.ts";

/** What the work on one episode gets. */
export interface EpisodeWork {
  episode: PreparedEpisode;
  /** Starts the decode, with progress. */
  decode: () => FrameStream;
  /** Says that the frames were there already. */
  sayCached: () => void;
  signal: AbortSignal;
}

const FRAME_REPORT_MS = 100;

/** Reports the frames of all episodes of a drama together. */
class DramaReporter {
  readonly #options: DramaOptions;
  readonly #total: number;
  readonly #frames = new Map<number, number>();
  readonly #saidAt = new Map<number, number>();

  constructor({ episodes }: PreparedDrama, options: DramaOptions) {
    this.#options = options;
    this.#total = episodes.reduce((sum, { plan }) => sum + plan.frames, 0);
  }

  say(type: FrameProgress["type"], { episode, plan }: PreparedEpisode, frame: number, cpuMs?: () => number | undefined): void {
    const { onProgress, drama } = this.#options;
    if (!onProgress) return;
    this.#frames.set(episode, frame);
    const now = performance.now();
    if (type === "frame" && now - (this.#saidAt.get(episode) ?? -Infinity) < FRAME_REPORT_MS) return;
    this.#saidAt.set(episode, now);
    const done = [...this.#frames.values()].reduce((sum, count) => sum + count, 0);
    const cpu = cpuMs?.();
    const progress: FrameProgress = { type, phase: "frames", done, total: this.#total, episode, frame, frames: plan.frames, ...(drama === undefined ? {} : { drama }), ...(cpu === undefined ? {} : { cpuMs: cpu }) };
    onProgress(progress);
  }
}

/**
 * Does the same work on all prepared episodes; ffmpeg processes take turns by themselves. Results and failures are in the order of the
 * episodes. When `strict`, the first failure stops the rest and is thrown once they have stopped.
 */
export async function runEpisodes<T>(drama: PreparedDrama, options: DramaOptions, work: (one: EpisodeWork) => Promise<T>): Promise<{ results: T[]; failures: EpisodeFailure[] }> {
  const { strict = true } = options;
  if (options.processes !== undefined) assertCount("processes", options.processes);
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const reporter = new DramaReporter(drama, options);
  let first: { error: unknown } | undefined;
  const failures = [...drama.failures];
  const one = async (episode: PreparedEpisode): Promise<T[]> => {
    const decode = (): FrameStream =>
      decodeEpisode(episode.file, episode.plan, {
        ...options,
        ffmpegPath: drama.ffmpeg.path,
        roots: episode.roots,
        probe: episode.probe,
        strideSeconds: drama.plan.strideSeconds,
        firstLabel: drama.clock === "continuous" ? episode.plan.clockOffset : 0,
        signal,
        onFrame: (frame, cpuMs) => reporter.say("frame", episode, frame, cpuMs),
      });
    try {
      const result = await work({ episode, decode, sayCached: () => reporter.say("cached", episode, episode.plan.frames), signal });
      reporter.say("done", episode, episode.plan.frames);
      return [result];
    } catch (error) {
      const known = isBug(error) ? undefined : inEpisode(error, episode);
      if (known && !strict && !options.signal?.aborted) {
        failures.push({ episode: episode.episode, path: episode.path, error: known });
        reporter.say("error", episode, 0);
      } else {
        first ??= { error: known ?? error };
        stop.abort();
      }
      return [];
    }
  };
  const results = (await Promise.all(drama.episodes.map(one))).flat();
  if (first) throw first.error;
  failures.sort((a, b) => a.episode - b.episode);
  return { results, failures };
}
