import type { IndicatorRow } from "@dramascope/schema";
import { checkDegenerate, planCohorts } from "./cohorts.ts";
import { cohortSeries, createPeakSearch, finishInMemory, type HotValueFit } from "./fit.ts";
import { INDICATORS } from "./indicators.ts";
import { checkRejected, createIntake } from "./intake.ts";
import { planFit, type FitOptions } from "./options.ts";
import { createRowFacts } from "./row-facts.ts";
import { createRowCheck, jsonNumber } from "./rows.ts";
import { streamedThresholds, type UseColumns } from "./streamed-thresholds.ts";

/**
 * Fits as {@link fitHotValue} does, bit for bit, on a source that can be opened again and again, without holding its rows: memory grows with
 * the dramas and their dates only. The source is read once to check it, twice or more for the marks, and once to score.
 *
 * @param open Starts the source anew; each time it must give the same rows in the same order.
 * @throws HotValueError as {@link fitHotValue}.
 */
export async function fitHotValueStream(open: () => AsyncIterable<IndicatorRow[]>, options: FitOptions): Promise<HotValueFit> {
  const plan = planFit(options);
  const intake = createIntake(plan);
  for await (const rows of open()) {
    plan.signal?.throwIfAborted();
    for (const row of rows) intake.add(row);
    plan.onProgress({ phase: "reading", done: intake.counts.rows });
  }
  checkRejected(intake.rejected.length, intake.counts.rows, intake.rejected[0], plan.options.maxRejectedShare);
  const cohorts = planCohorts(plan, intake.cohorts);
  const check = createRowCheck(jsonNumber, plan.options);
  const pass = async (phase: string, use: (rows: readonly IndicatorRow[]) => void): Promise<void> => {
    let place = 0;
    for await (const rows of open()) {
      plan.signal?.throwIfAborted();
      const used: IndicatorRow[] = [];
      for (const row of rows) {
        if (!intake.isUsed(place++)) continue;
        const result = check(row);
        if (result.ok) used.push(result.row);
      }
      use(used);
      plan.onProgress({ phase, done: place, total: intake.counts.rows });
    }
  };
  const facts = createRowFacts();
  const seriesOf = cohortSeries(plan, cohorts);
  const passColumns = (use: UseColumns): Promise<void> =>
    pass("marks", (rows) => use(INDICATORS.map((name) => Float64Array.from(rows, (row) => row[name])), Int32Array.from(rows, seriesOf), rows.length));
  if (plan.frozen) await passColumns((...columns) => facts.add(...columns));
  const thresholds = plan.frozen?.thresholds ?? (await streamedThresholds(plan.options, cohorts.keys, passColumns, (...columns) => facts.add(...columns)));
  checkDegenerate(thresholds, plan.options.degenerate);
  const search = createPeakSearch(plan, cohorts, thresholds, intake.dramas);
  await pass("scoring", (rows) => rows.forEach(search));
  return finishInMemory(plan, cohorts, thresholds, intake, facts.finish());
}
