import { VideoError, type VideoErrorCode } from "./errors.ts";
import type { ProcessEnd } from "./ffmpeg-process.ts";

interface Failure {
  code: VideoErrorCode;
  what: string;
  hint: string;
}

const MISSING_DECODER = /(?:no decoder found for: |Decoder \(codec |Unknown decoder ')(?<codec>[\w-]{1,32})/u;
const FAILURES: readonly (readonly [RegExp, Failure])[] = [
  [/not on whitelist/u, { code: "VIDEO_FORMAT_REFUSED", what: "it is not a video file of a known format", hint: "Give a video file; playlists and pictures are not read." }],
  [/matches no streams/u, { code: "VIDEO_NO_VIDEO_STREAM", what: "it holds no video, only other tracks", hint: "Give the episode's video file." }],
  [/Cannot allocate memory|CPU time limit|SIGXCPU/u, { code: "VIDEO_RESOURCE", what: "decoding it needs more memory or time than is allowed", hint: "The file is damaged or hostile; encode it again to use it." }],
  [/moov atom not found|Invalid data found|header parsing failed|End of file|invalid as first byte/u, { code: "VIDEO_CORRUPT", what: "it cannot be read as a video", hint: "The file is damaged or cut off: fetch it again." }],
];
const OTHER: Failure = { code: "VIDEO_DECODE_FAILED", what: "ffmpeg could not decode it", hint: "Try to play the file; fetch it again if that fails too." };

/** The error for an ffmpeg that failed, by what it said. Its exit codes differ by version and mean nothing. */
export function failureOf(path: string, { signal, startError }: ProcessEnd, log: string): VideoError {
  if (startError) return new VideoError(`${path}: ffmpeg could not be started (${startError.message})`, { code: "FFMPEG_UNUSABLE", path, cause: startError, hint: "Check the ffmpeg that is used with dramascope doctor." });
  const codec = MISSING_DECODER.exec(log)?.groups?.["codec"];
  if (codec !== undefined) return new VideoError(`${path}: this ffmpeg cannot decode ${codec}`, { code: "VIDEO_DECODER_MISSING", path, detail: log, hint: `Use an ffmpeg with a decoder for ${codec}.` });
  if (signal !== null) return new VideoError(`${path}: decoding was ended from outside or by a limit (${signal})`, { code: "VIDEO_RESOURCE", path, detail: log, hint: "Run again with more free memory; if it happens again the file is damaged or hostile." });
  const [, { code, what, hint } = OTHER] = FAILURES.find(([pattern]) => pattern.test(log)) ?? [];
  return new VideoError(`${path}: ${what}`, { code, path, detail: log, hint });
}
