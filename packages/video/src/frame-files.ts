import { open, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { frameManifest, parseRecord, sha256, type FrameManifest } from "@dramascope/schema";
import type { Frame } from "./decode.ts";
import type { EpisodeFrames } from "./drama.ts";
import { VideoError } from "./errors.ts";

/** Form of frames on disk. */
export type FrameFormat = "jpeg" | "png" | "raw";

/** JPEG quality of frames, 1 to 100. */
export const JPEG_QUALITY = 90;
const RAW_FILE = "frames.rgb";
const MAX_PIXELS = 16_777_216;
const MAX_BYTES = 2 ** 31;

/** JPEG without chroma subsampling, which would smear the red digits, and without metadata. */
async function encode(frame: Uint8Array, width: number, height: number, format: "jpeg" | "png"): Promise<Uint8Array> {
  const { default: sharp } = await import("sharp");
  const image = sharp(frame, { raw: { width, height, channels: 3 } });
  return format === "jpeg" ? image.jpeg({ quality: JPEG_QUALITY, chromaSubsampling: "4:4:4", optimiseCoding: false }).toBuffer() : image.png().toBuffer();
}

/** JPEG of each frame of an episode, quality 90. */
export async function encodeJpegs({ frames, frameCount, width, height }: Pick<EpisodeFrames, "frames" | "frameCount" | "width" | "height">): Promise<Uint8Array[]> {
  const size = width * height * 3;
  return Promise.all(Array.from({ length: frameCount }, (_, i) => encode(frames.subarray(i * size, (i + 1) * size), width, height, "jpeg")));
}

type FrameEntry = FrameManifest["frames"][number];

const entryOf = ({ index, second, label, repeat }: Frame): FrameEntry => ({ i: index, second, label, repeat });

async function writeRaw(folder: string, frames: AsyncIterable<Frame>): Promise<FrameEntry[]> {
  const file = await open(join(folder, RAW_FILE), "w");
  try {
    const entries: FrameEntry[] = [];
    for await (const frame of frames) {
      await file.writeFile(frame.data);
      entries.push({ ...entryOf(frame), file: RAW_FILE, bytes: frame.data.length, sha256: sha256(frame.data) });
    }
    return entries;
  } finally {
    await file.close();
  }
}

async function writePictures(folder: string, frames: AsyncIterable<Frame>, format: "jpeg" | "png"): Promise<FrameEntry[]> {
  const write = async (entry: FrameEntry, pixels: Uint8Array, width: number, height: number): Promise<FrameEntry> => {
    const data = await encode(pixels, width, height, format);
    const file = `${String(entry.i).padStart(6, "0")}.${format === "jpeg" ? "jpg" : "png"}`;
    await writeFile(join(folder, file), data);
    return { ...entry, file, bytes: data.length, sha256: sha256(data) };
  };
  const entries: FrameEntry[] = [];
  // One frame is encoded while ffmpeg decodes the next.
  let writing: Promise<FrameEntry> | undefined;
  try {
    for await (const frame of frames) {
      if (writing) entries.push(await writing);
      writing = undefined;
      const before = entries.at(-1);
      // A repeated frame is the file before it, unless it carries another number.
      if (frame.repeat && before?.label === frame.label) entries.push({ ...before, ...entryOf(frame) });
      else writing = write(entryOf(frame), frame.data.slice(), frame.width, frame.height);
    }
    if (writing) entries.push(await writing);
    return entries;
  } finally {
    await writing?.catch(() => undefined);
  }
}

/** Writes frames into a folder as they come. Returns what the manifest says of each. */
export function writeFrames(folder: string, frames: AsyncIterable<Frame>, format: FrameFormat): Promise<FrameEntry[]> {
  return format === "raw" ? writeRaw(folder, frames) : writePictures(folder, frames, format);
}

const invalidFrames = (manifestPath: string, what: string, cause?: unknown): VideoError =>
  new VideoError(`${manifestPath}: ${what}`, { code: "VIDEO_FRAMES_INVALID", path: manifestPath, cause, hint: "Extract the frames again." });

async function readManifest(manifestPath: string): Promise<FrameManifest> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(manifestPath, "utf8"));
  } catch (error) {
    throw invalidFrames(manifestPath, `the manifest cannot be read (${(error as Error).message})`, error);
  }
  return parseRecord(frameManifest, json, manifestPath);
}

/**
 * JPEG of each frame of a manifest as it lies in its folder, checked by its hash; nothing is decoded.
 *
 * @throws VideoError `VIDEO_FRAMES_INVALID` when a file is missing or was changed, or when frames are kept in another form than JPEG.
 */
export async function readJpegs(manifestPath: string): Promise<Uint8Array[]> {
  const jpegs: Uint8Array[] = [];
  const { frames } = await readManifest(manifestPath);
  for (const [i, { file, sha256: hash }] of frames.entries()) {
    if (file === undefined || !/^[\w-]+\.jpg$/u.test(file)) throw invalidFrames(manifestPath, `frame ${i} is no JPEG`);
    // A repeated frame is the file before it.
    if (i > 0 && frames[i - 1]!.file === file) {
      jpegs.push(jpegs[i - 1]!);
      continue;
    }
    const data = await readFile(join(dirname(manifestPath), file)).catch((error: unknown) => Promise.reject(invalidFrames(manifestPath, `${file} cannot be read`, error)));
    if (sha256(data) !== hash) throw invalidFrames(manifestPath, `${file} was changed`);
    jpegs.push(data);
  }
  return jpegs;
}

/**
 * Reads back the frames of a manifest.
 *
 * @throws VideoError `VIDEO_FRAMES_INVALID` when a file is missing, has another size or was changed.
 */
export async function readFrames(manifestPath: string): Promise<EpisodeFrames> {
  const invalid = (what: string, cause?: unknown): never => {
    throw invalidFrames(manifestPath, what, cause);
  };
  const manifest = await readManifest(manifestPath);
  const { width, height } = manifest.plan;
  const size = width * height * 3;
  if (width * height > MAX_PIXELS || manifest.frames.length * size > MAX_BYTES) return invalid(`${manifest.frames.length} frames of ${width} x ${height} pixels are more than one drama has`);
  const frames = new Uint8Array(manifest.frames.length * size);
  const { default: sharp } = await import("sharp");
  let raw: Uint8Array | undefined;
  for (const [i, entry] of manifest.frames.entries()) {
    const { file } = entry;
    if (file === undefined || !/^[\w-]+\.(?:jpg|png|rgb)$/u.test(file)) return invalid(`frame ${i} names no usable file`);
    const isRaw = file.endsWith(".rgb");
    const whole = isRaw && raw ? raw : await readFile(join(dirname(manifestPath), file)).catch((error: unknown) => invalid(`${file} cannot be read`, error));
    if (isRaw) raw = whole;
    const data = isRaw ? whole.subarray(i * size, (i + 1) * size) : whole;
    if (entry.sha256 !== undefined && sha256(data) !== entry.sha256) invalid(`${file} was changed`);
    const rgb = isRaw ? data : await sharp(data).removeAlpha().raw().toBuffer();
    if (rgb.length !== size) invalid(`${file} is not ${width} x ${height} pixels`);
    frames.set(rgb, i * size);
  }
  return { frames, frameCount: manifest.frames.length, width, height, secondsPerGrid: manifest.secondPerGrid, labels: manifest.frames.map(({ label }) => label), manifest };
}
