/** Different values and how often each counts. */
export interface WeightedValues {
  /** Ascending, no two equal. */
  values: Float64Array;
  /** As many, how often each counts. */
  counts: Uint32Array;
}

/** Sorted values, each once, with their counts. */
export function compress(sorted: Float64Array): WeightedValues {
  const values = new Float64Array(sorted.length);
  const counts = new Uint32Array(sorted.length);
  let last = -1;
  for (const value of sorted) {
    if (last < 0 || values[last] !== value) values[++last] = value;
    counts[last]!++;
  }
  return { values: values.subarray(0, last + 1), counts: counts.subarray(0, last + 1) };
}

/** Places at which the values may be parted, with sums over everything before each. */
interface Cuts {
  positions: Int32Array;
  n: Float64Array;
  sum: Float64Array;
  squares: Float64Array;
  /** 1 where other places between this cut and the next are still possible. */
  isOpen: Uint8Array;
}

const FIRST_CUTS = 4096;
const SPLIT = 8;

/** Sums of the values, less their centre, before each position; one sweep. */
function cutsAt(positions: Int32Array, { values, counts }: WeightedValues, centre: number, isOpen: Uint8Array): Cuts {
  const length = positions.length;
  const cuts: Cuts = { positions, n: new Float64Array(length), sum: new Float64Array(length), squares: new Float64Array(length), isOpen };
  let [n, sum, squares, at] = [0, 0, 0, 0];
  for (let i = 0; i < length; i++) {
    for (; at < positions[i]!; at++) {
      const value = values[at]! - centre;
      n += counts[at]!;
      sum += counts[at]! * value;
      squares += counts[at]! * value * value;
    }
    cuts.n[i] = n;
    cuts.sum[i] = sum;
    cuts.squares[i] = squares;
  }
  return cuts;
}

/** Sum of squared distances to the mean of what lies between two cuts. */
function cost({ n, sum, squares }: Cuts, from: number, to: number): number {
  const count = n[to]! - n[from]!;
  if (count <= 0) return 0;
  const total = sum[to]! - sum[from]!;
  return Math.max(0, squares[to]! - squares[from]! - (total * total) / count);
}

/**
 * Least cost of what lies before each cut in one class more than `previous` tells, with the boundary that gives it. Divide and conquer:
 * the best boundary never moves back as the cut moves on.
 *
 * @param costOf Cost with the last boundary at a cut; Infinity where that cannot be.
 */
function addClass(length: number, costOf: (boundary: number, cut: number) => number): { costs: Float64Array; boundaries: Int32Array } {
  const costs = new Float64Array(length).fill(Infinity);
  const boundaries = new Int32Array(length);
  const solve = (from: number, to: number, low: number, high: number): void => {
    if (from > to) return;
    const cut = (from + to) >> 1;
    let [least, where] = [Infinity, low];
    for (let boundary = low; boundary <= Math.min(high, cut); boundary++) {
      const value = costOf(boundary, cut);
      if (value < least) [least, where] = [value, boundary];
    }
    costs[cut] = least;
    boundaries[cut] = where;
    solve(from, cut - 1, low, where);
    solve(cut + 1, to, where, high);
  };
  solve(0, length - 1, 0, length - 1);
  return { costs, boundaries };
}

/** The best partition whose boundaries lie on cuts. */
function bestOnCuts(cuts: Cuts, k: number): { boundaries: number[]; sse: number } {
  const length = cuts.positions.length;
  let costs = Float64Array.from(cuts.positions, (_, cut) => (cut === 0 ? Infinity : cost(cuts, 0, cut)));
  const choices: Int32Array[] = [];
  for (let i = 1; i < k; i++) {
    const before = costs;
    const next = addClass(length, (boundary, cut) => (boundary === cut ? Infinity : before[boundary]! + cost(cuts, boundary, cut)));
    costs = next.costs as Float64Array<ArrayBuffer>;
    choices.unshift(next.boundaries);
  }
  const boundaries: number[] = [];
  let at = length - 1;
  for (const choice of choices) boundaries.unshift((at = choice[at]!));
  return { boundaries, sse: costs[length - 1]! };
}

/**
 * Two functions of boundary i (0 … k − 2): no partition costs less that has it at a cut, or in the space behind a cut. A boundary in an
 * open space is given the cost without the values of that space, which is never more than with them.
 */
function lowerBounds(cuts: Cuts, k: number): { atCut: (i: number, cut: number) => number; inSpace: (i: number, cut: number) => number } {
  const length = cuts.positions.length;
  const last = length - 1;
  const gap = cuts.isOpen;
  const before = [Float64Array.from(cuts.positions, (_, cut) => cost(cuts, 0, cut))];
  /** By distance from the end. */
  const behind = [Float64Array.from(cuts.positions, (_, distance) => cost(cuts, last - distance, last))];
  for (let i = 1; i < k - 1; i++) {
    const [left, right] = [before[i - 1]!, behind[i - 1]!];
    before.push(addClass(length, (boundary, cut) => (boundary + gap[boundary]! > cut ? Infinity : left[boundary]! + cost(cuts, boundary + gap[boundary]!, cut))).costs as Float64Array<ArrayBuffer>);
    const gapBehind = (distance: number): number => (distance === last ? 0 : gap[last - distance - 1]!);
    behind.push(addClass(length, (boundary, cut) => (boundary + gapBehind(boundary) > cut ? Infinity : right[boundary]! + cost(cuts, last - cut, last - boundary - gapBehind(boundary)))).costs as Float64Array<ArrayBuffer>);
  }
  return {
    atCut: (i, cut) => before[i]![cut]! + behind[k - 2 - i]![last - cut]!,
    inSpace: (i, cut) => before[i]![cut]! + behind[k - 2 - i]![last - cut - 1]!,
  };
}

/**
 * Global optimum of K-means in one dimension, as the positions at which classes 2 … k begin.
 *
 * Exact for any number of values in little memory: boundaries are first tried on a coarse grid of cuts. Where even the cheapest partition
 * with a boundary in a space costs more than the best one found, the space is given up; the other spaces are split, until none is left to split.
 *
 * @param data At least k different values.
 */
export function exactBoundaries(data: WeightedValues, k: number): number[] {
  const { values, counts } = data;
  const end = values.length;
  let [total, weight] = [0, 0];
  for (let i = 0; i < end; i++) {
    total += counts[i]! * values[i]!;
    weight += counts[i]!;
  }
  const split = (from: number, to: number, parts: number): number[] => Array.from({ length: Math.min(parts, to - from) }, (_, i) => from + Math.floor(((to - from) * i) / Math.min(parts, to - from)));
  let positions = Int32Array.from([...split(0, end, FIRST_CUTS), end]);
  let open = new Set(positions);
  for (;;) {
    const spaces = positions;
    const cuts = cutsAt(spaces, data, total / weight, Uint8Array.from(spaces, (from, i) => (i + 1 < spaces.length && open.has(from) && spaces[i + 1]! - from > 1 ? 1 : 0)));
    const { boundaries, sse } = bestOnCuts(cuts, k);
    if (!cuts.isOpen.includes(1)) return boundaries.map((cut) => spaces[cut]!);
    const limit = sse + 1e-9 * sse + 1e-12 * cuts.squares.at(-1)!;
    const { atCut, inSpace } = lowerBounds(cuts, k);
    const isPossible = (bound: (i: number, cut: number) => number, cut: number): boolean => {
      for (let i = 0; i < k - 1; i++) if (!(bound(i, cut) > limit)) return true;
      return false;
    };
    const kept = new Set<number>([0, end, ...boundaries.map((cut) => spaces[cut]!)]);
    open = new Set();
    spaces.forEach((from, cut) => {
      if (isPossible(atCut, cut)) kept.add(from);
      if (cuts.isOpen[cut] !== 1 || !isPossible(inSpace, cut)) return;
      const to = spaces[cut + 1]!;
      kept.add(to);
      for (const place of split(from, to, SPLIT)) {
        kept.add(place);
        open.add(place);
      }
    });
    positions = Int32Array.from(kept).sort();
  }
}
