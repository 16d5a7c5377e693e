import { FilePathSource, Input, MATROSKA, MP4, MPEG_TS, QTFF, WEBM, type InputTrack, type InputVideoTrack } from "mediabunny";
import { containerOf, type Container } from "./container.ts";
import { VideoError, type VideoErrorCode } from "./errors.ts";
import { findFfmpeg } from "./find-ffmpeg.ts";
import { readMovieHeader } from "./movie-header.ts";
import { listPackets, type PacketList } from "./packet-list.ts";
import { Slots } from "./slots.ts";
import { openSource, readHead, type SourceFile, type SourceOptions } from "./source-file.ts";

/** What an episode file holds. */
export interface Probe {
  /** By the first bytes, never by the name. */
  container: Container;
  /** Name of the codec, for example `avc`, `hevc`, `vp9`. */
  codec: string;
  /** Pixels, rotation and sample aspect applied. */
  displayWidth: number;
  /** Pixels, rotation and sample aspect applied. */
  displayHeight: number;
  /** Pixels as stored. */
  codedWidth: number;
  /** Pixels as stored. */
  codedHeight: number;
  /** Degrees clockwise. */
  rotation: 0 | 90 | 180 | 270;
  /** Width to height of one stored pixel. */
  sampleAspect: [number, number];
  /** Seconds at which the file's clock starts. */
  fileStart: number;
  /** Seconds from the start of the clock to the end of the last picture. */
  end: number;
  /** Video tracks that are not cover pictures; the first is used. */
  videoTracks: number;
  /** PQ or HLG transfer. */
  hdr: boolean;
  interlaced: boolean;
  /** The stream says which matrix its colours use. */
  hasColourMatrix: boolean;
  bytes: number;
  /** Device, inode, size and times of the file that was looked at. */
  fileId: string;
  /** `MULTIPLE_VIDEO_STREAMS`, `VARIABLE_FRAME_RATE`, `DURATION_MISMATCH`. */
  warnings: string[];
}

/** Options of {@link probeEpisode}. */
export interface ProbeOptions extends SourceOptions {
  /** The ffmpeg to use; default the one that {@link findFfmpeg} finds. */
  ffmpegPath?: string | undefined;
  signal?: AbortSignal | undefined;
}

const MAX_PIXELS = 16_777_216;
const MAX_ASPECT = 200;
const INDEX_TIMEOUT_MS = 5000;
const PROBES_AT_ONCE = 8;
const slots = new Slots();

function refuse(path: string, code: VideoErrorCode, what: string, hint: string, cause?: unknown): never {
  throw new VideoError(`${path}: ${what}`, { code, hint, path, cause });
}

/** What the file's index says, read without native code. */
interface FileIndex {
  codec: string;
  displayWidth: number;
  displayHeight: number;
  codedWidth: number;
  codedHeight: number;
  rotation: Probe["rotation"];
  fileStart: number;
  end: number;
  videoTracks: number;
}

const NO_VIDEO = Symbol("no video");
const NO_SAMPLES = Symbol("no samples");

/** Undefined for a track without a sample. */
async function firstTime(track: InputTrack): Promise<number | undefined> {
  const time = await track.getFirstTimestamp();
  return Number.isFinite(time) ? time : undefined;
}

async function indexOf(input: Input, container: Container): Promise<FileIndex | typeof NO_VIDEO | typeof NO_SAMPLES | undefined> {
  const tracks = await input.getTracks();
  const videos = tracks.filter((track): track is InputVideoTrack => track.isVideoTrack());
  const [track] = videos;
  if (track === undefined) return tracks.length > 0 ? NO_VIDEO : undefined;
  const own = await firstTime(track);
  if (own === undefined) return NO_SAMPLES;
  const others = container === "mpegts" ? [] : tracks.filter((other) => other !== track);
  // A broken sound track does not matter.
  const starts = [own, ...(await Promise.all(others.map(async (other) => firstTime(other).catch(() => undefined)))).filter((time) => time !== undefined)];
  const isIsoMedia = container === "mp4" || container === "mov";
  const fileStart = Math.min(...starts.map((time) => (isIsoMedia ? Math.max(0, time) : time)));
  return {
    codec: (await track.getCodec()) ?? "unknown",
    displayWidth: await track.getDisplayWidth(),
    displayHeight: await track.getDisplayHeight(),
    codedWidth: await track.getCodedWidth(),
    codedHeight: await track.getCodedHeight(),
    rotation: await track.getRotation(),
    fileStart,
    end: (await track.computeDuration()) - fileStart,
    videoTracks: videos.length,
  };
}

/** The index, or undefined where it cannot be read: mediabunny throws plain errors on broken files, and does not know AVI and FLV. */
async function readIndex(file: SourceFile, container: Container): Promise<FileIndex | typeof NO_VIDEO | typeof NO_SAMPLES | undefined> {
  if (container === "avi" || container === "flv") return undefined;
  const input = new Input({ source: new FilePathSource(file.realPath), formats: [MP4, QTFF, MATROSKA, WEBM, MPEG_TS] });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), INDEX_TIMEOUT_MS);
  });
  try {
    return await Promise.race([indexOf(input, container), late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    input.dispose();
  }
}

function assertDimensions(path: string, coded: readonly [number, number], display: readonly [number, number]): void {
  const [width, height] = display;
  if (coded[0] * coded[1] > MAX_PIXELS || width < 1 || height < 1 || Math.max(width, height) / Math.min(width, height) > MAX_ASPECT) {
    const shown = coded[0] * coded[1] > MAX_PIXELS ? coded : display;
    refuse(path, "VIDEO_DIMENSIONS", `a picture of ${shown[0]} x ${shown[1]} pixels cannot be used`, "Use at most 16.7 million pixels and sides within 200 times of each other.");
  }
}

/** Display size and end by the packets, for files whose index cannot be read. */
function indexByPackets(packets: PacketList, end: number): FileIndex {
  const { codedWidth, codedHeight, sampleAspect, rotation, codec } = packets;
  const width = Math.round((codedWidth * sampleAspect[0]) / sampleAspect[1]);
  const [displayWidth, displayHeight] = rotation % 180 === 0 ? [width, codedHeight] : [codedHeight, width];
  return { codec, displayWidth, displayHeight, codedWidth, codedHeight, rotation, fileStart: 0, end, videoTracks: 1 };
}

async function probe(file: SourceFile, options: ProbeOptions): Promise<Probe> {
  const { path } = file;
  const container = containerOf(await readHead(file.realPath, 4096)) ?? refuse(path, "VIDEO_FORMAT_REFUSED", "this is not an MP4, MOV, MKV, WebM, TS, AVI or FLV file", "Give a video file; playlists and pictures are not read.");
  const header = container === "mp4" || container === "mov" ? await readMovieHeader(file.realPath, file.bytes) : undefined;
  if (header?.isEncrypted) refuse(path, "VIDEO_ENCRYPTED", "the video is encrypted", "Give a file without copy protection.");
  const found = await readIndex(file, container);
  if (found === NO_VIDEO) refuse(path, "VIDEO_NO_VIDEO_STREAM", "it holds no video, only other tracks", "Give the episode's video file.");
  if (found === NO_SAMPLES) refuse(path, "VIDEO_NO_FRAMES", "it holds no picture", "Fetch or export the episode again.");
  if (typeof found === "object") assertDimensions(path, [found.codedWidth, found.codedHeight], [found.displayWidth, found.displayHeight]);
  const packets = await listPackets(file, (await findFfmpeg({ ffmpegPath: options.ffmpegPath })).path, options.signal);
  const index = typeof found === "object" ? found : indexByPackets(packets, packets.end ?? refuse(path, "VIDEO_CORRUPT", "neither its index nor all its packets can be read", "The file is damaged: fetch it again."));
  assertDimensions(path, [index.codedWidth, index.codedHeight], [index.displayWidth, index.displayHeight]);
  if (!(index.end > 0) || packets.packets === 0) refuse(path, "VIDEO_NO_FRAMES", "it holds no picture", "Fetch or export the episode again.");
  const warnings: string[] = [];
  if (index.videoTracks > 1) warnings.push("MULTIPLE_VIDEO_STREAMS");
  if (packets.hasVariableRate) warnings.push("VARIABLE_FRAME_RATE");
  if (header !== undefined && header.seconds !== 0 && Math.abs(header.seconds - index.end) > Math.max(2, 0.2 * index.end)) warnings.push("DURATION_MISMATCH");
  const { sampleAspect, isHdr: hdr, isInterlaced: interlaced, hasColourMatrix } = packets;
  return { container, ...index, sampleAspect, hdr, interlaced, hasColourMatrix, bytes: file.bytes, fileId: file.fileId, warnings };
}

/**
 * Looks at an episode: kind by its first bytes, track, size and duration by its index, colours and frame rate by its packets. Nothing is
 * decoded, and what is not a video of a known kind is refused before any parser sees it. At most eight files at once.
 *
 * @throws VideoError for everything that is not a regular file with a readable video track.
 */
export async function probeEpisode(path: string, options: ProbeOptions = {}): Promise<Probe> {
  const release = await slots.acquire(PROBES_AT_ONCE, options.signal);
  try {
    return await probe(await openSource(path, options), options);
  } finally {
    release();
  }
}
