import { windowLayout } from "./layout.ts";
import type { VisionConfig } from "../config-types.ts";
import type { SegmentRun } from "./block.ts";

/** Order of the patches of one temporal grid in the tower, windows of one size side by side. */
export interface FrameLayout {
  /** Patch (in file order) at each place. */
  patches: Int32Array;
  /** Merged unit (raster order) at each place. */
  units: Int32Array;
  /** Place of each merged unit. */
  places: Int32Array;
  /** [2·patches]: y of every place, then x. */
  coordinates: Int32Array;
  /** Runs of equal windows. */
  windows: SegmentRun[];
}

/** Layout of frames of h x w patches. */
export function frameLayout(h: number, w: number, vision: VisionConfig): FrameLayout {
  const unit = vision.spatialMergeSize ** 2;
  const standard = windowLayout([[1, h, w]], { windowSize: vision.windowSize, patchSize: vision.patchSize, spatialMerge: vision.spatialMergeSize });
  const cuts = standard.cuWindow;
  const sizes = cuts.slice(1).map((end, i) => end - cuts[i]!);
  const order = sizes.map((_, i) => i).filter((i) => sizes[i]! > 0).sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  const units: number[] = [];
  const windows: SegmentRun[] = [];
  for (const i of order) {
    const last = windows.at(-1);
    if (last !== undefined && last.size === sizes[i]) last.count += 1;
    else windows.push({ first: units.length * unit, count: 1, size: sizes[i]! });
    for (let place = cuts[i]! / unit; place < cuts[i + 1]! / unit; place++) units.push(standard.windowIndex[place]!);
  }
  const places = new Int32Array(units.length);
  units.forEach((u, place) => (places[u] = place));
  const patches = Int32Array.from(units.flatMap((u) => Array.from({ length: unit }, (_, i) => u * unit + i)));
  const count = h * w;
  const coordinates = new Int32Array(2 * count);
  patches.forEach((patch, place) => {
    coordinates[place] = standard.ropeY[patch]!;
    coordinates[count + place] = standard.ropeX[patch]!;
  });
  return { patches, units: Int32Array.from(units), places, coordinates, windows };
}
