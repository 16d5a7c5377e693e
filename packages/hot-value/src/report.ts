import type { Census } from "./census.ts";
import type { FallbackUse } from "./cohorts.ts";
import { INDICATORS, type Weights } from "./indicators.ts";
import type { RejectedCounts } from "./intake.ts";
import type { HotValueModel } from "./model.ts";
import { DEFAULTS } from "./options.ts";
import type { RowFacts } from "./row-facts.ts";
import type { Stability } from "./stability.ts";
import { quantile } from "./thresholds.ts";

/** Something a reader of the numbers should know. */
export interface HotValueWarning {
  /** Stable name in kebab-case. */
  code: string;
  /** One sentence with the figures. */
  message: string;
}

/** What a fit did, in numbers. */
export interface HotValueReport {
  /** Rows that count. */
  rows: number;
  /** Rows that were refused, in all and by reason. */
  rejected: { count: number; reasons: RejectedCounts };
  /** Rows left out because they lie after the day of the fit. */
  afterAsOf: number;
  /** Rows left out because they repeat a drama's date. */
  duplicates: number;
  /** Rows with an integer above 2⁵³, taken as the nearest double. */
  precisionLoss: number;
  /** Columns that mean nothing here; at most 100. */
  extraColumns: string[];
  /** Dramas with a row that counts. */
  dramas: number;
  /** Dramas old enough for a label. */
  eligible: number;
  /** Dramas that took part in the clustering. */
  fitted: number;
  /** Dramas below `minEngagement`. */
  belowEngagement: number;
  /** Dramas without a snapshot inside the peak window, which have no label. */
  withoutPeak: number;
  /** Dramas first seen when older than the least age, with the ids of the first 1,000. */
  leftTruncated: { count: number; ids: string[] };
  /** Rows of a cohort. */
  cohortSizes: { count: number; min: number; median: number; max: number };
  /** Dates left out because their cohort was small. */
  droppedCohorts: { date: string; rows: number }[];
  /** Cohorts and indicators scored by the fallback rule. */
  fallbackUses: FallbackUse[];
  /** Marks by cohort and indicator. */
  thresholds: HotValueModel["thresholds"];
  /** Fitted dramas by class 1 … 5. */
  classSizes: number[];
  /** Share of each class in the sum of squared errors. */
  sseShare: number[];
  /** Least hot value of classes 2 … 5. */
  breakpoints: number[];
  /** Counts of hot values of all dramas in 40 equal steps from the least to the largest. */
  histogram: { from: number; to: number; counts: number[] };
  /** Nine shares. */
  weights: Weights;
  /** Settings that differ from the default. */
  nonDefaultOptions: Record<string, unknown>;
  /** Zeros and doubled indicators. */
  indicators: RowFacts;
  /** How firm the classes are; null unless asked for. */
  stability: Stability | null;
  /** What a reader should know. */
  warnings: HotValueWarning[];
}

/** What was counted on the way to a model. */
export interface FitFacts {
  rejected: { count: number; reasons: RejectedCounts };
  counts: { afterAsOf: number; duplicates: number; precisionLoss: number };
  extraColumns: string[];
  dropped: { date: string; rows: number }[];
  fallbackUses: FallbackUse[];
  indicators: RowFacts;
}

const BINS = 40;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function warningsOf(report: Omit<HotValueReport, "warnings">, labelled: Float64Array): HotValueWarning[] {
  const { classSizes, sseShare, breakpoints, indicators, thresholds } = report;
  const warnings: HotValueWarning[] = [];
  const warn = (code: string, message: string): void => void warnings.push({ code, message });
  classSizes.forEach((size, i) => {
    if (size < 200 || size / report.fitted < 0.01) warn("small-class", `class ${i + 1} has ${size} dramas (${percent(size / report.fitted)})`);
  });
  if (sseShare.at(-1)! > 0.3) warn("top-class-spread", `the top class holds ${percent(sseShare.at(-1)!)} of the squared error: its dramas differ widely`);
  breakpoints.forEach((breakpoint, i) => {
    let near = 0;
    for (const value of labelled) if (Math.abs(value - breakpoint) <= 0.1) near++;
    if (near / labelled.length > 0.005) warn("crowded-boundary", `${percent(near / labelled.length)} of the labelled dramas lie within 0.1 of the boundary between classes ${i + 1} and ${i + 2}`);
  });
  for (const name of INDICATORS) if (indicators.zeroShare[name] > 0.6) warn("many-zeros", `${name} is zero in ${percent(indicators.zeroShare[name])} of the rows`);
  for (const name of INDICATORS) {
    const dates = Object.keys(thresholds).filter((date) => thresholds[date]![name].p30 === thresholds[date]![name].min);
    if (dates.length > 0) warn("p30-is-minimum", `${name}: three in ten rows share the minimum, in ${dates[0] === "*" ? "all rows" : `${dates.length} of ${Object.keys(thresholds).length} cohorts`}`);
  }
  for (const { pair, rankCorrelation } of indicators.doubled) warn("doubled-indicators", `${pair.join(" and ")} order the rows alike (rank correlation ${rankCorrelation.toFixed(3)} on ${indicators.sampleRows} rows): they are counted twice`);
  if (report.leftTruncated.count / report.dramas > 0.1) warn("left-truncated", `${report.leftTruncated.count} dramas (${percent(report.leftTruncated.count / report.dramas)}) were first seen when already old: their peak may be missing`);
  if (report.droppedCohorts.length > 0) warn("dropped-cohorts", `${report.droppedCohorts.length} small cohorts were left out: ${report.droppedCohorts.slice(0, 5).map(({ date, rows }) => `${date} (${rows} rows)`).join(", ")}`);
  if (report.fallbackUses.length > 0) warn("fallback-scores", `${report.fallbackUses.length} times an indicator's marks coincide in a cohort and the fallback rule scores it: ${report.fallbackUses.slice(0, 5).map(({ cohort, indicator }) => `${indicator} ${cohort}`).join(", ")}`);
  if (report.precisionLoss > 0) warn("precision-loss", `${report.precisionLoss} rows hold integers above 2^53, taken as the nearest double`);
  if (report.rejected.count > 0) warn("rejected-rows", `${report.rejected.count} rows were refused: ${Object.entries(report.rejected.reasons).map(([reason, count]) => `${reason} ${count}`).join(", ")}`);
  if (report.extraColumns.length > 0) warn("extra-columns", `columns that mean nothing here: ${report.extraColumns.map((name) => JSON.stringify(name)).join(", ")}`);
  return warnings;
}

function histogramOf(values: Float64Array): HotValueReport["histogram"] {
  let [from, to] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < from) from = value;
    if (value > to) to = value;
  }
  const counts = new Array<number>(BINS).fill(0);
  for (const value of values) counts[Math.min(BINS - 1, Math.floor(((value - from) / (to - from || 1)) * BINS))]!++;
  return { from, to, counts };
}

function nonDefaults(options: HotValueModel["options"]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(DEFAULTS[name as keyof typeof DEFAULTS])));
}

/** Counts, distributions and warnings of a fit. */
export function reportOf(model: HotValueModel, census: Census, facts: FitFacts, stability: Stability | null): HotValueReport {
  const sizes = Object.values(model.thresholds).map((cohort) => cohort.likes.n);
  const { counts } = census;
  const report = {
    rows: counts.rows,
    rejected: facts.rejected,
    ...facts.counts,
    extraColumns: facts.extraColumns,
    dramas: counts.dramas,
    eligible: counts.eligible,
    fitted: counts.fitted,
    belowEngagement: counts.belowEngagement,
    withoutPeak: counts.withoutPeak,
    leftTruncated: { count: counts.leftTruncated, ids: census.leftTruncatedIds },
    cohortSizes: { count: sizes.length, min: Math.min(...sizes), median: quantile(sizes, 0.5), max: Math.max(...sizes) },
    droppedCohorts: facts.dropped,
    fallbackUses: facts.fallbackUses,
    thresholds: model.thresholds,
    classSizes: model.clusters.sizes,
    sseShare: model.clusters.sseShare,
    breakpoints: model.clusters.breakpoints,
    histogram: histogramOf(census.all.values()),
    weights: model.weights,
    nonDefaultOptions: nonDefaults(model.options),
    indicators: facts.indicators,
    stability,
  };
  return { ...report, warnings: warningsOf(report, census.labelled.values()) };
}
