import { containerOf, type Container } from "./container.ts";
import { VideoError, type VideoErrorCode } from "./errors.ts";
import { findFfmpeg } from "./find-ffmpeg.ts";
import { readMovieHeader } from "./movie-header.ts";
import { orCancelled } from "./or-cancelled.ts";
import { listPackets, type PacketList } from "./packet-list.ts";
import { Slots } from "./slots.ts";
import { openSource, readHead, type SourceFile, type SourceOptions } from "./source-file.ts";

/** What an episode file holds. */
export interface Probe {
  /** By the first bytes, never by the name. */
  container: Container;
  /** ffmpeg's name of the codec, for example `h264`, `hevc`, `vp9`. */
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
const PROBES_AT_ONCE = 8;
const slots = new Slots();

function refuse(path: string, code: VideoErrorCode, what: string, hint: string): never {
  throw new VideoError(`${path}: ${what}`, { code, hint, path });
}

/** Pixels as a player shows them: narrow ones are made taller, wide ones wider. */
function displaySize({ codedWidth, codedHeight, sampleAspect: [across, down], rotation }: PacketList): [width: number, height: number] {
  const width = across > down ? Math.round((codedWidth * across) / down) : codedWidth;
  const height = across < down ? Math.round((codedHeight * down) / across) : codedHeight;
  return rotation % 180 === 0 ? [width, height] : [height, width];
}

function assertDimensions(path: string, { codedWidth, codedHeight }: PacketList, [width, height]: readonly [number, number]): void {
  const isLarge = codedWidth * codedHeight > MAX_PIXELS;
  if (!isLarge && width >= 1 && height >= 1 && Math.max(width, height) / Math.min(width, height) <= MAX_ASPECT) return;
  const [shownWidth, shownHeight] = isLarge ? [codedWidth, codedHeight] : [width, height];
  refuse(path, "VIDEO_DIMENSIONS", `a picture of ${shownWidth} x ${shownHeight} pixels cannot be used`, "Use at most 16.7 million pixels and sides within 200 times of each other.");
}

async function probe(file: SourceFile, { ffmpegPath, signal }: ProbeOptions): Promise<Probe> {
  const { path, bytes, fileId } = file;
  const container = containerOf(await readHead(file, 4096)) ?? refuse(path, "VIDEO_FORMAT_REFUSED", "this is not an MP4, MOV, MKV, WebM, TS, AVI or FLV file", "Give a video file; playlists and pictures are not read.");
  const header = container === "mp4" || container === "mov" ? await readMovieHeader(file.realPath, bytes) : undefined;
  if (header?.isEncrypted) refuse(path, "VIDEO_ENCRYPTED", "the video is encrypted", "Give a file without copy protection.");
  const list = await listPackets(file, (await findFfmpeg({ ffmpegPath })).path, signal);
  const [displayWidth, displayHeight] = displaySize(list);
  assertDimensions(path, list, [displayWidth, displayHeight]);
  if (!(list.end > 0)) refuse(path, "VIDEO_NO_FRAMES", "it holds no picture", "Fetch or export the episode again.");
  // The packets say how long the film is. Only where the file ends before its index does, the index says how long it was to be.
  const claimed = header ? header.seconds : list.claimedSeconds;
  const end = list.isCut ? Math.max(list.end, (header ? header.mediaSeconds : list.claimedSeconds) ?? 0) : list.end;
  const warnings: string[] = [];
  if (list.videoTracks > 1) warnings.push("MULTIPLE_VIDEO_STREAMS");
  if (list.hasVariableRate) warnings.push("VARIABLE_FRAME_RATE");
  if (claimed !== undefined && Math.abs(claimed - end) > Math.max(2, 0.2 * end)) warnings.push("DURATION_MISMATCH");
  const { codec, codedWidth, codedHeight, rotation, sampleAspect, fileStart, videoTracks, isHdr: hdr, isInterlaced: interlaced, hasColourMatrix } = list;
  return { container, codec, displayWidth, displayHeight, codedWidth, codedHeight, rotation, sampleAspect, fileStart, end, videoTracks, hdr, interlaced, hasColourMatrix, bytes, fileId, warnings };
}

/**
 * Looks at an episode: kind by its first bytes, the rest by the list of its packets, which a guarded ffmpeg makes. What is not a video of
 * a known kind is refused before any parser or process sees it. At most eight files at once.
 *
 * @throws VideoError for everything that is not a regular file with a readable video track.
 */
export async function probeEpisode(path: string, options: ProbeOptions = {}): Promise<Probe> {
  const release = await slots.acquire(PROBES_AT_ONCE, options.signal);
  try {
    return await orCancelled(openSource(path, options).then((file) => probe(file, options)), options.signal);
  } finally {
    release();
  }
}
