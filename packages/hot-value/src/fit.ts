import type { IndicatorRow, IndicatorScores, Quality } from "@dramascope/schema";
import { byBytes, createCensus } from "./census.ts";
import { qualityOf } from "./clusters.ts";
import { checkDegenerate, cohortMarks, planCohorts, type CohortPlan } from "./cohorts.ts";
import { finishFit } from "./finish.ts";
import { INDICATORS } from "./indicators.ts";
import { checkRejected, createIntake, inPopulation, peakWindow, type DramaState, type Intake, type RejectedRow } from "./intake.ts";
import type { HotValueModel } from "./model.ts";
import { planFit, type FitOptions, type FitPlan } from "./options.ts";
import type { HotValueReport } from "./report.ts";
import { createRowFacts, type RowFacts } from "./row-facts.ts";
import { scoreInCohort } from "./score-row.ts";
import { computeThresholds } from "./thresholds.ts";

/** The peak of one drama and its class. */
export interface DramaLabel {
  /** As given. */
  dramaId: string;
  /** As given. */
  releasedOn: string;
  /** Old enough for a class on the day of the fit. */
  eligible: boolean;
  /** Largest over its snapshots. */
  hotValue: number;
  /** First day on which it was so large. */
  peakDate: string;
  /** Scores on that day. */
  scores: IndicatorScores;
  /** Null when the drama is too young or left out by an option. */
  quality: Quality | null;
  /** Snapshots. */
  rows: number;
}

/** What a fit gives. */
export interface HotValueFit {
  /** Marks, classes and everything that scoring needs. */
  model: HotValueModel;
  /** One a drama, by the bytes of its id. */
  labels: DramaLabel[];
  /** What happened, in numbers. */
  report: HotValueReport;
  /** Rows that were left out. */
  rejected: RejectedRow[];
}

/** Rows whose marks belong to the cohort: its index times 8, or −1. */
export function cohortSeries(plan: FitPlan, { indexOf }: CohortPlan): (row: IndicatorRow) => number {
  const isMember = inPopulation(plan);
  return (row) => (isMember(row.releasedOn) ? INDICATORS.length * indexOf(row.date) : -1);
}

/** Takes rows one after the other, scores them, and keeps the best snapshot of each drama. */
export function createPeakSearch(plan: FitPlan, cohorts: CohortPlan, thresholds: HotValueModel["thresholds"], dramas: ReadonlyMap<string, DramaState>): (row: IndicatorRow) => void {
  const isInWindow = peakWindow(plan);
  const { minEngagement } = plan.options;
  return (row) => {
    const cohort = cohorts.indexOf(row.date);
    if (cohort < 0) return;
    const drama = dramas.get(row.dramaId)!;
    minEngagement.forEach(({ indicator }, i) => (drama.maxima[i] = Math.max(drama.maxima[i]!, row[indicator] ?? 0)));
    if (!isInWindow(row.releasedOn, row.date)) return;
    const { scores, hotValue } = scoreInCohort(row, thresholds[cohorts.keys[cohort]!]!, plan.weights, plan.options);
    if (drama.peak === null || hotValue > drama.peak.hotValue || (hotValue === drama.peak.hotValue && row.date < drama.peak.date)) drama.peak = { hotValue, date: row.date, scores };
  };
}

/** Labels, model and report once every drama has its peak. */
export function finishInMemory(plan: FitPlan, cohorts: CohortPlan, thresholds: HotValueModel["thresholds"], intake: Intake, indicators: RowFacts): HotValueFit {
  const census = createCensus(plan);
  const isDropped = new Set(cohorts.dropped.map(({ date }) => date));
  const labels: (DramaLabel & { isLabelled: boolean })[] = [];
  for (const { dramaId, releasedOn, dates, peak, maxima } of [...intake.dramas.values()].sort((a, b) => byBytes(a.dramaId, b.dramaId))) {
    const used = dates.filter((date) => !isDropped.has(date)).sort();
    if (used.length === 0) continue;
    const standing = census.add({ dramaId, releasedOn, firstDate: used[0]!, lastDate: used.at(-1)!, rows: used.length, hotValue: peak?.hotValue ?? null, maxima });
    if (peak) labels.push({ dramaId, releasedOn, eligible: standing.eligible, hotValue: peak.hotValue, peakDate: peak.date, scores: peak.scores, quality: null, rows: used.length, isLabelled: standing.isLabelled });
  }
  const { model, report } = finishFit(plan, thresholds, census, {
    rejected: { count: intake.rejected.length, reasons: intake.reasons },
    counts: { afterAsOf: intake.counts.afterAsOf, duplicates: intake.counts.duplicates, precisionLoss: intake.counts.precisionLoss },
    extraColumns: [],
    dropped: cohorts.dropped,
    fallbackUses: checkDegenerate(thresholds, plan.options.degenerate),
    indicators,
  });
  return {
    model,
    labels: labels.map(({ isLabelled, ...label }) => ({ ...label, quality: isLabelled ? qualityOf(label.hotValue, model.clusters.breakpoints) : null })),
    report,
    rejected: intake.rejected,
  };
}

/**
 * Fits thresholds, hot values and classes on a population held in memory.
 *
 * Rows are checked as those of a file are; a refused one is named by its place, 1-based.
 *
 * @throws HotValueError naming cohort, drama or rows: `OPTIONS_INVALID`, `NO_ROWS`, `TOO_MANY_REJECTED`, `SMALL_COHORT`, `COHORT_BELOW_RANK`, `DEGENERATE_COHORT`,
 * `DUPLICATE_KEY`, `RELEASE_DATE_CONFLICT`, `TOO_FEW_DISTINCT`, `BREAKPOINTS_DIFFER`, `UNKNOWN_DATE`, and those of {@link validateWeights}.
 */
export function fitHotValue(rows: Iterable<IndicatorRow>, options: FitOptions): HotValueFit {
  const plan = planFit(options);
  const intake = createIntake(plan);
  const taken: (IndicatorRow | null)[] = [];
  for (const row of rows) taken.push(intake.add(row));
  checkRejected(intake.rejected.length, intake.counts.rows, intake.rejected[0], plan.options.maxRejectedShare);
  const used = taken.filter((row, place): row is IndicatorRow => row !== null && intake.isUsed(place));
  const cohorts = planCohorts(plan, intake.cohorts);
  const seriesOf = cohortSeries(plan, cohorts);
  const members = cohorts.keys.map((): IndicatorRow[] => []);
  const columns = INDICATORS.map((name) => Float64Array.from(used, (row) => row[name]));
  const series = Int32Array.from(used, seriesOf);
  used.forEach((row, i) => {
    if (series[i]! >= 0) members[series[i]! / INDICATORS.length]!.push(row);
  });
  const facts = createRowFacts();
  facts.add(columns, series, used.length);
  const thresholds = plan.frozen?.thresholds ?? cohortMarks(cohorts.keys, (cohort, k) => computeThresholds(Float64Array.from(members[cohort]!, (row) => row[INDICATORS[k]!]), plan.options));
  checkDegenerate(thresholds, plan.options.degenerate);
  const search = createPeakSearch(plan, cohorts, thresholds, intake.dramas);
  for (const row of used) search(row);
  return finishInMemory(plan, cohorts, thresholds, intake, facts.finish());
}
