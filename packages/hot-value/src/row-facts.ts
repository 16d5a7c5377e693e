import { INDICATORS, type IndicatorName } from "./indicators.ts";

/** Rows that stand for all in the rank correlations, at most. */
const MAX_SAMPLE = 20_000;
/** From here on two indicators say the same twice. */
const HIGH_CORRELATION = 0.98;

/** What the rows of the population say of the indicators. */
export interface RowFacts {
  /** Share of zeros, by indicator. */
  zeroShare: Record<IndicatorName, number>;
  /** Pairs whose rank correlation is above 0.98, taken on `sampleRows` rows. */
  doubled: { pair: [IndicatorName, IndicatorName]; rankCorrelation: number }[];
  /** Rows that the correlations were taken on. */
  sampleRows: number;
}

/** Average ranks, equal values sharing theirs. */
function ranks(values: readonly number[]): Float64Array {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const out = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let i = from; i < to; i++) out[order[i]!] = (from + to - 1) / 2;
    from = to;
  }
  return out;
}

function correlation(a: Float64Array, b: Float64Array): number {
  const middle = (a.length - 1) / 2;
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += (a[i]! - middle) * (b[i]! - middle);
    aa += (a[i]! - middle) ** 2;
    bb += (b[i]! - middle) ** 2;
  }
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}

function countZeros(column: Float64Array, isUsed: Int32Array, length: number): number {
  let count = 0;
  for (let i = 0; i < length; i++) if (column[i] === 0 && isUsed[i]! >= 0) count++;
  return count;
}

/** Counts zeros and keeps evenly spread rows; `isUsed[i]` below 0 passes over row i. */
export function createRowFacts(): { add(columns: readonly Float64Array[], isUsed: Int32Array, length: number): void; finish(): RowFacts } {
  const zeros = new Float64Array(INDICATORS.length);
  let sample = INDICATORS.map((): number[] => []);
  let stride = 1;
  let seen = 0;
  let next = 0;
  return {
    add(columns, isUsed, length) {
      columns.forEach((column, k) => (zeros[k]! += countZeros(column, isUsed, length)));
      for (let i = 0; i < length; i++) {
        if (isUsed[i]! < 0 || seen++ < next) continue;
        next += stride;
        for (let k = 0; k < columns.length; k++) sample[k]!.push(columns[k]![i]!);
        if (sample[0]!.length < 2 * MAX_SAMPLE) continue;
        sample = sample.map((values) => values.filter((_, j) => j % 2 === 0));
        stride *= 2;
        next = Math.ceil(seen / stride) * stride;
      }
    },
    finish() {
      const ranked = sample.map(ranks);
      const pairs = INDICATORS.flatMap((a, i) => INDICATORS.slice(i + 1).map((b, j) => ({ pair: [a, b] as [IndicatorName, IndicatorName], rankCorrelation: correlation(ranked[i]!, ranked[i + 1 + j]!) })));
      return {
        zeroShare: Object.fromEntries(INDICATORS.map((name, k) => [name, seen === 0 ? 0 : zeros[k]! / seen])) as Record<IndicatorName, number>,
        doubled: pairs.filter(({ rankCorrelation }) => rankCorrelation > HIGH_CORRELATION),
        sampleRows: sample[0]!.length,
      };
    },
  };
}
