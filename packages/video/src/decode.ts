import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { VideoError, type VideoErrorCode } from "./errors.ts";
import type { EpisodePlan } from "./plan.ts";

/** How one decode went. */
export interface DecodeReport {
  /** Frames that came. */
  decoded: number;
  /** Frames that the plan expects. */
  expected: number;
  /** Lines with an error on ffmpeg's stderr. */
  errorLines: number;
  warnings: string[];
}

/** Decoded frames of one episode. */
export interface DecodedEpisode {
  /** rgb24, [frames, height, width, 3]; the last one repeated where the plan says so. */
  frames: Uint8Array;
  /** The filter that was used. */
  filter: string;
  report: DecodeReport;
}

/** Options of {@link decodeEpisode}. */
export interface DecodeOptions {
  ffmpegPath: string;
  strideSeconds: number;
  /** Keeps what came of a cut file. Default false. */
  allowTruncated?: boolean;
  /** Keeps frames of a damaged stream. Default false. */
  allowDamaged?: boolean;
  signal?: AbortSignal;
  /** Called with the number of frames so far. */
  onFrame?: (frames: number) => void;
}

const MEMORY_KIB = 4_000_000;
const FORMATS = "mov,matroska,mpegts,avi,flv";

/** ffmpeg under limits of memory and processor time, one thread, local files of known formats only. */
function command(path: string, plan: EpisodePlan, filter: string, ffmpegPath: string): { program: string; args: string[] } {
  const args = [
    "-nostdin", "-hide_banner", "-v", "level+warning", "-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS, "-max_pixels", "16777216", "-reinit_filter", "0", "-threads", "1",
    "-i", `file:${resolve(path)}`, "-map", "0:V:0", "-vf", filter, "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1",
  ];
  if (process.platform === "win32") return { program: ffmpegPath, args };
  const limits = `ulimit -v ${MEMORY_KIB} && ulimit -t ${60 + 2 * plan.seconds} && exec "$0" "$@"`;
  return { program: "/bin/sh", args: ["-c", limits, ffmpegPath, ...args] };
}

const FAILURES: readonly (readonly [RegExp, VideoErrorCode, string])[] = [
  [/moov atom not found|Invalid data found|EBML header parsing failed/u, "VIDEO_CORRUPT", "The file is damaged or cut off: fetch it again."],
  [/matches no streams/u, "VIDEO_NO_VIDEO_STREAM", "Give the episode's video file."],
  [/Decoder .* not found|no decoder found|Decoding requested, but no decoder/iu, "VIDEO_DECODER_MISSING", "Use an ffmpeg that can decode this codec."],
  [/Cannot allocate memory|CPU time limit/u, "VIDEO_RESOURCE", "The file asks for more memory or time than is allowed."],
  [/Format not on whitelist|not on whitelist/u, "VIDEO_FORMAT_REFUSED", "Give a video file; playlists are not read."],
];

/**
 * Decodes the planned seconds of one episode, scaled to the planned size, with one guarded single-threaded ffmpeg process.
 *
 * @throws VideoError naming the file: failed, truncated, damaged, timed out or cancelled.
 */
export async function decodeEpisode(path: string, plan: EpisodePlan, options: DecodeOptions): Promise<DecodedEpisode> {
  const { strideSeconds, signal } = options;
  const { width, height, sampled, frames } = plan;
  const frameBytes = width * height * 3;
  const filter = `fps=1/${strideSeconds}:start_time=0:round=up,trim=end_frame=${sampled},scale=${width}:${height}:flags=bicubic+accurate_rnd+full_chroma_int,setsar=1`;
  const fail = (code: VideoErrorCode, what: string, hint: string, detail?: string): VideoError => new VideoError(`${path}: ${what}`, { code, hint, path, detail });
  if (signal?.aborted) throw fail("VIDEO_CANCELLED", "the work was cancelled", "Run again to continue.");
  const { program, args } = command(path, plan, filter, options.ffmpegPath);
  // Only PATH goes to the child: no proxy, no token.
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] ?? "" }, detached: process.platform !== "win32" });
  const kill = (): void => {
    try {
      if (child.pid !== undefined && process.platform !== "win32") process.kill(-child.pid, "SIGKILL");
      else child.kill("SIGKILL");
    } catch {
      // Gone already.
    }
  };
  const output = new Uint8Array(frames * frameBytes);
  let filled = 0;
  let overflow = false as boolean; // set while the stream is read
  let said = "";
  let errorLines = 0;
  let stop: VideoError | undefined;
  const halt = (error: VideoError): void => {
    stop ??= error;
    kill();
  };
  const timer = setTimeout(() => halt(fail("VIDEO_TIMEOUT", `decoding took more than ${30 + plan.seconds} s`, "The file is damaged or the machine is overloaded.")), (30 + plan.seconds) * 1000);
  const onAbort = (): void => halt(fail("VIDEO_CANCELLED", "the work was cancelled", "Run again to continue."));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    child.stdout.on("data", (chunk: Buffer) => {
      const room = sampled * frameBytes - filled;
      if (chunk.length > room) overflow = true;
      const before = Math.floor(filled / frameBytes);
      output.set(chunk.subarray(0, Math.max(0, room)), filled);
      filled += Math.min(chunk.length, Math.max(0, room));
      if (Math.floor(filled / frameBytes) > before) options.onFrame?.(Math.floor(filled / frameBytes));
      if (overflow) kill();
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errorLines += text.split(/\[(?:error|fatal)\]/u).length - 1;
      if (said.length < 8192) said += text.slice(0, 8192 - said.length);
    });
    const code = await new Promise<number | null>((settle, reject) => {
      child.on("error", (error) => reject(fail("FFMPEG_UNUSABLE", `ffmpeg could not be started: ${error.message}`, "Check the ffmpeg that is used.")));
      child.on("close", settle);
    });
    if (stop !== undefined) throw stop;
    const decoded = Math.floor(filled / frameBytes);
    if (code !== 0 && !overflow && !(options.allowTruncated && decoded > 0)) {
      const [, failure = "VIDEO_DECODE_FAILED", hint = "Try to play the file; fetch it again if that fails too."] = FAILURES.find(([pattern]) => pattern.test(said)) ?? [];
      throw fail(failure, "ffmpeg could not decode it", hint, said);
    }
    const report = judge({ decoded, rest: filled % frameBytes, expected: sampled, errorLines, seconds: plan.seconds }, options, fail, said);
    for (let i = decoded; i < frames; i++) output.copyWithin(i * frameBytes, (decoded - 1) * frameBytes, decoded * frameBytes);
    return { frames: output, filter, report };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
    kill();
  }
}

interface Outcome {
  decoded: number;
  rest: number;
  expected: number;
  errorLines: number;
  seconds: number;
}

/** Exit code 0 proves nothing: frames and error lines are counted. */
function judge(outcome: Outcome, options: DecodeOptions, fail: (code: VideoErrorCode, what: string, hint: string, detail?: string) => VideoError, said: string): DecodeReport {
  const { decoded, rest, expected, errorLines, seconds } = outcome;
  const warnings: string[] = [];
  if (rest !== 0 && !options.allowTruncated) throw fail("VIDEO_DECODE_FAILED", "the last picture is incomplete", "Fetch the file again.", said);
  if (decoded === 0) throw fail("VIDEO_NO_FRAMES", "no picture could be decoded", "Fetch the file again.", said);
  if (expected - decoded > Math.max(1, Math.floor(0.02 * expected))) {
    if (!options.allowTruncated) throw fail("VIDEO_TRUNCATED", `only ${decoded} of ${expected} pictures are there`, "Fetch the file again, or allow truncated files.", said);
    warnings.push("TRUNCATED");
  }
  if (errorLines > Math.max(10, seconds)) {
    if (!options.allowDamaged) throw fail("VIDEO_DAMAGED", `decoding met ${errorLines} errors`, "Fetch the file again, or allow damaged files.", said);
    warnings.push("DAMAGED");
  } else if (errorLines > 0) warnings.push("DECODE_ERRORS");
  return { decoded, expected, errorLines, warnings };
}
