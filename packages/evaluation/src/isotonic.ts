import { checkCalibrationData, type CalibrationData } from "./calibration-data.ts";

/** A non-decreasing curve from score to target. */
export interface IsotonicModel {
  /** Tells calibrations apart. */
  kind: "isotonic";
  /** Distinct scores of the data, ascending. */
  knots: number[];
  /** Target at each knot, never falling. */
  values: number[];
}

/** Neighbouring knots with their common target. */
interface Pool {
  size: number;
  weight: number;
  value: number;
}

/**
 * Isotonic regression: the non-decreasing curve with the least weighted squared error. Equal scores are pooled to their weighted mean, then
 * neighbours that would fall (pool adjacent violators, Barlow et al. 1972).
 *
 * @throws EvaluationError `CALIBRATION_DATA`.
 */
export function fitIsotonic(data: CalibrationData): IsotonicModel {
  checkCalibrationData(data);
  const { x, y, weights } = data;
  const order = Array.from({ length: x.length }, (_, i) => i).sort((a, b) => x[a]! - x[b]!);
  const knots: number[] = [];
  const pools: Pool[] = [];
  for (let start = 0; start < order.length; ) {
    const knot = x[order[start]!]!;
    let [sum, weight, end] = [0, 0, start];
    for (; end < order.length && x[order[end]!] === knot; end++) {
      const w = weights?.[order[end]!] ?? 1;
      sum += w * y[order[end]!]!;
      weight += w;
    }
    start = end;
    knots.push(knot);
    let pool: Pool = { size: 1, weight, value: sum / weight };
    while (pools.length > 0 && pools.at(-1)!.value >= pool.value) pool = merge(pools.pop()!, pool);
    pools.push(pool);
  }
  return { kind: "isotonic", knots, values: pools.flatMap(({ size, value }) => new Array<number>(size).fill(value)) };
}

function merge(left: Pool, right: Pool): Pool {
  const weight = left.weight + right.weight;
  return { size: left.size + right.size, weight, value: (left.weight * left.value + right.weight * right.value) / weight };
}

/** Value of the curve: linear between knots, constant outside. */
export function applyIsotonic({ knots, values }: IsotonicModel, x: number): number {
  let [low, high] = [0, knots.length - 1];
  if (x <= knots[low]!) return values[low]!;
  if (x >= knots[high]!) return values[high]!;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (knots[middle]! <= x) low = middle;
    else high = middle;
  }
  return values[low]! + ((values[high]! - values[low]!) * (x - knots[low]!)) / (knots[high]! - knots[low]!);
}
