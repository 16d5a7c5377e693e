import { isShown } from "./scale.ts";

/** [x, y]. */
export type Point = readonly [x: number, y: number];

/** Exponential mean over y with the start's bias removed; values that are not finite are passed on and change nothing. */
export function smoothed(points: readonly Point[], weight: number): Point[] {
  let mean = 0;
  let mass = 0;
  return points.map(([x, y]) => {
    if (!isShown(y)) return [x, y];
    mean = weight * mean + (1 - weight) * y;
    mass = weight * mass + (1 - weight);
    return [x, mean / mass];
  });
}

/** Least and greatest point of each of `columns` runs, in order: the same picture from fewer points. */
export function thinned(points: readonly Point[], columns: number): readonly Point[] {
  const size = Math.ceil(points.length / Math.max(1, Math.floor(columns)));
  if (size <= 2) return points;
  const kept: Point[] = [];
  for (let start = 0; start < points.length; start += size) {
    const run = points.slice(start, start + size);
    const order = run.map((_, i) => i).filter((i) => isShown(run[i]![1])).sort((a, b) => run[a]![1] - run[b]![1]);
    const ends = order.length === 0 ? [0] : [...new Set([order[0]!, order.at(-1)!])].sort((a, b) => a - b);
    kept.push(...ends.map((i) => run[i]!));
  }
  return kept;
}
