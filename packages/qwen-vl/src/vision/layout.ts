import { QwenVlError } from "../errors.ts";
import type { Grid } from "../config-types.ts";
import { mergedGrid } from "./grid.ts";

/** Options of {@link windowLayout}. */
export interface WindowOptions {
  /** Pixels. */
  windowSize: number;
  /** Pixels. */
  patchSize: number;
  /** Patches merged along each side. */
  spatialMerge: number;
}

/** Order and segments of the patches of several items. */
export interface WindowLayout {
  /** Merged unit at each place of the window order. */
  windowIndex: Int32Array;
  /** Ends of the windows in patches, from 0. */
  cuWindow: number[];
  /** Ends of the frame pairs in patches, from 0. */
  cuFull: number[];
  /** Row of each patch in its frame, in file order. */
  ropeY: Int32Array;
  /** Column of each patch in its frame, in file order. */
  ropeX: Int32Array;
}

/** Cuts every frame pair of the items into windows, row by row; windows at the edges are smaller, never padded. */
export function windowLayout(grids: readonly Grid[], { windowSize, patchSize, spatialMerge }: WindowOptions): WindowLayout {
  const side = Math.floor(windowSize / patchSize / spatialMerge);
  if (!(side >= 1)) throw new QwenVlError(`a window of ${windowSize} pixels is smaller than a merged patch of ${patchSize * spatialMerge}`, { code: "WINDOW", hint: "Use the sizes of the checkpoint's config.json." });
  const unit = spatialMerge ** 2;
  const windowIndex: number[] = [];
  const cuWindow = [0];
  const cuFull = [0];
  const ropeY: number[] = [];
  const ropeX: number[] = [];
  let first = 0;
  for (const grid of grids) {
    const { frames, rows, columns } = mergedGrid(grid, spatialMerge);
    for (let frame = 0; frame < frames; frame++, first += rows * columns) {
      for (let top = 0; top < rows; top += side) {
        for (let left = 0; left < columns; left += side) {
          const bottom = Math.min(rows, top + side);
          const right = Math.min(columns, left + side);
          for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) windowIndex.push(first + y * columns + x);
          cuWindow.push(cuWindow.at(-1)! + (bottom - top) * (right - left) * unit);
        }
      }
      cuFull.push(cuFull.at(-1)! + rows * columns * unit);
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
          for (let dy = 0; dy < spatialMerge; dy++) {
            for (let dx = 0; dx < spatialMerge; dx++) {
              ropeY.push(y * spatialMerge + dy);
              ropeX.push(x * spatialMerge + dx);
            }
          }
        }
      }
    }
  }
  return { windowIndex: Int32Array.from(windowIndex), cuWindow, cuFull, ropeY: Int32Array.from(ropeY), ropeX: Int32Array.from(ropeX) };
}
