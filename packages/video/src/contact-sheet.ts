import type { EpisodeFrames } from "./drama.ts";

/** Options of {@link contactSheet}. */
export interface ContactSheetOptions {
  /** Thumbnails side by side. Default 10. */
  columns?: number;
  /** Widest thumbnail, pixels. Default 160. */
  thumbnailWidth?: number;
  /** Most thumbnails; longer episodes are thinned out evenly. Default 40. */
  maxFrames?: number;
}

/** A PNG that shows what the model saw of one episode, its frames in order. For people only. */
export async function contactSheet({ frames, frameCount, width, height }: Pick<EpisodeFrames, "frames" | "frameCount" | "width" | "height">, options: ContactSheetOptions = {}): Promise<Uint8Array> {
  const { columns = 10, thumbnailWidth = 160, maxFrames = 40 } = options;
  const { default: sharp } = await import("sharp");
  const size = width * height * 3;
  const shown = Math.min(frameCount, maxFrames);
  const picked = Array.from({ length: shown }, (_, i) => Math.floor((i * frameCount) / shown));
  const scale = Math.min(1, thumbnailWidth / width);
  const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const gap = 4;
  const across = Math.min(columns, shown);
  const composite = await Promise.all(
    picked.map(async (frame, i) => ({
      input: await sharp(frames.subarray(frame * size, (frame + 1) * size), { raw: { width, height, channels: 3 } }).resize(w, h).png().toBuffer(),
      left: gap + (i % across) * (w + gap),
      top: gap + Math.floor(i / across) * (h + gap),
    })),
  );
  const sheet = sharp({ create: { width: gap + across * (w + gap), height: gap + Math.ceil(shown / across) * (h + gap), channels: 3, background: "#1b1d23" } });
  return sheet.composite(composite).png().toBuffer();
}
