import { createRequire } from "node:module";
import { DramascopeError, sha256File, type FrameManifest, type OnProgress, type Progress } from "@dramascope/schema";
import { filterOf, type DecodeLimits, type DecodeReport } from "./decode.ts";
import { dotSize, type Overlay } from "./draw-number.ts";
import { VideoError } from "./errors.ts";
import { describeUrl } from "./fetch/checked-url.ts";
import { fetchEpisode, type FetchOptions } from "./fetch/fetch-episode.ts";
import { findFfmpeg, type Ffmpeg } from "./find-ffmpeg.ts";
import type { FrameCache } from "./cache/frame-cache.ts";
import { labelsOf, maxSecondsOf, planDrama, type Clock, type DramaPlan, type EpisodePlan, type PlanOptions } from "./plan.ts";
import { probeEpisode, type Probe } from "./probe.ts";
import { assertUnchanged, openSource } from "./source-file.ts";

/** An episode's file. */
export interface EpisodeInput {
  /** A local file; with the option `fetch` also an https address. */
  path: string;
}

/** One step of the work on a drama. */
export interface FrameProgress extends Progress {
  type: "probe" | "plan" | "frame" | "cached" | "done" | "error";
  /** Name of the drama, as given. */
  drama?: string;
  /** Position in the drama, from 0. */
  episode?: number;
  /** Frames of the episode so far. */
  frame?: number;
  /** Frames that the episode will have. */
  frames?: number;
  /** Processor milliseconds of the episode's ffmpeg, where the system tells. */
  cpuMs?: number;
}

/** Options of everything that takes a whole drama. */
export interface DramaOptions extends DecodeLimits {
  /** Budget and sizes. */
  plan?: PlanOptions | undefined;
  /** Numbers run on over the episodes, or start again in each. Default `continuous`. */
  clock?: Clock | undefined;
  overlay?: Overlay | undefined;
  /** `cap` looks at the first `maxSecondsPerEpisode` with the warning `DURATION_CAPPED`; `error` refuses with `VIDEO_TOO_LONG`. Default `cap`. */
  maxDurationPolicy?: "cap" | "error" | undefined;
  /** The first episode that fails ends the whole work. Otherwise the others go on and it is listed in `failures`. Default true. */
  strict?: boolean | undefined;
  /** Frames that are there already are not decoded again. Default none. */
  cache?: FrameCache | undefined;
  /** A cache that cannot be used (disk full) is done without. Default false. */
  cacheOptional?: boolean | undefined;
  /** Allows https addresses as episodes. Default undefined: local files only. */
  fetch?: FetchOptions | undefined;
  /** Name of the drama in progress reports. */
  drama?: string | undefined;
  /** At most ten frame reports a second and episode; {@link FrameProgress}. */
  onProgress?: OnProgress | ((progress: FrameProgress) => void) | undefined;
}

/** An episode that could not be used. */
export interface EpisodeFailure {
  /** Position in the drama, from 0. */
  episode: number;
  /** As the caller gave it; of an address only host and path. */
  path: string;
  error: VideoError;
}

/** An episode that is ready to be decoded. */
export interface PreparedEpisode {
  /** Position in the drama, from 0. */
  episode: number;
  /** As the caller gave it; of an address only host and path. */
  path: string;
  /** The local file. */
  file: string;
  /** Folders that the file may lie in. */
  roots: readonly string[] | undefined;
  probe: Probe;
  plan: EpisodePlan;
  /** Number on each planned frame. */
  labels: number[];
  /** ffmpeg's filter graph. */
  filter: string;
  /** Known before decoding. */
  warnings: string[];
}

/** A drama whose usable episodes are planned. */
export interface PreparedDrama {
  plan: DramaPlan;
  clock: Clock;
  ffmpeg: Ffmpeg;
  episodes: PreparedEpisode[];
  failures: EpisodeFailure[];
  /** Removes what was fetched. */
  dispose: () => Promise<void>;
}

const NO_PLAN: DramaPlan = { strideSeconds: 1, pairTokens: 0, totalTokens: 0, secondsPerGrid: 2, episodes: [] };

/** A failure that neither the episode nor the system explains: an error of a caller's function, or ours. It is thrown as it is. */
export function isBug(error: unknown): boolean {
  return !DramascopeError.isInstance(error) && (error as NodeJS.ErrnoException).syscall === undefined;
}

/** The error with the episode's place and the path as the caller knows it, which is not the file where that was fetched. */
export function inEpisode(error: unknown, { episode, path, file = path }: Pick<PreparedEpisode, "episode" | "path"> & { file?: string }): VideoError {
  if (!VideoError.isInstance(error)) return new VideoError(`${path}: its frames cannot be written (${(error as Error).message})`, { code: "OUTPUT_UNWRITABLE", path, episode, cause: error, hint: "Look at the free space and your rights in the output folder." });
  const { message, code, hint, detail, cause } = error;
  const shown = (text: string): string => (file === path ? text : text.replaceAll(file, () => path));
  return new VideoError(shown(message), { code, hint, path, episode, ...(detail === undefined ? {} : { detail: shown(detail) }), ...(file === path ? { cause } : {}) });
}

type LookedAt = Pick<PreparedEpisode, "episode" | "path" | "file" | "roots" | "probe" | "warnings">;

const isUrl = (path: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//iu.test(path);

/**
 * Fetches what is to be fetched, probes every episode and plans the usable ones together.
 *
 * @throws VideoError of the first bad episode when `strict`; `PLAN_EPISODES`, `PLAN_BUDGET_TOO_SMALL`.
 */
export async function prepareDrama(inputs: readonly EpisodeInput[], options: DramaOptions): Promise<PreparedDrama> {
  const { clock = "continuous", maxDurationPolicy = "cap", strict = true, signal } = options;
  if (inputs.length < 1 || inputs.length > 5) throw new VideoError(`${inputs.length} episodes were given`, { code: "PLAN_EPISODES", hint: "Give one to five episodes." });
  const ffmpeg = await findFfmpeg({ ffmpegPath: options.ffmpegPath });
  const disposals: (() => Promise<void>)[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.allSettled(disposals.map((remove) => remove()));
  };
  const localFile = async (path: string): Promise<Pick<LookedAt, "file" | "roots">> => {
    if (!isUrl(path)) return { file: path, roots: options.roots };
    if (!options.fetch) throw new VideoError(`${describeUrl(path)}: addresses are not opened`, { code: "VIDEO_PATH_REFUSED", hint: "Download the file, or allow addresses with the option fetch." });
    const fetched = await fetchEpisode(path, { ...(options.maxBytes === undefined ? {} : { maxBytes: options.maxBytes }), ...options.fetch }, signal ?? undefined);
    disposals.push(fetched.remove);
    return { file: fetched.path, roots: undefined };
  };
  const maxSeconds = maxSecondsOf(options.plan);
  const named = options.drama === undefined ? {} : { drama: options.drama };
  const failures: EpisodeFailure[] = [];
  const look = async ({ path: given }: EpisodeInput, episode: number): Promise<LookedAt | undefined> => {
    const path = isUrl(given) ? describeUrl(given) : given;
    let file = given;
    try {
      const local = await localFile(given);
      const { roots } = local;
      file = local.file;
      const probe = await probeEpisode(file, { ffmpegPath: ffmpeg.path, maxBytes: options.maxBytes, roots, signal });
      const isLong = probe.end > maxSeconds;
      if (isLong && maxDurationPolicy === "error") throw new VideoError(`${path}: it lasts ${Math.round(probe.end)} s, more than ${maxSeconds} s`, { code: "VIDEO_TOO_LONG", hint: "Give single episodes, or let the rest be left out." });
      options.onProgress?.({ type: "probe", phase: "frames", done: 0, episode, ...named } satisfies FrameProgress);
      return { episode, path, file, roots, probe, warnings: [...probe.warnings, ...(isLong ? ["DURATION_CAPPED"] : [])] };
    } catch (error) {
      if (isBug(error)) throw error;
      const known = inEpisode(error, { episode, path, file });
      if (strict || known.code === "VIDEO_CANCELLED") throw known;
      failures.push({ episode, path, error: known });
      return undefined;
    }
  };
  try {
    const looked = await Promise.allSettled(inputs.map(look));
    const failed = looked.find((one) => one.status === "rejected");
    if (failed) throw failed.reason;
    const usable = looked.flatMap((one) => (one.status === "fulfilled" && one.value ? [one.value] : []));
    const plan = usable.length === 0 ? NO_PLAN : planDrama(usable.map(({ probe }) => probe), options.plan);
    options.onProgress?.({ type: "plan", phase: "frames", done: 0, total: plan.episodes.reduce((sum, { frames }) => sum + frames, 0), ...named } satisfies FrameProgress);
    const episodes = usable.map((one, i): PreparedEpisode => {
      const { filter, warnings } = filterOf(one.probe, plan.episodes[i]!, plan.strideSeconds, ffmpeg.canToneMap);
      return { ...one, plan: plan.episodes[i]!, labels: labelsOf(plan, i, clock), filter, warnings: [...one.warnings, ...warnings] };
    });
    return { plan, clock, ffmpeg, episodes, failures, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** A drama as it would be decoded. */
export interface PlannedDrama {
  plan: DramaPlan;
  /** The usable episodes in order. */
  episodes: Pick<PreparedEpisode, "episode" | "path" | "probe" | "plan" | "labels" | "warnings">[];
  /** Empty when `strict`. */
  failures: EpisodeFailure[];
}

/**
 * Plans a drama and decodes nothing.
 *
 * @throws VideoError of the first bad episode when `strict`; `PLAN_EPISODES`, `PLAN_BUDGET_TOO_SMALL`.
 */
export async function planEpisodes(inputs: readonly EpisodeInput[], options: DramaOptions = {}): Promise<PlannedDrama> {
  const { plan, episodes, failures, dispose } = await prepareDrama(inputs, options);
  await dispose();
  return { plan, failures, episodes: episodes.map(({ episode, path, probe, plan: planned, labels, warnings }) => ({ episode, path, probe, plan: planned, labels, warnings })) };
}

/** SHA-256 of an episode's file as it was probed; a cache remembers it. */
export async function hashSource({ file, path, roots, probe }: PreparedEpisode, maxBytes: number | undefined, cache?: FrameCache): Promise<string> {
  const { realPath } = await openSource(file, { roots, maxBytes });
  const sha256 = cache ? await cache.sourceSha256(realPath) : await sha256File(realPath);
  await assertUnchanged({ path, realPath, fileId: probe.fileId });
  return sha256;
}

/** How numbers are drawn, every default filled in. */
export function overlayOf({ overlay = {} }: Pick<DramaOptions, "overlay">, { plan, labels }: PreparedEpisode): FrameManifest["overlay"] {
  const { enabled = true, position = "bottom_right", colour = [255, 0, 0], outline = false, dot = dotSize(plan.width, plan.height, labels.at(-1)!) } = overlay;
  return { enabled, position, colour: [...colour], outline, dot };
}

/** The manifest's part on the plan. */
export function planPart({ plan, clock }: PreparedDrama, { plan: { frames, sampled, width, height, tokens, clockOffset } }: PreparedEpisode): Pick<FrameManifest, "plan"> {
  return { plan: { strideSeconds: plan.strideSeconds, frames, sampled, width, height, pairTokens: plan.pairTokens, tokens, clock, clockOffset: clock === "continuous" ? clockOffset : 0 } };
}

/** What was done to one episode, without paths and dates: equal input gives equal bytes. */
export function manifestOf(drama: PreparedDrama, episode: PreparedEpisode, details: { sha256: string; overlay: FrameManifest["overlay"]; frames: FrameManifest["frames"]; report: DecodeReport }): FrameManifest {
  const { strideSeconds, secondsPerGrid } = drama.plan;
  const { probe } = episode;
  const { decoded, expected, errorLines } = details.report;
  const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
  return {
    schema: 1,
    kind: "dramascope.frames",
    source: { sha256: details.sha256, bytes: probe.bytes, container: probe.container, codec: probe.codec, display: [probe.displayWidth, probe.displayHeight], rotation: probe.rotation, fileStart: probe.fileStart, end: probe.end },
    ...planPart(drama, episode),
    sampleFps: 1 / strideSeconds,
    secondPerGrid: secondsPerGrid,
    filter: episode.filter,
    overlay: details.overlay,
    frames: details.frames,
    decode: { decoded, expected, errorLines },
    warnings: [...new Set([...episode.warnings, ...details.report.warnings])],
    tool: { ffmpeg: drama.ffmpeg.version, video: version },
  };
}
