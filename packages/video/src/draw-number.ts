import { DIGIT_GLYPHS } from "./digit-glyphs.ts";
import { assertCount } from "./options.ts";

/** Where and how the number is drawn. */
export interface Overlay {
  /** Default true. */
  enabled?: boolean;
  /** Default `bottom_right`. */
  position?: "bottom_right" | "bottom_left" | "top_right" | "top_left" | "center";
  /** Default red, [255, 0, 0]. */
  colour?: readonly [number, number, number];
  /** Black edge around the digits. Default false. */
  outline?: boolean;
  /** Pixels of one dot; default by the frame's size. */
  dot?: number;
}

const GLYPH_WIDTH = 6;
const GLYPH_HEIGHT = 9;

/** Side of a dot in pixels: grows with the frame, shrinks until the label fits. */
export function dotSize(width: number, height: number, label: number): number {
  const dots = 7 * String(label).length - 1 + 2;
  let dot = Math.max(2, Math.floor(Math.min(width, height) / 96 + 0.5));
  while (dot > 1 && dots * dot > width) dot--;
  return dot;
}

/**
 * Burns a number into a frame, in place: decimal digits of 6 x 9 dots, no font, no padding. Dots outside the frame are not drawn.
 *
 * @param rgb   rgb24 bytes [height, width, 3].
 * @param label Non-negative integer, seconds.
 * @throws VideoError `VIDEO_OPTIONS_INVALID`.
 */
export function drawNumber(rgb: Uint8Array, width: number, height: number, label: number, overlay: Overlay = {}): void {
  if (overlay.enabled === false) return;
  assertCount("label", label, 0);
  if (overlay.dot !== undefined) assertCount("dot", overlay.dot);
  const { position = "bottom_right", colour = [255, 0, 0], outline = false } = overlay;
  const dot = overlay.dot ?? dotSize(width, height, label);
  const digits = String(label);
  const boxWidth = (7 * digits.length - 1) * dot;
  const boxHeight = GLYPH_HEIGHT * dot;
  const left = position === "center" ? Math.floor((width - boxWidth) / 2) : position.endsWith("left") ? dot : width - dot - boxWidth;
  const top = position === "center" ? Math.floor((height - boxHeight) / 2) : position.startsWith("top") ? 2 * dot : height - 2 * dot - boxHeight;
  const paint = (spread: number, [red, green, blue]: readonly [number, number, number]): void => {
    for (let place = 0; place < digits.length; place++) {
      const glyph = DIGIT_GLYPHS[Number(digits[place])]!;
      for (let row = 0; row < GLYPH_HEIGHT; row++) {
        for (let column = 0; column < GLYPH_WIDTH; column++) {
          if (glyph[row]![column] !== "#") continue;
          const x0 = left + (place * 7 + column) * dot - spread;
          const y0 = top + row * dot - spread;
          const side = dot + 2 * spread;
          const [right, bottom] = [Math.min(width, x0 + side), Math.min(height, y0 + side)];
          for (let y = Math.max(0, y0); y < bottom; y++) {
            for (let x = Math.max(0, x0), at = (y * width + x) * 3; x < right; x++) {
              rgb[at++] = red;
              rgb[at++] = green;
              rgb[at++] = blue;
            }
          }
        }
      }
    }
  };
  if (outline) paint(Math.max(1, Math.floor(dot / 2)), [0, 0, 0]);
  paint(0, colour);
}
