import { cohortMarks } from "./cohorts.ts";
import { INDICATORS } from "./indicators.ts";
import type { HotValueModel } from "./model.ts";
import type { ResolvedOptions } from "./options.ts";
import { createRankSearch, maxSeries } from "./rank-search.ts";
import { thresholdPositions, thresholdsAt } from "./thresholds.ts";

/** Takes the eight columns of some rows, and for each row 8 times the index of its cohort, or −1 when it counts nowhere. */
export type UseColumns = (columns: readonly Float64Array[], series: Int32Array, length: number) => void;

/** Largest different values of each series, for ranks among different values. */
function createTopValues(seriesCount: number, size: number): { add(series: number, value: number): void; of(series: number): readonly number[] } {
  const tops = Array.from({ length: seriesCount }, (): number[] => []);
  return {
    add(series, value) {
      const top = tops[series]!;
      if (top.length === size && value <= top[size - 1]!) return;
      const at = top.findIndex((one) => one <= value);
      if (at >= 0 && top[at] === value) return;
      top.splice(at < 0 ? top.length : at, 0, value + 0);
      if (top.length > size) top.pop();
    },
    of: (series) => tops[series]!,
  };
}

/**
 * Exact marks of every cohort from columns that can be read more than once, without holding them: two reads as a rule, and as many again
 * for each further batch of some thousand cohorts.
 *
 * @param pass Reads all columns once.
 * @param onFirst Sees the columns of the first read too.
 */
export async function streamedThresholds(options: ResolvedOptions, keys: readonly string[], pass: (use: UseColumns) => Promise<void>, onFirst: UseColumns): Promise<HotValueModel["thresholds"]> {
  const width = INDICATORS.length;
  const batch = Math.max(1, Math.floor(maxSeries() / width));
  const thresholds: HotValueModel["thresholds"] = {};
  for (let from = 0; from < keys.length; from += batch) {
    const some = keys.slice(from, from + batch);
    const end = width * some.length;
    const search = createRankSearch(end);
    const sizes = new Array<number>(some.length).fill(0);
    const top = createTopValues(end, options.rank);
    let isFirst = true;
    const use: UseColumns = (columns, all, length) => {
      if (isFirst && from === 0) onFirst(columns, all, length);
      const series = some.length === keys.length ? all : all.map((one) => (one >= width * from && one < width * from + end ? one - width * from : -1));
      columns.forEach((column, k) => {
        search.add(column, series, k, length);
        if (isFirst && options.rankTies === "distinct") for (let i = 0; i < length; i++) if (series[i]! >= 0) top.add(series[i]! + k, column[i]!);
      });
    };
    const ranksOf = (series: number, n: number): number[] => {
      sizes[Math.floor(series / width)] = n;
      return thresholdPositions(n, options);
    };
    do {
      await pass(use);
      isFirst = false;
    } while (!search.endPass(ranksOf));
    const marksOf = (cohort: number, k: number): ReturnType<typeof thresholdsAt> => {
      const series = width * cohort + k;
      return thresholdsAt((rank) => search.valueAt(series, rank), sizes[cohort]!, top.of(series), options);
    };
    Object.assign(thresholds, cohortMarks(some, marksOf));
  }
  return thresholds;
}
