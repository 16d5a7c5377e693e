import { sampleCorrelation } from "simple-statistics";

/** True when all values are equal. */
export function isConstant(values: ArrayLike<number>): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false;
  return true;
}

/** Pearson's correlation; null when there are fewer than two values or a side is constant. */
export function pearson(x: ArrayLike<number>, y: ArrayLike<number>): number | null {
  if (x.length < 2 || isConstant(x) || isConstant(y)) return null;
  return sampleCorrelation(Array.from(x), Array.from(y));
}

/** Ranks from 1, equal values sharing their mean rank. */
function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const out = new Float64Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let i = start; i < end; i++) out[order[i]!] = (start + end + 1) / 2;
    start = end;
  }
  return out;
}

/** Spearman's rank correlation. */
export function spearman(x: ArrayLike<number>, y: ArrayLike<number>): number | null {
  return pearson(ranks(x), ranks(y));
}

/** Pairs of equal neighbours in sorted values: Σ t(t−1)/2. */
function tiedPairs(sorted: readonly (number | string)[]): number {
  let pairs = 0;
  for (let start = 0; start < sorted.length; ) {
    let end = start + 1;
    while (end < sorted.length && sorted[end] === sorted[start]) end++;
    pairs += ((end - start) * (end - start - 1)) / 2;
    start = end;
  }
  return pairs;
}

/** Sorts a list by merging and counts the exchanges. */
function countInversions(values: Float64Array): number {
  const buffer = new Float64Array(values.length);
  let inversions = 0;
  for (let width = 1; width < values.length; width *= 2) {
    for (let start = 0; start < values.length; start += 2 * width) {
      const middle = Math.min(start + width, values.length);
      const end = Math.min(start + 2 * width, values.length);
      let [a, b] = [start, middle];
      for (let k = start; k < end; k++) {
        if (a < middle && (b >= end || values[a]! <= values[b]!)) buffer[k] = values[a++]!;
        else {
          buffer[k] = values[b++]!;
          inversions += middle - a;
        }
      }
    }
    values.set(buffer);
  }
  return inversions;
}

/** Kendall's τ-b in n log n (Knight 1966). */
export function kendall(x: ArrayLike<number>, y: ArrayLike<number>): number | null {
  const n = x.length;
  if (n < 2 || isConstant(x) || isConstant(y)) return null;
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => x[a]! - x[b]! || y[a]! - y[b]!);
  const all = (n * (n - 1)) / 2;
  const tiedX = tiedPairs(order.map((i) => x[i]!));
  const tiedY = tiedPairs(Array.from(y).sort((a, b) => a - b));
  const tiedBoth = tiedPairs(order.map((i) => `${x[i]!} ${y[i]!}`));
  const discordant = countInversions(Float64Array.from(order, (i) => y[i]!));
  const concordant = all - tiedX - tiedY + tiedBoth - discordant;
  return (concordant - discordant) / Math.sqrt((all - tiedX) * (all - tiedY));
}
