import { readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { canonicalJson, frameManifest, parseRecord, sha256, writeFileAtomically, writeFolderAtomically, type FrameManifest } from "@dramascope/schema";
import { decodeDrama, type DramaFrames, type DramaOptions, type EpisodeFrames, type EpisodeInput } from "./drama.ts";
import { VideoError } from "./errors.ts";

/** Form of frames on disk. */
export type FrameFormat = "jpeg" | "png" | "raw";

/** Options of {@link extractFrames}. */
export interface ExtractOptions extends DramaOptions {
  /** Folder that gets one folder an episode: `1`, `2`, … */
  out: string;
  /** `jpeg` is quality 90 without chroma subsampling, which would smear the red digits. Default `jpeg`. */
  format?: FrameFormat;
}

/** Frames in memory and where they were written. */
export interface ExtractedFrames extends DramaFrames {
  /** One manifest an episode, in order. */
  manifests: string[];
}

const ENDINGS: Readonly<Record<Exclude<FrameFormat, "raw">, string>> = { jpeg: "jpg", png: "png" };

async function encode(frame: Uint8Array, width: number, height: number, format: "jpeg" | "png"): Promise<Uint8Array> {
  const { default: sharp } = await import("sharp");
  const image = sharp(frame, { raw: { width, height, channels: 3 } });
  return format === "jpeg" ? image.jpeg({ quality: 90, chromaSubsampling: "4:4:4" }).toBuffer() : image.png().toBuffer();
}

/** JPEG of each frame of an episode, quality 90. */
export async function encodeJpegs({ frames, frameCount, width, height }: Pick<EpisodeFrames, "frames" | "frameCount" | "width" | "height">): Promise<Uint8Array[]> {
  const size = width * height * 3;
  return Promise.all(Array.from({ length: frameCount }, (_, i) => encode(frames.subarray(i * size, (i + 1) * size), width, height, "jpeg")));
}

/** Writes one episode's frames and manifest as a folder, whole or absent. Returns the manifest's path. */
export async function writeEpisodeFrames(folder: string, episode: EpisodeFrames, format: FrameFormat = "jpeg"): Promise<string> {
  await writeFolderAtomically(folder, async (temporary) => {
    const { width, height, frames } = episode;
    const size = width * height * 3;
    const manifest: FrameManifest = structuredClone(episode.manifest);
    if (format === "raw") await writeFile(join(temporary, "frames.rgb"), frames);
    for (const entry of manifest.frames) {
      const rgb = frames.subarray(entry.i * size, (entry.i + 1) * size);
      const data = format === "raw" ? rgb : await encode(rgb, width, height, format);
      entry.file = format === "raw" ? "frames.rgb" : `${String(entry.i).padStart(6, "0")}.${ENDINGS[format]}`;
      entry.bytes = data.length;
      entry.sha256 = sha256(data);
      if (format !== "raw") await writeFile(join(temporary, entry.file), data);
    }
    await writeFileAtomically(join(temporary, "manifest.json"), `${canonicalJson(manifest)}\n`);
  });
  return join(resolve(folder), "manifest.json");
}

/** From episode files to numbered frames on disk and in memory: the one call for applications. */
export async function extractFrames(episodes: readonly EpisodeInput[], options: ExtractOptions): Promise<ExtractedFrames> {
  const drama = await decodeDrama(episodes, options);
  const manifests: string[] = [];
  for (const [i, episode] of drama.episodes.entries()) manifests.push(await writeEpisodeFrames(join(options.out, String(i + 1)), episode, options.format));
  return { ...drama, manifests };
}

/**
 * Reads back the frames of a manifest.
 *
 * @throws VideoError `VIDEO_FRAMES_INVALID` when a file is missing, has another size or was changed.
 */
export async function readFrames(manifestPath: string): Promise<EpisodeFrames> {
  const invalid = (what: string, cause?: unknown): never => {
    throw new VideoError(`${manifestPath}: ${what}`, { code: "VIDEO_FRAMES_INVALID", path: manifestPath, cause, hint: "Extract the frames again." });
  };
  let json: unknown;
  try {
    json = JSON.parse(await readFile(manifestPath, "utf8"));
  } catch (error) {
    return invalid(`the manifest cannot be read (${(error as Error).message})`, error);
  }
  const manifest = parseRecord(frameManifest, json, manifestPath);
  const { width, height } = manifest.plan;
  const size = width * height * 3;
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
