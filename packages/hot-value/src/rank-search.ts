/** Room of one pass for counters and for collected values, in bytes each. */
export interface RankSearchOptions {
  /** Default 128 MiB. */
  memoryBytes?: number;
}

/** One place that is searched: the values of one series whose first bits are `prefix`, and the ranks wanted among them. */
interface Probe {
  series: number;
  /** Rank of the smallest value of the place in its series. */
  offset: number;
  count: number;
  /** Ranks in the series, ascending. */
  ranks: number[];
  /** Values of the place, or counts by their next bits. */
  values: Float64Array | undefined;
  counts: Uint32Array | undefined;
  filled: number;
  min: number;
  max: number;
}

/** Bits of a non-negative double below its sign. */
const KEY_BITS = 63;
const MAX_FIRST_BITS = 18;
/** Counters of a place that is split once more, as a power of two. */
const MAX_NEXT_BITS = 16;
const HIGH = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 1 : 0;

const scratch = new Float64Array(1);
const scratchWords = new Uint32Array(scratch.buffer);

/** `width` bits of a double after the first `skip` below its sign. */
function bitsOf(value: number, skip: number, width: number): number {
  scratch[0] = value;
  const key = (BigInt(scratchWords[HIGH]! & 0x7fffffff) << 32n) | BigInt(scratchWords[1 - HIGH]!);
  return Number((key >> BigInt(KEY_BITS - skip - width)) & ((1n << BigInt(width)) - 1n));
}

/**
 * Exact order statistics of many series of non-negative numbers that can be read more than once, in bounded memory: non-negative
 * doubles are ordered as their bits are, so the first pass counts values by their first bits, and the next pass collects the few values
 * that share them with a wanted rank, or counts them by further bits when they are many. Two passes as a rule; a place that holds
 * one value only, as zeros do, ends there, and the bits of a double end the rest after at most {@link KEY_BITS} / 6 more.
 */
export interface RankSearch {
  /** Adds values of the running pass; `series[i] + offset` is the series of value i, a negative `series[i]` passes over it. */
  add(values: Float64Array, series: Int32Array, offset: number, length: number): void;
  /** Ends a pass; true when every wanted rank is known. After the first, `ranksOf` names the wanted ranks (0-based, ascending) of a series of n values. */
  endPass(ranksOf: (series: number, n: number) => readonly number[]): boolean;
  /** Value of a rank that was wanted. */
  valueAt(series: number, rank: number): number;
}

/** How many series one search can hold. */
export const maxSeries = ({ memoryBytes = 2 ** 27 }: RankSearchOptions = {}): number => Math.floor(memoryBytes / (4 * 2 ** 11));

/** Counts values by series and first bits; apart, since this loop is most of the work. */
function countFirstBits(table: Uint32Array, words: Uint32Array, series: Int32Array, offset: number, length: number, firstBits: number): void {
  const shift = 31 - firstBits;
  for (let i = 0; i < length; i++) {
    const one = series[i]!;
    if (one >= 0) table[((one + offset) << firstBits) + ((words[2 * i + HIGH]! & 0x7fffffff) >>> shift)]!++;
  }
}

/** Hands over the values whose series and first bits are marked in the table. */
function takeMarked(table: Uint32Array, words: Uint32Array, series: Int32Array, offset: number, length: number, firstBits: number, take: (slot: number, i: number) => void): void {
  const shift = 31 - firstBits;
  for (let i = 0; i < length; i++) {
    const one = series[i]!;
    if (one < 0) continue;
    const slot = table[((one + offset) << firstBits) + ((words[2 * i + HIGH]! & 0x7fffffff) >>> shift)]!;
    if (slot !== 0) take(slot, i);
  }
}

/** A search over series 0 … `seriesCount` − 1; see {@link RankSearch}. */
export function createRankSearch(seriesCount: number, { memoryBytes = 2 ** 27 }: RankSearchOptions = {}): RankSearch {
  const firstBits = Math.max(11, Math.min(MAX_FIRST_BITS, Math.floor(Math.log2(memoryBytes / 4 / seriesCount))));
  /** Counts in the first pass; after it, 1 + the probe of each place, 0 for none. */
  const table = new Uint32Array(seriesCount << firstBits);
  const known = Array.from({ length: seriesCount }, () => new Map<number, number>());
  let probes: Probe[] = [];
  let knownBits = 0;
  let nextBits = 0;

  const probesOf = (series: number, counts: Uint32Array, from: number, length: number, offset: number, ranks: readonly number[], mark: (place: number, probe: Probe) => void): void => {
    let below = offset;
    let next = 0;
    for (let place = 0; place < length && next < ranks.length; place++) {
      const count = counts[from + place]!;
      const inside: number[] = [];
      while (next < ranks.length && ranks[next]! < below + count) inside.push(ranks[next++]!);
      if (inside.length > 0) mark(place, { series, offset: below, count, ranks: inside, values: undefined, counts: undefined, filled: 0, min: Infinity, max: -Infinity });
      below += count;
    }
  };

  const prepare = (): void => {
    const room = Math.floor(memoryBytes / 8);
    const total = probes.reduce((sum, { count }) => sum + count, 0);
    const fits = total <= room ? Infinity : Math.floor(room / probes.length);
    const split = probes.filter(({ count }) => count > fits).length;
    nextBits = Math.min(KEY_BITS - knownBits, MAX_NEXT_BITS, Math.max(6, Math.floor(Math.log2(memoryBytes / 4 / Math.max(1, split)))));
    for (const probe of probes) {
      if (probe.count > fits) probe.counts = new Uint32Array(2 ** nextBits);
      else probe.values = new Float64Array(probe.count);
    }
  };

  /** Probes by series and by the bits known so far, from the second pass on. */
  let places = new Map<number, Map<number, Probe>>();
  const prefixOf = (value: number): number => bitsOf(value, firstBits, knownBits - firstBits);

  const put = (probe: Probe, value: number): void => {
    if (value < probe.min) probe.min = value;
    if (value > probe.max) probe.max = value;
    if (probe.values) probe.values[probe.filled++] = value;
    else probe.counts![bitsOf(value, knownBits, nextBits)]!++;
  };

  return {
    add(values, series, offset, length) {
      const words = new Uint32Array(values.buffer, values.byteOffset, 2 * length);
      if (knownBits === 0) countFirstBits(table, words, series, offset, length, firstBits);
      else {
        takeMarked(table, words, series, offset, length, firstBits, (slot, i) => {
          const probe = knownBits === firstBits ? probes[slot - 1] : places.get(slot)?.get(prefixOf(values[i]!));
          if (probe) put(probe, values[i]!);
        });
      }
    },
    endPass(ranksOf) {
      if (knownBits === 0) {
        const slots: [number, number][] = [];
        for (let series = 0; series < seriesCount; series++) {
          const from = series << firstBits;
          let n = 0;
          for (let place = from; place < from + 2 ** firstBits; place++) n += table[place]!;
          if (n === 0) continue;
          probesOf(series, table, from, 2 ** firstBits, 0, ranksOf(series, n), (place, probe) => slots.push([from + place, probes.push(probe)]));
        }
        table.fill(0);
        for (const [place, slot] of slots) table[place] = slot;
        knownBits = firstBits;
        prepare();
        return probes.length === 0;
      }
      const slotOf = (probe: Probe, i: number): { slot: number; prefix: number } => (knownBits === firstBits ? { slot: i + 1, prefix: 0 } : { slot: slots.get(probe)!, prefix: prefixOf(probe.min) });
      const slots = new Map<Probe, number>();
      for (const [slot, group] of places) for (const probe of group.values()) slots.set(probe, slot);
      const open: Probe[] = [];
      const nextPlaces = new Map<number, Map<number, Probe>>();
      probes.forEach((probe, i) => {
        const at = known[probe.series]!;
        if (probe.min === probe.max) for (const rank of probe.ranks) at.set(rank, probe.min + 0);
        else if (probe.values) {
          const sorted = probe.values.sort();
          for (const rank of probe.ranks) at.set(rank, sorted[rank - probe.offset]! + 0); // −0 becomes 0
        } else {
          const { slot, prefix } = slotOf(probe, i);
          probesOf(probe.series, probe.counts!, 0, 2 ** nextBits, probe.offset, probe.ranks, (place, inner) => {
            open.push(inner);
            const group = nextPlaces.get(slot) ?? new Map<number, Probe>();
            nextPlaces.set(slot, group.set(prefix * 2 ** nextBits + place, inner));
          });
        }
      });
      knownBits += nextBits;
      places = nextPlaces;
      probes = open;
      prepare();
      return probes.length === 0;
    },
    valueAt: (series, rank) => known[series]!.get(rank)!,
  };
}
