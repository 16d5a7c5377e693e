import { lstat, open, realpath, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { FilePathSource, Input, MATROSKA, MP4, MPEG_TS, QTFF, WEBM, type InputVideoTrack } from "mediabunny";
import { VideoError, type VideoErrorCode } from "./errors.ts";

/** What an episode file holds. */
export interface Probe {
  container: "mp4" | "matroska" | "mpegts" | "avi" | "flv";
  codec: string;
  /** Pixels, rotation and sample aspect applied. */
  displayWidth: number;
  /** Pixels, rotation and sample aspect applied. */
  displayHeight: number;
  rotation: 0 | 90 | 180 | 270;
  /** Seconds at which the file's clock starts. */
  fileStart: number;
  /** Seconds from the start to the end of the last picture. */
  end: number;
  videoTracks: number;
  bytes: number;
}

/** Options of {@link probeEpisode}. */
export interface ProbeOptions {
  /** Largest accepted file. Default 2 GiB. */
  maxBytes?: number;
}

const MAX_PIXELS = 16_777_216;
const PROBE_TIMEOUT_MS = 5000;

function refuse(path: string, code: VideoErrorCode, what: string, hint: string, cause?: unknown): never {
  throw new VideoError(`${path}: ${what}`, { code, hint, path, cause });
}

/** The real path of a regular file that may be opened; nothing else is touched. */
async function regularFile(path: string, maxBytes: number): Promise<{ path: string; bytes: number }> {
  let real: string;
  try {
    await lstat(path);
    real = await realpath(path);
  } catch (error) {
    return refuse(path, "VIDEO_NOT_FOUND", "there is no such file", "Check the path.", error);
  }
  const info = await stat(real);
  if (!info.isFile()) refuse(path, "VIDEO_NOT_A_FILE", "this is not a regular file", "Give a video file.");
  if (info.size === 0) refuse(path, "VIDEO_EMPTY", "the file is empty", "Fetch or export the episode again.");
  if (info.size > maxBytes) refuse(path, "VIDEO_TOO_LARGE", `the file has ${info.size} bytes, more than ${maxBytes}`, "Raise maxBytes if the file is what you expect.");
  return { path: resolve(real), bytes: info.size };
}

/** Container by the first bytes; a name's ending is never trusted. */
function sniff(head: Uint8Array): Probe["container"] | undefined {
  const text = Buffer.from(head).toString("latin1");
  if (/^(?:ftyp|moov|mdat|free|skip|wide)/u.test(text.slice(4, 8))) return "mp4";
  if (text.startsWith("\x1a\x45\xdf\xa3")) return "matroska";
  if ([0, 4].some((offset) => [0, 1, 2].every((i) => head[offset + i * (188 + offset)] === 0x47))) return "mpegts";
  if (text.startsWith("RIFF") && text.slice(8, 12) === "AVI ") return "avi";
  return text.startsWith("FLV\x01") ? "flv" : undefined;
}

async function readHead(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const head = new Uint8Array(4096);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function withTimeout<T>(work: Promise<T>, path: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new VideoError(`${path}: reading its index took more than ${PROBE_TIMEOUT_MS / 1000} s`, { code: "VIDEO_TIMEOUT", path, hint: "The file is damaged or hostile." })), PROBE_TIMEOUT_MS);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}

async function describeTrack(track: InputVideoTrack): Promise<{ codec: string; width: number; height: number; rotation: Probe["rotation"]; start: number; end: number }> {
  return {
    codec: (await track.getCodec()) ?? "unknown",
    width: await track.getDisplayWidth(),
    height: await track.getDisplayHeight(),
    rotation: (await track.getRotation()),
    start: await track.getFirstTimestamp(),
    end: await track.computeDuration(),
  };
}

/**
 * Looks at an episode without running native code: type by its first bytes, track, size and duration by its index.
 *
 * @throws VideoError for everything that is not a regular file with a readable video track of a known container.
 */
export async function probeEpisode(path: string, options: ProbeOptions = {}): Promise<Probe> {
  const file = await regularFile(path, options.maxBytes ?? 2 * 1024 ** 3);
  const head = await readHead(file.path);
  const container = sniff(head);
  if (container === undefined) return refuse(path, "VIDEO_FORMAT_REFUSED", "this is not an MP4, MOV, MKV, WebM, TS, AVI or FLV file", "Give a video file; playlists and pictures are not read.");
  if (Buffer.from(head).includes("encv")) refuse(path, "VIDEO_ENCRYPTED", "the video is encrypted", "Give a file without copy protection.");
  const input = new Input({ source: new FilePathSource(file.path), formats: [MP4, QTFF, MATROSKA, WEBM, MPEG_TS] });
  try {
    const corrupt = (error: unknown): never => refuse(path, "VIDEO_CORRUPT", "its index cannot be read", "The file is damaged or cut off: fetch it again.", error);
    const [videos, all] = await withTimeout(Promise.all([input.getVideoTracks(), input.getTracks()]), path).catch(corrupt);
    const track = videos[0];
    if (track === undefined) return all.length > 0 ? refuse(path, "VIDEO_NO_VIDEO_STREAM", "it holds no video, only other tracks", "Give the episode's video file.") : corrupt(undefined);
    const { codec, width, height, rotation, start, end } = await withTimeout(describeTrack(track), path).catch(corrupt);
    const starts = container === "mpegts" ? [start] : await withTimeout(Promise.all(all.map((one) => one.getFirstTimestamp())), path).catch(() => [start]);
    const fileStart = Math.min(...starts.map((time) => (container === "mp4" ? Math.max(0, time) : time)));
    if (!(end - fileStart > 0)) refuse(path, "VIDEO_NO_FRAMES", "it holds no picture", "Fetch or export the episode again.");
    if (width < 1 || height < 1 || width * height > MAX_PIXELS || Math.max(width, height) / Math.min(width, height) > 200) {
      refuse(path, "VIDEO_DIMENSIONS", `a picture of ${width} x ${height} pixels cannot be used`, "Use at most 16.7 million pixels and sides within 200 times of each other.");
    }
    return { container, codec, displayWidth: width, displayHeight: height, rotation, fileStart, end: end - fileStart, videoTracks: videos.length, bytes: file.bytes };
  } finally {
    input.dispose();
  }
}
