import type { IndicatorRow } from "@dramascope/schema";
import { INDICATORS } from "./indicators.ts";
import type { HotValueModel } from "./model.ts";
import { quantile } from "./thresholds.ts";

/** Something a reader of the numbers should know. */
export interface HotValueWarning {
  /** Stable name in kebab-case. */
  code: string;
  message: string;
}

/** What a fit did, in numbers. */
export interface HotValueReport {
  rows: number;
  dramas: number;
  eligible: number;
  /** Dramas that took part in the clustering. */
  fitted: number;
  /** Rows of a cohort. */
  cohortSizes: { count: number; min: number; median: number; max: number };
  /** Cohorts left out because they were small. */
  droppedCohorts: string[];
  /** Dramas by class 1 … 5. */
  classSizes: number[];
  /** Share of each class in the sum of squared errors. */
  sseShare: number[];
  /** Least hot value of classes 2 … 5. */
  breakpoints: number[];
  /** Counts of hot values in 40 equal steps from the least to the largest. */
  histogram: { from: number; to: number; counts: number[] };
  warnings: HotValueWarning[];
}

interface Facts {
  rows: readonly IndicatorRow[];
  labels: readonly { hotValue: number; eligible: boolean }[];
  fitted: number;
  model: HotValueModel;
  droppedCohorts: string[];
}

const BINS = 40;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function warningsOf({ rows, labels, model, droppedCohorts }: Facts): HotValueWarning[] {
  const { sizes, sseShare, breakpoints } = model.clusters;
  const total = sizes.reduce((a, b) => a + b, 0);
  const warnings: HotValueWarning[] = [];
  const warn = (code: string, message: string): void => void warnings.push({ code, message });
  sizes.forEach((size, i) => {
    if (size < 200 || size / total < 0.01) warn("small-class", `class ${i + 1} has ${size} dramas (${percent(size / total)})`);
  });
  if (sseShare.at(-1)! > 0.3) warn("top-class-spread", `the top class holds ${percent(sseShare.at(-1)!)} of the squared error: its dramas differ widely`);
  breakpoints.forEach((breakpoint, i) => {
    const near = labels.filter(({ eligible, hotValue }) => eligible && Math.abs(hotValue - breakpoint) <= 0.1).length / labels.length;
    if (near > 0.005) warn("crowded-boundary", `${percent(near)} of the dramas lie within 0.1 of the boundary between classes ${i + 1} and ${i + 2}`);
  });
  for (const name of INDICATORS) {
    const zeros = rows.filter((row) => row[name] === 0).length / rows.length;
    if (zeros > 0.6) warn("many-zeros", `${name} is zero in ${percent(zeros)} of the rows`);
  }
  for (const [date, cohort] of Object.entries(model.thresholds)) {
    for (const name of INDICATORS) if (cohort[name].p30 === cohort[name].min) warn("p30-is-minimum", `${name} on ${date}: three in ten rows share the minimum`);
  }
  if (droppedCohorts.length > 0) warn("dropped-cohorts", `${droppedCohorts.length} small cohorts were left out: ${droppedCohorts.slice(0, 5).join(", ")}`);
  return warnings;
}

/** Counts, distributions and warnings of a fit. */
export function reportOf(facts: Facts): HotValueReport {
  const { rows, labels, fitted, model, droppedCohorts } = facts;
  const cohortSizes = Object.values(model.thresholds).map((cohort) => cohort.likes.n);
  const values = labels.map((label) => label.hotValue);
  const from = values.reduce((a, b) => Math.min(a, b), Infinity);
  const to = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const counts = new Array<number>(BINS).fill(0);
  for (const value of values) counts[Math.min(BINS - 1, Math.floor(((value - from) / (to - from || 1)) * BINS))]!++;
  return {
    rows: rows.length,
    dramas: labels.length,
    eligible: model.population.eligible,
    fitted,
    cohortSizes: { count: cohortSizes.length, min: Math.min(...cohortSizes), median: quantile(cohortSizes, 0.5), max: Math.max(...cohortSizes) },
    droppedCohorts,
    classSizes: model.clusters.sizes,
    sseShare: model.clusters.sseShare,
    breakpoints: model.clusters.breakpoints,
    histogram: { from, to, counts },
    warnings: warningsOf(facts),
  };
}
