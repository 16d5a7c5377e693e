import { sampleCorrelation } from "simple-statistics";

/** True when all values are equal. */
export function isConstant(values: ArrayLike<number>): boolean {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false;
  return true;
}

const withinOne = (correlation: number): number => Math.min(1, Math.max(-1, correlation));

const asList = (values: ArrayLike<number>): number[] => (Array.isArray(values) ? (values as number[]) : Array.from(values));

/** Pearson's correlation; null when there are fewer than two values or a side is constant. */
export function pearson(x: ArrayLike<number>, y: ArrayLike<number>): number | null {
  if (x.length < 2 || isConstant(x) || isConstant(y)) return null;
  return withinOne(sampleCorrelation(asList(x), asList(y)));
}

/** Values replaced by the position of their value among the distinct ones. */
interface DenseRanks {
  /** 0 … distinct − 1, one a value. */
  ranks: Uint32Array;
  /** How often each rank occurs. */
  counts: Uint32Array;
}

/** Positions of values among their distinct values, by binary search. */
function denseRanks(values: ArrayLike<number>): DenseRanks {
  const own = Float64Array.from(asList(values));
  const sorted = own.slice().sort();
  let distinct = 0;
  for (let i = 0; i < sorted.length; i++) if (i === 0 || sorted[i] !== sorted[distinct - 1]) sorted[distinct++] = sorted[i]!;
  const ranks = new Uint32Array(own.length);
  const counts = new Uint32Array(distinct);
  for (let i = 0; i < own.length; i++) {
    const value = own[i]!;
    let low = 0;
    let high = distinct - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[middle]! < value) low = middle + 1;
      else high = middle;
    }
    ranks[i] = low;
    counts[low]!++;
  }
  return { ranks, counts };
}

/** Ranks from 1, equal values sharing their mean rank. */
function averageRanks({ ranks, counts }: DenseRanks): number[] {
  const averages = new Float64Array(counts.length);
  let before = 0;
  for (let i = 0; i < counts.length; i++) {
    averages[i] = before + (counts[i]! + 1) / 2;
    before += counts[i]!;
  }
  const out = new Array<number>(ranks.length).fill(0);
  for (let i = 0; i < ranks.length; i++) out[i] = averages[ranks[i]!]!;
  return out;
}

/** Rank correlations. */
export interface RankCorrelations {
  /** Spearman's, with average ranks for ties. */
  srcc: number | null;
  /** Kendall's τ-b. */
  kendall: number | null;
}

/** Spearman's and Kendall's correlation in n log n; null as {@link pearson} is. */
export function rankCorrelations(x: ArrayLike<number>, y: ArrayLike<number>): RankCorrelations {
  if (x.length < 2 || isConstant(x) || isConstant(y)) return { srcc: null, kendall: null };
  const [first, second] = [denseRanks(x), denseRanks(y)];
  return { srcc: pearson(averageRanks(first), averageRanks(second)), kendall: kendall(first, second) };
}

/** Pairs of equal values: Σ t(t−1)/2. */
const tiedPairs = (counts: Uint32Array): number => counts.reduce((pairs, count) => pairs + (count * (count - 1)) / 2, 0);

/** Positions ordered by rank: a counting sort. */
function orderBy({ ranks, counts }: DenseRanks): Uint32Array {
  const next = new Uint32Array(counts.length);
  for (let i = 1; i < counts.length; i++) next[i] = next[i - 1]! + counts[i - 1]!;
  const order = new Uint32Array(ranks.length);
  for (let i = 0; i < ranks.length; i++) order[next[ranks[i]!]!++] = i;
  return order;
}

/** Counts of ranks that can be added to and summed up to a rank in log n steps (Fenwick 1994). */
class CumulativeCounts {
  readonly #tree: Uint32Array;

  constructor(size: number) {
    this.#tree = new Uint32Array(size + 1);
  }

  add(rank: number): void {
    for (let i = rank + 1; i < this.#tree.length; i += i & -i) this.#tree[i]!++;
  }

  /** How many added ranks are below this one. */
  below(rank: number): number {
    let sum = 0;
    for (let i = rank; i > 0; i -= i & -i) sum += this.#tree[i]!;
    return sum;
  }
}

/** Kendall's τ-b (after Christensen 2005) of two sides that both vary. */
function kendall(x: DenseRanks, y: DenseRanks): number {
  const n = x.ranks.length;
  const [fine, coarse] = x.counts.length > y.counts.length ? [x, y] : [y, x]; // the tree is over the side with fewer values: τ-b is symmetric
  const order = orderBy(fine);
  const seen = new CumulativeCounts(coarse.counts.length);
  let balance = 0; // concordant − discordant
  for (let start = 0, end = 0; start < n; start = end) {
    end = start + fine.counts[fine.ranks[order[start]!]!]!;
    for (let i = start; i < end; i++) {
      const rank = coarse.ranks[order[i]!]!;
      balance += seen.below(rank) - (start - seen.below(rank + 1));
    }
    for (let i = start; i < end; i++) seen.add(coarse.ranks[order[i]!]!);
  }
  const all = (n * (n - 1)) / 2;
  return withinOne(balance / Math.sqrt(all - tiedPairs(fine.counts)) / Math.sqrt(all - tiedPairs(coarse.counts)));
}
