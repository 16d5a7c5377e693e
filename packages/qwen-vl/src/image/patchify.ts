import { QwenVlError } from "../errors.ts";
import { checkInteger } from "../options.ts";
import type { Grid } from "../config-types.ts";
import type { VisionItem } from "../prompt-types.ts";

/** Sizes of patches. */
export interface PatchifyOptions {
  /** Pixels of a patch's side. Default 14. */
  patch?: number;
  /** Patches merged along each side. Default 2. */
  merge?: number;
}

/** Distances between neighbours in the pixel bytes. */
interface Strides {
  frame: number;
  channel: number;
  row: number;
  column: number;
}

function cutPatches(pixels: Uint8Array, strides: Strides, frameCount: number, height: number, width: number, { patch = 14, merge = 2 }: PatchifyOptions): { patches: Uint8Array; grid: Grid } {
  checkInteger("patch", patch, 1);
  checkInteger("merge", merge, 1);
  const cell = patch * merge;
  if (!Number.isSafeInteger(frameCount) || frameCount < 1 || !(height >= cell) || !(width >= cell) || height % cell !== 0 || width % cell !== 0) {
    throw new QwenVlError(`${frameCount} frames of ${height} x ${width} pixels cannot be cut into patches`, { code: "FRAME_SIZE", hint: `Give at least one frame whose sides are multiples of ${cell}.` });
  }
  if (pixels.length !== frameCount * height * width * 3) {
    throw new QwenVlError(`${frameCount} frames of ${height} x ${width} pixels need ${frameCount * height * width * 3} bytes, ${pixels.length} were given`, { code: "FRAME_BYTES", hint: "Give three bytes a pixel, one frame after another." });
  }
  const grid: Grid = [Math.ceil(frameCount / 2), height / patch, width / patch];
  const [t, h, w] = grid;
  const patches = new Uint8Array(t * h * w * 6 * patch * patch);
  let at = 0;
  for (let pair = 0; pair < t; pair++) {
    for (let blockY = 0; blockY < h; blockY += merge) {
      for (let blockX = 0; blockX < w; blockX += merge) {
        for (let iy = 0; iy < merge; iy++) {
          for (let ix = 0; ix < merge; ix++) {
            for (let channel = 0; channel < 3; channel++) {
              for (let dt = 0; dt < 2; dt++) {
                const frame = Math.min(frameCount - 1, pair * 2 + dt); // an odd count repeats the last frame
                const corner = frame * strides.frame + channel * strides.channel + (blockY + iy) * patch * strides.row + (blockX + ix) * patch * strides.column;
                for (let dy = 0; dy < patch; dy++) {
                  for (let dx = 0; dx < patch; dx++) patches[at++] = pixels[corner + dy * strides.row + dx * strides.column]!;
                }
              }
            }
          }
        }
      }
    }
  }
  return { patches, grid };
}

/**
 * Cuts planar frames into the model's patch rows.
 *
 * @param frames Bytes [frameCount, 3, height, width]; sides are multiples of patch · merge.
 * @returns      Bytes [t·h·w, 3·2·patch·patch] and the grid in patches; an odd count repeats the last frame.
 * @throws QwenVlError when the sides do not fit the patches, or the bytes the sides.
 */
export function patchify(frames: Uint8Array, frameCount: number, height: number, width: number, options: PatchifyOptions = {}): { patches: Uint8Array; grid: Grid } {
  return cutPatches(frames, { frame: 3 * height * width, channel: height * width, row: width, column: 1 }, frameCount, height, width, options);
}

/** Frames as rgb24 bytes, one after another. */
export interface RgbFrames {
  /** [frameCount, height, width, 3]. */
  frames: Uint8Array;
  frameCount: number;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** Seconds that a pair of frames stands for. Default 2 (1 FPS). */
  secondsPerGrid?: number;
}

/** Frames of one video as an item for the model; patches stay bytes until they are uploaded. */
export function framesToVisionItem({ frames, frameCount, width, height, secondsPerGrid = 2 }: RgbFrames, options: PatchifyOptions = {}): VisionItem {
  const { patches, grid } = cutPatches(frames, { frame: height * width * 3, channel: 1, row: width * 3, column: 3 }, frameCount, height, width, options);
  return { kind: "video", grid, patches, secondsPerGrid };
}
