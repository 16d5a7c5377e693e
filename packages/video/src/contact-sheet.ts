import type { Frame } from "./decode.ts";
import { drawNumber } from "./draw-number.ts";
import { VideoError } from "./errors.ts";
import { assertCount } from "./options.ts";

/** Options of {@link contactSheet}. */
export interface ContactSheetOptions {
  /** Thumbnails side by side, an integer from 1. Default 10. */
  columns?: number;
  /** Widest thumbnail, pixels, an integer from 1; smaller frames are not enlarged. Default 160. */
  thumbnailWidth?: number;
  /** Most thumbnails, an integer from 1; of more frames some are shown, evenly spread from the first to the last. Default all. */
  maxFrames?: number;
}

type SheetFrame = Pick<Frame, "label" | "repeat" | "width" | "height" | "data">;
type Thumbnail = Pick<Frame, "label" | "repeat" | "data">;
type Colour = readonly [number, number, number];

const GROUND: Colour = [27, 29, 35];
const INK: Colour = [236, 236, 236];
const EDGE: Colour = [255, 0, 0];
/** Pixels between and around the cells. */
const GAP = 8;
/** Width of the red edge, which lies in the gap. */
const EDGE_WIDTH = 3;
const LABEL_HEIGHT = 24;

function filled(width: number, height: number, colour: Colour): Uint8Array {
  return new Uint8Array(Buffer.alloc(width * height * 3, Uint8Array.from(colour)));
}

/** `count` of the items, evenly spread from the first to the last. */
function spread<T>(items: readonly T[], count: number): readonly T[] {
  if (items.length <= count) return items;
  return Array.from({ length: count }, (_, i) => items[count === 1 ? 0 : Math.round((i * (items.length - 1)) / (count - 1))]!);
}

/**
 * A PNG that shows what the model saw of one episode: thumbnails in order, the label under each, a red edge round repeated frames.
 * For people; nothing reads it back.
 *
 * Frames are taken one at a time, so what a decoder hands out can be given as it is. Only thumbnails are held, about 140 kB each.
 *
 * @throws VideoError `VIDEO_NO_FRAMES` without frames, `VIDEO_FRAMES_INVALID` when sizes differ or a frame's bytes do not fit its size;
 *         what the source throws comes through.
 */
export async function contactSheet(frames: Iterable<SheetFrame> | AsyncIterable<SheetFrame>, options: ContactSheetOptions = {}): Promise<Uint8Array> {
  const { columns = 10, thumbnailWidth = 160, maxFrames = Number.MAX_SAFE_INTEGER } = options;
  for (const [name, value] of Object.entries({ columns, thumbnailWidth, maxFrames })) assertCount(name, value);
  const { default: sharp } = await import("sharp");
  const thumbnails: Thumbnail[] = [];
  let [width, height, w, h] = [0, 0, 0, 0];
  for await (const { label, repeat, data, ...size } of frames) {
    if (thumbnails.length === 0) {
      ({ width, height } = size);
      w = Math.min(width, thumbnailWidth);
      h = Math.max(1, Math.round((height * w) / width));
    }
    if (size.width !== width || size.height !== height || data.length !== width * height * 3) {
      throw new VideoError(`frame ${thumbnails.length} has ${data.length} bytes for ${size.width} x ${size.height} pixels, and the sheet is of ${width} x ${height} frames`, {
        code: "VIDEO_FRAMES_INVALID",
        hint: "Give rgb24 frames of one episode.",
      });
    }
    const small = w === width ? new Uint8Array(data) : await sharp(data, { raw: { width, height, channels: 3 } }).resize(w, h, { fit: "fill" }).raw().toBuffer();
    thumbnails.push({ label, repeat, data: small });
  }
  if (thumbnails.length === 0) throw new VideoError("a contact sheet was asked for without frames", { code: "VIDEO_NO_FRAMES", hint: "Give the frames of one episode." });
  const shown = spread(thumbnails, maxFrames);
  const across = Math.min(columns, shown.length);
  const sheetWidth = GAP + across * (w + GAP);
  const sheetHeight = GAP + Math.ceil(shown.length / across) * (h + LABEL_HEIGHT + GAP);
  const sheet = filled(sheetWidth, sheetHeight, GROUND);
  const place = (picture: Uint8Array, pictureWidth: number, left: number, top: number): void => {
    const row = pictureWidth * 3;
    for (let y = 0; y * row < picture.length; y++) sheet.set(picture.subarray(y * row, (y + 1) * row), ((top + y) * sheetWidth + left) * 3);
  };
  for (const [i, { label, repeat, data }] of shown.entries()) {
    const left = GAP + (i % across) * (w + GAP);
    const top = GAP + Math.floor(i / across) * (h + LABEL_HEIGHT + GAP);
    if (repeat) place(filled(w + 2 * EDGE_WIDTH, h + 2 * EDGE_WIDTH, EDGE), w + 2 * EDGE_WIDTH, left - EDGE_WIDTH, top - EDGE_WIDTH);
    place(data, w, left, top);
    const strip = filled(w, LABEL_HEIGHT - 2 * EDGE_WIDTH, GROUND);
    drawNumber(strip, w, LABEL_HEIGHT - 2 * EDGE_WIDTH, label, { position: "center", colour: INK });
    place(strip, w, left, top + h + EDGE_WIDTH);
  }
  return sharp(sheet, { raw: { width: sheetWidth, height: sheetHeight, channels: 3 } }).png().toBuffer();
}
