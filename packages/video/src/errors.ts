import { DramascopeError, type ErrorDetails } from "@dramascope/schema";

/** Why an episode is refused or fails. */
export type VideoErrorCode =
  | "CACHE_IO"
  | "FFMPEG_NOT_FOUND"
  | "FFMPEG_UNUSABLE"
  | "FRAMES_FOLDER"
  | "OUTPUT_UNWRITABLE"
  | "PLAN_BUDGET_TOO_SMALL"
  | "PLAN_EPISODES"
  | "VIDEO_CANCELLED"
  | "VIDEO_CHANGED"
  | "VIDEO_CORRUPT"
  | "VIDEO_DAMAGED"
  | "VIDEO_DECODER_MISSING"
  | "VIDEO_DECODE_FAILED"
  | "VIDEO_DIMENSIONS"
  | "VIDEO_EMPTY"
  | "VIDEO_ENCRYPTED"
  | "VIDEO_FETCH_FAILED"
  | "VIDEO_FORMAT_REFUSED"
  | "VIDEO_FRAMES_INVALID"
  | "VIDEO_NOT_A_FILE"
  | "VIDEO_NOT_FOUND"
  | "VIDEO_NO_FRAMES"
  | "VIDEO_NO_VIDEO_STREAM"
  | "VIDEO_OPTIONS_INVALID"
  | "VIDEO_PATH_REFUSED"
  | "VIDEO_RESOURCE"
  | "VIDEO_TIMEOUT"
  | "VIDEO_TOO_LARGE"
  | "VIDEO_TOO_LONG"
  | "VIDEO_TRUNCATED";

/** Details of a {@link VideoError}. */
export interface VideoErrorDetails extends ErrorDetails {
  code: VideoErrorCode;
  /** As the caller gave it. */
  path?: string | undefined;
  /** Position in the drama, from 0. */
  episode?: number | undefined;
  /** What ffmpeg said, at most 8 KiB. */
  detail?: string | undefined;
}

/** An episode or plan that cannot be used. */
export class VideoError extends DramascopeError {
  declare readonly code: VideoErrorCode;
  /** As the caller gave it. */
  readonly path?: string;
  /** Position in the drama, from 0. */
  readonly episode?: number;
  /** What ffmpeg said, at most 8 KiB. */
  readonly detail?: string;

  constructor(message: string, details: VideoErrorDetails) {
    super(message, details);
    if (details.path !== undefined) this.path = details.path;
    if (details.episode !== undefined) this.episode = details.episode;
    if (details.detail !== undefined) this.detail = details.detail.slice(0, 8192);
  }

  /** True for errors of this class from any copy of the package. */
  static override isInstance(value: unknown): value is VideoError {
    return DramascopeError.isInstance(value) && value.name === "VideoError";
  }
}
