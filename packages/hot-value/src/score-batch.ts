import { INDICATORS, SCORE_NAMES, type Weights } from "./indicators.ts";
import type { ScoreIndicatorOptions } from "./score-indicator.ts";
import type { CohortThresholds } from "./score-row.ts";

/** Scores rows given as columns. */
export interface BatchScorer {
  /**
   * Hot values of rows, equal to those of single rows bit for bit.
   *
   * @param columns The nine indicators in their order, the completion rate 0 where unknown.
   * @param cohorts Index of the cohort of each row, −1 for none, which gives NaN.
   * @param out     Receives the hot values.
   */
  score(columns: readonly Float64Array[], cohorts: Int32Array, length: number, out: Float64Array): void;
}

/** A scorer for cohorts in the given order. */
export function createBatchScorer(cohorts: readonly CohortThresholds[], weights: Weights, { belowMin = "clamp" }: ScoreIndicatorOptions): BatchScorer {
  const width = 5;
  const marks = INDICATORS.map((name) => Float64Array.from(cohorts.flatMap((cohort) => [cohort[name].min, cohort[name].p30, cohort[name].p93, cohort[name].rank10, cohort[name].max])));
  const shares = SCORE_NAMES.map((name) => weights[name]);
  const clamps = belowMin === "clamp";
  return {
    score(columns, cohort, length, out) {
      for (let i = 0; i < length; i++) out[i] = cohort[i]! < 0 ? Number.NaN : 0;
      for (let k = 0; k < INDICATORS.length; k++) {
        const column = columns[k]!;
        const table = marks[k]!;
        const weight = shares[k]!;
        for (let i = 0; i < length; i++) {
          const at = width * cohort[i]!;
          if (at < 0) continue;
          const x = column[i]!;
          const b = table[at + 1]!;
          const c = table[at + 2]!;
          let score: number;
          if (x < b) {
            const a = table[at]!;
            score = (x < a && clamps) || b === a ? 5 : 5 + (15 * (x - a)) / (b - a);
          } else if (x < c) score = 20 + (50 * (x - b)) / (c - b);
          else {
            const d = table[at + 3]!;
            const top = table[at + 4]!;
            if (c === b && x === c) score = 20;
            else if (d > c) score = 70 + (30 * (x - c)) / (d - c);
            else score = top > c ? 70 + (30 * (x - c)) / (top - c) : 70;
          }
          out[i] = out[i]! + weight * score;
        }
      }
      const rates = columns[INDICATORS.length]!;
      const weight = shares[INDICATORS.length]!;
      for (let i = 0; i < length; i++) {
        const rate = rates[i]!;
        out[i]! += weight * (rate < 0.3 ? 3 + (12 * rate) / 0.3 : rate > 0.7 ? 100 : 15 + (85 * (rate - 0.3)) / (0.7 - 0.3));
      }
    },
  };
}
