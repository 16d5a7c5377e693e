import { createRandom, type IndicatorRow } from "@dramascope/schema";
import { INDICATORS, type Weights } from "@dramascope/hot-value";

/** Nine unequal weights. */
export const WEIGHTS: Weights = { dailyAvgWatchTime: 0.16, dailyAvgUv: 0.12, favorites: 0.08, likes: 0.06, sixMonthWatchTime: 0.18, sixMonthUv: 0.14, comments: 0.05, search: 0.07, completionRate: 0.14 };

/** Dramas with heavy-tailed counts on several days, in shuffled order. */
export function population({ dramas = 400, dates = ["2026-04-30", "2026-05-31", "2026-06-30"], seed = 1 }: { dramas?: number; dates?: string[]; seed?: number } = {}): IndicatorRow[] {
  const random = createRandom(seed);
  const rows = Array.from({ length: dramas }, (_, i) => {
    const releasedOn = `2026-0${1 + (i % 4)}-${String(1 + (i % 28)).padStart(2, "0")}`;
    const level = random.normal();
    return dates.filter((date) => date >= releasedOn).map((date): IndicatorRow => {
      const counts = Object.fromEntries(INDICATORS.map((name) => [name, Math.floor(Math.exp(4 + level + 0.7 * random.normal()))]));
      return { dramaId: String(7_000_000_000_000_000_000n + BigInt(i)), date, releasedOn, ...counts, completionRate: i % 13 === 0 ? null : Math.round(1e4 * random.uniform()) / 1e4 } as IndicatorRow;
    });
  });
  return random.shuffle(rows.flat());
}
