import { availableParallelism } from "node:os";
import { failureOf } from "./decode-failure.ts";
import { drawNumber, type Overlay } from "./draw-number.ts";
import { VideoError, type VideoErrorCode } from "./errors.ts";
import { INPUT_GUARDS, startFfmpeg, type FfmpegProcess } from "./ffmpeg-process.ts";
import { findFfmpeg } from "./find-ffmpeg.ts";
import { openFramePipe } from "./frame-pipe.ts";
import { assertCount, assertPositive } from "./options.ts";
import type { EpisodePlan } from "./plan.ts";
import type { Probe } from "./probe.ts";
import { Slots } from "./slots.ts";
import { assertUnchanged, openSource, type SourceOptions } from "./source-file.ts";

/** One frame as the model sees it. */
export interface Frame {
  /** From 0. */
  index: number;
  /** Second of the episode that is on the picture. */
  second: number;
  /** Number on the picture. */
  label: number;
  /** Shows the same picture as the frame before, to make the count even. */
  repeat: boolean;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** rgb24, [height, width, 3]; valid until the next frame is asked for. */
  data: Uint8Array;
}

/** How one decode went. */
export interface DecodeReport {
  /** Frames that came. */
  decoded: number;
  /** Frames that the plan expects. */
  expected: number;
  /** Lines with an error on ffmpeg's stderr. */
  errorLines: number;
  /** `TRUNCATED`, `DAMAGED`, `DECODE_ERRORS`, `SIZE_CHANGED`, `DURATION_MISMATCH`, `INTERLACED`, `HDR_TONEMAPPED`, `HDR_UNTREATED`. */
  warnings: string[];
  /** Processor milliseconds of ffmpeg; undefined where the system does not tell. */
  cpuMs: number | undefined;
}

/** What to do with files that are cut or damaged, and how many are decoded at once. */
export interface DecodeLimits extends SourceOptions {
  /** Keeps what came of a cut file. Default false. */
  allowTruncated?: boolean | undefined;
  /** Keeps frames of a damaged stream. Default false. */
  allowDamaged?: boolean | undefined;
  /** Decoding starts when fewer than this many ffmpeg decode in this process. Default the number of cores. */
  processes?: number | undefined;
  /** The ffmpeg to use; default the one that {@link findFfmpeg} finds. */
  ffmpegPath?: string | undefined;
  /** Seconds that ffmpeg may keep us waiting for its frames; the time of a slow consumer does not count. Default 30 and the planned seconds. */
  timeoutSeconds?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** Options of {@link decodeEpisode}. */
export interface DecodeOptions extends DecodeLimits {
  /** The episode as it was planned. */
  probe: Probe;
  /** Seconds between frames, from the plan of the drama. */
  strideSeconds: number;
  /** Second that the first number shows. Default 0; `plan.clockOffset` for numbers that run on over the episodes. */
  firstLabel?: number | undefined;
  overlay?: Overlay | undefined;
  /** Called for each frame that came, with the number so far and the processor time of ffmpeg on request. */
  onFrame?: ((frames: number, cpuMs: () => number | undefined) => void) | undefined;
}

/** Frames of one episode in order, and how the decode went. */
export interface FrameStream extends AsyncIterableIterator<Frame> {
  /** Settles when the last frame was asked for, or the iteration failed or was left; wait for it after the frames, not before. */
  report: Promise<DecodeReport>;
}

const TONE_MAP = "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=mobius,zscale=t=bt709:m=bt709:r=tv,format=yuv420p,";
const TICK_MS = 250;
const slots = new Slots();

/** The filter of an episode, and what it does beyond sampling and scaling. */
export function filterOf(probe: Probe, { sampled, width, height }: EpisodePlan, strideSeconds: number, canToneMap: boolean): { filter: string; warnings: string[] } {
  const warnings: string[] = [];
  if (probe.interlaced) warnings.push("INTERLACED");
  if (probe.hdr) warnings.push(canToneMap ? "HDR_TONEMAPPED" : "HDR_UNTREATED");
  const before = `${probe.interlaced ? "bwdif=mode=0," : ""}${probe.hdr && canToneMap ? TONE_MAP : ""}`;
  // Players take untagged large pictures as BT.709; swscale would take them as BT.601.
  const matrix = !probe.hasColourMatrix && (probe.codedHeight >= 720 || probe.codedWidth >= 1280) ? ":in_color_matrix=bt709" : "";
  return { filter: `${before}fps=1/${strideSeconds}:start_time=0:round=up,trim=end_frame=${sampled},scale=${width}:${height}:flags=bicubic+accurate_rnd+full_chroma_int${matrix},setsar=1`, warnings };
}

/** Reads a process's output into whole frames; the time it keeps us waiting is limited, the time of a slow consumer is not. */
class FrameReader {
  /** Bytes after the last whole frame. */
  rest = 0;
  /** More came than was asked for. */
  overflow = false;
  readonly #child: FfmpegProcess;
  readonly #frame: Uint8Array;
  #chunk: Buffer = Buffer.alloc(0);
  #isWaiting = false;
  readonly #timer: NodeJS.Timeout;

  constructor(child: FfmpegProcess, frameBytes: number, limitMs: number, onLate: () => void) {
    this.#child = child;
    this.#frame = new Uint8Array(frameBytes);
    let waitedMs = 0;
    this.#timer = setInterval(() => {
      if (this.#isWaiting) waitedMs += TICK_MS;
      if (waitedMs > limitMs) onLate();
    }, TICK_MS);
    this.#timer.unref();
  }

  /** The next whole frame in a buffer that is used again; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    let filled = 0;
    while (filled < this.#frame.length) {
      if (this.#chunk.length === 0 && !(await this.#fetch())) {
        this.rest = filled;
        return undefined;
      }
      const part = this.#chunk.subarray(0, this.#frame.length - filled);
      this.#frame.set(part, filled);
      filled += part.length;
      this.#chunk = this.#chunk.subarray(part.length);
    }
    return this.#frame;
  }

  /** Waits for the end of the output; anything more is too much. */
  async finish(): Promise<void> {
    this.overflow = this.#chunk.length > 0 || (await this.#fetch());
    if (this.overflow) this.#child.kill();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #fetch(): Promise<boolean> {
    this.#isWaiting = true;
    const chunk = await this.#child.read();
    this.#isWaiting = false;
    this.#chunk = chunk ?? Buffer.alloc(0);
    return chunk !== undefined;
  }
}

/**
 * Decodes the planned seconds of one episode, one frame at a time, scaled and numbered, with one guarded single-threaded ffmpeg.
 * Memory: two frames. While no frame is asked for, ffmpeg waits. Iterating holds one of `processes` places: leave the loop or finish it.
 *
 * @param path The file that `options.probe` looked at.
 * @throws VideoError while iterating: failed, truncated, damaged, changed, timed out or cancelled. Frames that came before are good ones.
 */
export function decodeEpisode(path: string, plan: EpisodePlan, options: DecodeOptions): FrameStream {
  const settled = Promise.withResolvers<DecodeReport>();
  settled.promise.catch(() => undefined);
  const frames = decodeFrames(path, plan, options, settled);
  const leave = async (end: Promise<IteratorResult<Frame, undefined>>): Promise<IteratorResult<Frame, undefined>> => {
    const result = await end;
    settled.reject(new VideoError(`${path}: the frames were not asked for to the end`, { code: "VIDEO_CANCELLED", path, hint: "Iterate over all frames." }));
    return result;
  };
  const stream: FrameStream = { next: () => frames.next(), return: () => leave(frames.return(undefined)), [Symbol.asyncIterator]: () => stream, report: settled.promise };
  return stream;
}

async function* decodeFrames(path: string, plan: EpisodePlan, options: DecodeOptions, settled: PromiseWithResolvers<DecodeReport>): AsyncGenerator<Frame, undefined, undefined> {
  const { probe, strideSeconds, firstLabel = 0, overlay = {}, processes = availableParallelism(), signal } = options;
  const { width, height, sampled, frames } = plan;
  const plannedSeconds = plan.seconds;
  let stop: VideoError | undefined;
  let child: FfmpegProcess | undefined;
  let reader: FrameReader | undefined;
  let release: (() => void) | undefined;
  const fail = (code: VideoErrorCode, what: string, hint: string): VideoError => new VideoError(`${path}: ${what}`, { code, hint, path, detail: child?.log.text });
  const halt = (error: VideoError): void => {
    stop ??= error;
    child?.kill();
  };
  const throwIfStopped = (): void => {
    if (stop) throw stop;
  };
  const onAbort = (): void => halt(fail("VIDEO_CANCELLED", "the work was cancelled", "Run again to continue."));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    if (signal?.aborted) onAbort();
    throwIfStopped();
    assertCount("processes", processes);
    if (options.timeoutSeconds !== undefined) assertPositive("timeoutSeconds", options.timeoutSeconds);
    const ffmpeg = await findFfmpeg({ ffmpegPath: options.ffmpegPath });
    release = await slots.acquire(processes, signal);
    const source = { ...(await openSource(path, options)), fileId: probe.fileId };
    await assertUnchanged(source);
    const { filter, warnings } = filterOf(probe, plan, strideSeconds, ffmpeg.canToneMap);
    child = startFfmpeg(ffmpeg.path, ["-v", "level+warning", ...INPUT_GUARDS, "-i", `file:${source.realPath}`, "-map", "0:V:0", "-vf", filter, "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"], { cpuSeconds: 60 + 2 * plannedSeconds, pipe: await openFramePipe() });
    throwIfStopped();
    const limitSeconds = options.timeoutSeconds ?? 30 + plannedSeconds;
    reader = new FrameReader(child, width * height * 3, limitSeconds * 1000, () => halt(fail("VIDEO_TIMEOUT", `decoding kept us waiting for more than ${limitSeconds} s`, "The file is damaged, or the machine is overloaded.")));

    const shown = new Uint8Array(width * height * 3);
    let picture: Uint8Array | undefined;
    const numbered = (index: number, sample: number, repeat: boolean): Frame => {
      const second = sample * strideSeconds;
      const label = firstLabel + second;
      shown.set(picture!);
      drawNumber(shown, width, height, label, overlay);
      return { index, second, label, repeat, width, height, data: shown };
    };
    let decoded = 0;
    for (; decoded < sampled; decoded++) {
      const next = await reader.next();
      if (!next) break;
      picture = next;
      options.onFrame?.(decoded + 1, child.cpuMs);
      yield numbered(decoded, decoded, false);
    }
    if (decoded === sampled) await reader.finish();
    const end = await child.end;
    throwIfStopped();
    await assertUnchanged(source);
    const { log } = child;
    if (!reader.overflow && (end.code !== 0 || end.startError)) {
      const failure = failureOf(path, end, log.text);
      // A file that is cut may also end ffmpeg with an error; one that was killed is no cut file.
      const isCut = failure.code === "VIDEO_CORRUPT" || failure.code === "VIDEO_DECODE_FAILED";
      if (!(options.allowTruncated && decoded > 0 && isCut)) throw failure;
    }
    if (reader.rest !== 0 && !options.allowTruncated) throw fail("VIDEO_DECODE_FAILED", "the last picture is incomplete", "Fetch the file again.");
    if (decoded === 0) throw fail("VIDEO_NO_FRAMES", "no picture could be decoded", "Fetch the file again.");
    const isTruncated = sampled - decoded > Math.max(1, Math.floor(0.02 * sampled));
    if (isTruncated) {
      if (!options.allowTruncated) throw fail("VIDEO_TRUNCATED", `only ${decoded} of ${sampled} pictures are there`, "Fetch the file again, or allow truncated files.");
      warnings.push("TRUNCATED");
    }
    if (log.errorLines > Math.max(10, plannedSeconds)) {
      if (!options.allowDamaged) throw fail("VIDEO_DAMAGED", `decoding met ${log.errorLines} errors`, "Fetch the file again, or allow damaged files.");
      warnings.push("DAMAGED");
    } else if (log.errorLines > 0) warnings.push("DECODE_ERRORS");
    if (log.sizeChanges > 0) warnings.push("SIZE_CHANGED");
    if (reader.overflow) warnings.push("DURATION_MISMATCH");
    // A short tail still shows its last picture at the missing seconds; the repeat that makes the count even keeps its number.
    const kept = isTruncated ? decoded : sampled;
    const count = isTruncated ? decoded + (decoded % 2) : frames;
    for (let index = decoded; index < count; index++) yield numbered(index, Math.min(index, kept - 1), true);
    settled.resolve({ decoded, expected: sampled, errorLines: log.errorLines, warnings, cpuMs: child.cpuMs() });
    return undefined;
  } catch (error) {
    settled.reject(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    reader?.close();
    child?.kill();
    await child?.end;
    release?.();
  }
}
