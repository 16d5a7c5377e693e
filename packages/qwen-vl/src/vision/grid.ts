import { QwenVlError } from "../errors.ts";
import type { Grid } from "../config-types.ts";

/**
 * Checks an item's grid: whole numbers, sides that merge evenly.
 *
 * @returns Its rows and columns of merged units.
 */
export function mergedGrid(grid: Grid, spatialMerge: number): { frames: number; rows: number; columns: number } {
  const [t, h, w] = grid;
  const isSide = (side: number): boolean => Number.isSafeInteger(side) && side > 0 && side % spatialMerge === 0;
  if (!Number.isSafeInteger(t) || t < 1 || !isSide(h) || !isSide(w) || t * h * w > 2 ** 31) {
    throw new QwenVlError(`a grid of [${grid.join(", ")}] patches is not usable`, { code: "GRID", hint: `Give temporal grids, rows and columns as positive integers, rows and columns multiples of ${spatialMerge}.` });
  }
  return { frames: t, rows: h / spatialMerge, columns: w / spatialMerge };
}
