import { writeJsonl } from "@dramascope/schema";
import { createCensus, type Census } from "./census.ts";
import { qualityOf } from "./clusters.ts";
import { checkDegenerate, cohortsByDay, planCohorts, type CohortPlan } from "./cohorts.ts";
import { dayNumber, dayText } from "./days.ts";
import { HotValueError } from "./errors.ts";
import { finishFit } from "./finish.ts";
import type { DramaLabel, HotValueFit } from "./fit.ts";
import { findDuplicate, memberSql, prepareSource, type FitSource } from "./fit-source.ts";
import { INDICATORS } from "./indicators.ts";
import { releaseConflict, type RejectedRow } from "./intake.ts";
import type { HotValueModel } from "./model.ts";
import { planFit, type FitOptions, type FitPlan } from "./options.ts";
import { EIGHT, hotValuesOf, registerPeakKey } from "./peak-key.ts";
import type { HotValueReport } from "./report.ts";
import { createRowFacts } from "./row-facts.ts";
import { createBatchScorer } from "./score-batch.ts";
import { scoreInCohort } from "./score-row.ts";
import { identifier, literal, withSession, type Session, type SessionOptions } from "./session.ts";
import { streamedThresholds, type UseColumns } from "./streamed-thresholds.ts";
import { doublesOf, integersOf } from "./vectors.ts";
import { writeScores } from "./write-scores.ts";

/** Options of fits on files. */
export type FileOptions = Omit<SessionOptions, "signal">;

/** Result of {@link fitHotValueFilesTo}: everything but the rows, which are in files. */
export interface HotValueFilesFit {
  /** As in {@link HotValueFit}. */
  model: HotValueModel;
  /** As in {@link HotValueFit}. */
  report: HotValueReport;
}

/** Where {@link fitHotValueFilesTo} writes. */
export interface FitTargets {
  /** Labels, one a drama by the bytes of its id; `.csv`, `.jsonl` (both also `.gz`) or `.parquet`. Default nowhere. */
  labels?: string;
  /** Rows that were left out, as JSONL; written even when they are too many, and empty when there are none. Default nowhere. */
  rejected?: string;
}

const dayCache = (): ((day: number) => string) => {
  const known = new Map<number, string>();
  return (day) => {
    const text = known.get(day) ?? dayText(day);
    known.set(day, text);
    return text;
  };
};

async function thresholdsOf(session: Session, source: FitSource, plan: FitPlan, cohorts: CohortPlan, onFirst: UseColumns): Promise<HotValueModel["thresholds"]> {
  const rows = [...source.rowsByDate.values()].reduce((a, b) => a + b, 0);
  const { first, index } = cohortsByDay(cohorts, source.rowsByDate.keys());
  const seriesByDay = index.map((cohort) => (cohort < 0 ? -1 : INDICATORS.length * cohort));
  const pass = async (use: UseColumns): Promise<void> => {
    let done = 0;
    for await (const chunk of session.chunks(`SELECT ${EIGHT}, date FROM (${source.sql}) WHERE ${memberSql(plan)}`)) {
      const days = integersOf(chunk, INDICATORS.length);
      const series = new Int32Array(chunk.rowCount);
      for (let i = 0; i < series.length; i++) series[i] = seriesByDay[days[i]! - first]!;
      use(INDICATORS.map((_, k) => doublesOf(chunk, k)), series, chunk.rowCount);
      plan.onProgress({ phase: "marks", done: (done += chunk.rowCount), total: rows });
    }
  };
  if (plan.frozen) {
    await pass(onFirst);
    return plan.frozen.thresholds;
  }
  return streamedThresholds(plan.options, cohorts.keys, pass, onFirst);
}

/** SQL of whether a row's snapshot may be the peak. */
function windowSql({ options: { peakWindow, minAge } }: FitPlan): string {
  if (peakWindow === "all") return "true";
  const age = peakWindow === "first-two-months" ? { months: 2 } : minAge;
  const due = "months" in age ? `CAST("releasedOn" + INTERVAL ${age.months} MONTH AS DATE)` : `"releasedOn" + ${age.days}`;
  return peakWindow === "first-two-months" ? `date <= ${due}` : `date > ${due}`;
}

/** Brings every drama to one row of the table `dramas`. */
async function gatherDramas(session: Session, source: FitSource, plan: FitPlan, cohorts: CohortPlan, thresholds: HotValueModel["thresholds"]): Promise<string> {
  const scorer = createBatchScorer(cohorts.keys.map((key) => thresholds[key]!), plan.weights, plan.options);
  await registerPeakKey(session, scorer, cohortsByDay(cohorts, source.rowsByDate.keys()));
  const dates = [...source.rowsByDate.keys()].map(dayNumber);
  const [from, to] = [Math.min(...dates), Math.max(...dates)];
  const dropped = cohorts.dropped.map(({ date }) => `DATE ${literal(date)}`);
  const used = `SELECT * FROM (${source.sql})${dropped.length > 0 ? ` WHERE date NOT IN (${dropped.join(", ")})` : ""}`;
  const maxima = plan.options.minEngagement.map(({ indicator }, i) => `, max(coalesce(${identifier(indicator)}, 0)) AS most${i}`);
  const window = windowSql(plan);
  await session.run(`CREATE TABLE dramas AS SELECT *, bit_count(days) AS dates FROM (
    SELECT "dramaId", max(peak_key(${EIGHT}, coalesce("completionRate", 0), date))${window === "true" ? "" : ` FILTER (${window})`} AS key, count(*)::INTEGER AS "rows",
      min(date) AS first, max(date) AS last, min("releasedOn") AS released, max("releasedOn") AS "lastReleased", bitstring_agg((date - DATE '1970-01-01')::INTEGER, ${from}, ${to}) AS days${maxima.join("")}
    FROM (${used}) GROUP BY "dramaId")`);
  return used;
}

async function takeCensus(session: Session, used: string, plan: FitPlan): Promise<Census> {
  const census = createCensus(plan);
  const conflict = await session.rows(`SELECT "dramaId", released::VARCHAR, "lastReleased"::VARCHAR FROM dramas WHERE released <> "lastReleased" ORDER BY 1 LIMIT 1`);
  if (conflict[0]) {
    const [dramaId, one, other] = conflict[0].map(String) as [string, string, string];
    const [place] = await session.rows(`SELECT file || ':' || line FROM (${used}) WHERE "dramaId" = ${literal(dramaId)} AND "releasedOn" = DATE ${literal(other)} ORDER BY file, line LIMIT 1`);
    throw releaseConflict(dramaId, one, other, String(place?.[0]));
  }
  const [twice] = await session.rows(`SELECT count(*) FROM dramas WHERE dates <> "rows"`);
  if (Number(twice?.[0]) > 0) throw (await findDuplicate(session, used))!;
  const [all] = await session.rows("SELECT count(*) FROM dramas");
  const total = Number(all?.[0]);
  const text = dayCache();
  const maxima = plan.options.minEngagement.map((_, i) => `, most${i}`).join("");
  for await (const chunk of session.chunks(`SELECT "dramaId", key, "rows", first, last, released${maxima} FROM dramas ORDER BY "dramaId"`)) {
    const ids = chunk.getColumnValues(0);
    const hotValues = hotValuesOf(chunk.getColumnVector(1), chunk.rowCount);
    const [rows, first, last, released] = [2, 3, 4, 5].map((k) => integersOf(chunk, k)) as [Int32Array, Int32Array, Int32Array, Int32Array];
    const most = plan.options.minEngagement.map((_, i) => doublesOf(chunk, 6 + i));
    for (let i = 0; i < chunk.rowCount; i++) {
      const hotValue = hotValues[i]!;
      census.add({ dramaId: ids[i] as string, releasedOn: text(released[i]!), firstDate: text(first[i]!), lastDate: text(last[i]!), rows: rows[i]!, hotValue: Number.isNaN(hotValue) ? null : hotValue, maxima: most.map((values) => values[i]!) });
    }
    plan.onProgress({ phase: "dramas", done: census.counts.dramas, total });
  }
  return census;
}

async function* labelsOf(session: Session, used: string, plan: FitPlan, cohorts: CohortPlan, model: HotValueModel): AsyncGenerator<DramaLabel> {
  const census = createCensus(plan);
  const text = dayCache();
  const maxima = plan.options.minEngagement.map((_, i) => `, most${i}`).join("");
  const names = ["dramaId", ...INDICATORS, "completionRate"];
  let done = 0;
  for await (const chunk of session.chunks(`SELECT ${names.map((name) => `r.${identifier(name)}`).join(", ")}, r.date, released, first, last, "rows"${maxima} FROM (${used}) r JOIN (SELECT *, peak_date(key) AS "peakDate" FROM dramas WHERE key IS NOT NULL) d ON r."dramaId" = d."dramaId" AND r.date = d."peakDate" ORDER BY r."dramaId"`)) {
    const columns = chunk.getColumns();
    const [date, released, first, last, rows] = [10, 11, 12, 13, 14].map((k) => integersOf(chunk, k)) as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];
    for (let i = 0; i < chunk.rowCount; i++) {
      const peakDate = text(date[i]!);
      const row = { dramaId: columns[0]![i], date: peakDate, releasedOn: text(released[i]!), ...Object.fromEntries(names.slice(1).map((name, k) => [name, columns[k + 1]![i]])) } as Parameters<typeof scoreInCohort>[0];
      const { scores, hotValue } = scoreInCohort(row, model.thresholds[cohorts.keys[cohorts.indexOf(peakDate)]!]!, plan.weights, plan.options);
      const standing = census.standing({ dramaId: row.dramaId, releasedOn: row.releasedOn, firstDate: text(first[i]!), lastDate: text(last[i]!), rows: rows[i]!, hotValue, maxima: plan.options.minEngagement.map((_, j) => Number(columns[15 + j]![i])) });
      yield { dramaId: row.dramaId, releasedOn: row.releasedOn, eligible: standing.eligible, hotValue, peakDate, scores, quality: standing.isLabelled ? qualityOf(hotValue, model.clusters.breakpoints) : null, rows: rows[i]! };
    }
    plan.onProgress({ phase: "labels", done: (done += chunk.rowCount), total: model.population.dramas });
  }
}

/** Fits on files, and hands over the labels as they come. */
async function fitFiles(paths: readonly string[], { threads, memoryLimitMiB, temporaryFolder, ...options }: FitOptions & FileOptions, sinks: { rejected: (rows: AsyncIterable<RejectedRow>) => Promise<void>; labels: ((labels: AsyncIterable<DramaLabel>, model: HotValueModel) => Promise<void>) | undefined }): Promise<HotValueFilesFit> {
  const plan = planFit(options);
  const means: SessionOptions = { signal: plan.signal, ...(threads !== undefined && { threads }), ...(memoryLimitMiB !== undefined && { memoryLimitMiB }), ...(temporaryFolder !== undefined && { temporaryFolder }) };
  return withSession(means, async (session) => {
    let source: FitSource | undefined;
    let failure: unknown;
    // The rows that were refused are worth having most when they are too many, so their writing ends before the error is thrown.
    await sinks.rejected((async function* () {
      try {
        source = yield* prepareSource(session, paths, plan);
      } catch (error) {
        if (!HotValueError.isInstance(error) || error.code !== "TOO_MANY_REJECTED") throw error;
        failure = error;
      }
    })());
    if (source === undefined) throw failure;
    const cohorts = planCohorts(plan, source.rowsByDate);
    const facts = createRowFacts();
    const thresholds = await thresholdsOf(session, source, plan, cohorts, (...columns) => facts.add(...columns));
    const fallbackUses = checkDegenerate(thresholds, plan.options.degenerate);
    const used = await gatherDramas(session, source, plan, cohorts, thresholds);
    const census = await takeCensus(session, used, plan);
    const fit = finishFit(plan, thresholds, census, { rejected: source.rejected, counts: source.counts, extraColumns: source.extraColumns, dropped: cohorts.dropped, fallbackUses, indicators: facts.finish() });
    await sinks.labels?.(labelsOf(session, used, plan, cohorts, fit.model), fit.model);
    return fit;
  });
}

/**
 * Fits on CSV, JSONL (both also `.gz`) and Parquet files, out of core; the result, labels and refused rows are in memory. Equal to {@link fitHotValue} on the same rows, bit for bit.
 *
 * @param paths Files, or patterns such as `data/*.parquet`.
 * @throws HotValueError those of {@link fitHotValue}, and `FILE_NOT_FOUND`, `FILE_FORMAT`, `FILE_UNREADABLE`, `CSV_HEADER`, `COLUMNS_MISSING`.
 */
export async function fitHotValueFiles(paths: readonly string[], options: FitOptions & FileOptions): Promise<HotValueFit> {
  const labels: DramaLabel[] = [];
  const rejected: RejectedRow[] = [];
  const fit = await fitFiles(paths, options, {
    rejected: async (rows) => {
      for await (const row of rows) rejected.push(row);
    },
    labels: async (found) => {
      for await (const label of found) labels.push(label);
    },
  });
  return { ...fit, labels, rejected };
}

/**
 * As {@link fitHotValueFiles}, but labels and refused rows go to files, so that memory does not grow with them. Each file is whole or absent.
 */
export async function fitHotValueFilesTo(paths: readonly string[], targets: FitTargets, options: FitOptions & FileOptions): Promise<HotValueFilesFit> {
  const { labels: labelsPath, rejected: rejectedPath } = targets;
  return fitFiles(paths, options, {
    rejected: async (rows) => {
      if (rejectedPath !== undefined) await writeJsonl(rejectedPath, rows);
      else for await (const _ of rows);
    },
    labels: labelsPath === undefined ? undefined : async (labels, { modelHash }) => {
      await writeScores(labelsPath, (async function* () {
        for await (const label of labels) yield { ...label, modelHash };
      })());
    },
  });
}
