import { classOf } from "./classes.ts";

/** The paper's three figures, and the bias. */
export const FIGURES = ["accuracy", "mse", "pcc", "bias"] as const;
/** One of the paper's three figures, or the bias. */
export type FigureName = (typeof FIGURES)[number];
/** One of the paper's three figures. */
export type TrioMetric = "accuracy" | "mse" | "pcc";

/** The four figures of one set of items; NaN where undefined. Internal: results say null. */
export type Figures = Record<FigureName, number>;

/** Items prepared for computing their figures many times over. */
export interface FigureItems {
  /** Items. */
  n: number;
  /** Figures of the items at these positions, each as often as it is named. */
  at: (positions: ArrayLike<number>) => Figures;
  /** Figures with one item left out, for each item. */
  leaveOneOut: () => Figures[];
}

/** Sums over items; all but `n` and `hits` over counted items. */
interface Sums {
  n: number;
  hits: number;
  counted: number;
  squared: number;
  error: number;
  x: number;
  y: number;
  xx: number;
  yy: number;
  xy: number;
}

function figuresOf(sums: Sums, isDefined: boolean): Figures {
  const { n, hits, counted, squared, error, x, y, xx, yy, xy } = sums;
  const correlation = (xy - (x * y) / counted) / Math.sqrt((xx - (x * x) / counted) * (yy - (y * y) / counted));
  return { accuracy: hits / n, mse: squared / counted, bias: error / counted, pcc: isDefined ? Math.min(1, Math.max(-1, correlation)) : Number.NaN };
}

/** Spread that rounding alone can leave of a constant, against the spread of all items. */
const CONSTANT = 1e-12;

/**
 * Prepares items. Sums run over centred values, so that one pass is exact enough.
 *
 * @param predictions NaN marks a missing answer: wrong for accuracy, left out of the rest.
 * @param isCounted   Items that enter MSE, PCC and bias. Default: those with an answer.
 */
export function figureItems(gold: ArrayLike<number>, predictions: ArrayLike<number>, isCounted: (i: number) => boolean = (i) => !Number.isNaN(predictions[i]!)): FigureItems {
  const n = gold.length;
  const centre = (values: ArrayLike<number>): Float64Array => {
    let [sum, count] = [0, 0];
    for (let i = 0; i < n; i++) if (isCounted(i)) [sum, count] = [sum + values[i]!, count + 1];
    return Float64Array.from({ length: n }, (_, i) => (isCounted(i) ? values[i]! - sum / count : 0));
  };
  const xs = centre(gold);
  const ys = centre(predictions);
  const counts = Uint8Array.from({ length: n }, (_, i) => (isCounted(i) ? 1 : 0));
  const hits = Uint8Array.from({ length: n }, (_, i) => (classOf(predictions[i]!) === gold[i] ? 1 : 0));
  const errors = Float64Array.from({ length: n }, (_, i) => (isCounted(i) ? predictions[i]! - gold[i]! : 0));
  const sumsAt = (positions: ArrayLike<number>): { sums: Sums; varies: boolean } => {
    let [hit, counted, squared, error, x, y, xx, yy, xy] = [0, 0, 0, 0, 0, 0, 0, 0, 0];
    let [lowX, highX, lowY, highY] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let k = 0; k < positions.length; k++) {
      const i = positions[k]!;
      hit += hits[i]!;
      if (counts[i] === 0) continue;
      const dx = xs[i]!;
      const dy = ys[i]!;
      const e = errors[i]!;
      counted++;
      error += e;
      squared += e * e;
      x += dx;
      y += dy;
      xx += dx * dx;
      yy += dy * dy;
      xy += dx * dy;
      if (dx < lowX) lowX = dx;
      if (dx > highX) highX = dx;
      if (dy < lowY) lowY = dy;
      if (dy > highY) highY = dy;
    }
    return { sums: { n: positions.length, hits: hit, counted, squared, error, x, y, xx, yy, xy }, varies: highX > lowX && highY > lowY };
  };
  return {
    n,
    at: (positions) => {
      const { sums, varies } = sumsAt(positions);
      return figuresOf(sums, varies);
    },
    leaveOneOut: () => {
      const all = sumsAt(everyPosition(n)).sums;
      return Array.from({ length: n }, (_, i) => {
        const [dx, dy, e] = [xs[i]!, ys[i]!, errors[i]!];
        const [x, y, counted] = [all.x - dx, all.y - dy, all.counted - counts[i]!];
        const [xx, yy] = [all.xx - dx * dx, all.yy - dy * dy];
        const rest: Sums = { n: n - 1, hits: all.hits - hits[i]!, counted, squared: all.squared - e * e, error: all.error - e, x, y, xx, yy, xy: all.xy - dx * dy };
        return figuresOf(rest, xx - (x * x) / counted > CONSTANT * all.xx && yy - (y * y) / counted > CONSTANT * all.yy);
      });
    },
  };
}

/** 0 … n − 1. */
export const everyPosition = (n: number): Uint32Array => Uint32Array.from({ length: n }, (_, i) => i);

/** Null for what does not exist. */
export const orNull = (value: number): number | null => (Number.isFinite(value) ? value : null);
