import { hashJson, type FrameManifest } from "@dramascope/schema";

/** All that decides the bytes of an episode's frames. Not among them: the path, times, the ffmpeg version, whose output is equal over versions. */
export interface FrameCacheKeyParts {
  /** Of the episode's file, 64 hex digits. */
  sourceSha256: string;
  /** ffmpeg's filter graph. */
  filter: string;
  frames: number;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** Number on each frame. */
  labels: readonly number[];
  /** How numbers are drawn, every default filled in as in the manifest. */
  overlay: FrameManifest["overlay"];
  /** Form of the frames on disk. */
  format: "jpeg" | "png" | "raw";
  /** JPEG quality, 1 to 100; null for lossless forms. */
  quality: number | null;
}

/** Raised when the same parts come to mean other bytes. */
const KEY_VERSION = 1;

/** The key under which frames are kept: SHA-256 of the parts' canonical JSON, 64 hex digits. */
export function frameCacheKey({ sourceSha256, filter, frames, width, height, labels, overlay, format, quality }: FrameCacheKeyParts): string {
  return hashJson({ v: KEY_VERSION, sourceSha256, filter, frames, width, height, labels, overlay, format, quality });
}
