import { createRequire } from "node:module";
import { sha256, type IndicatorRow, type IndicatorScores, type Quality } from "@dramascope/schema";
import { clusterHotValues, qualityOf, type ClusterOptions } from "./clusters.ts";
import { isEligible, type MinAge } from "./eligibility.ts";
import { HotValueError } from "./errors.ts";
import { INDICATORS, validateWeights, type Weights } from "./indicators.ts";
import { modelHashOf, type HotValueModel } from "./model.ts";
import { reportOf, type HotValueReport } from "./report.ts";
import { degeneracyOf, type ScoreIndicatorOptions } from "./score-indicator.ts";
import { scoreInCohort, type CohortThresholds } from "./score-row.ts";
import { computeThresholds, type ThresholdOptions, type Thresholds } from "./thresholds.ts";

/** How a model is fitted. Weights and the day have no default. */
export interface FitOptions extends ThresholdOptions, ScoreIndicatorOptions, Omit<ClusterOptions, "k"> {
  weights: Weights;
  /** Day up to which snapshots count and on which ages are taken. */
  asOf: string;
  /** Cohort of a row: all rows of its date, or all rows. Default `per-date`. */
  reference?: "per-date" | "pooled";
  /** Age from which a drama's label takes part in the clustering. Default two months. */
  minAge?: MinAge;
  /** Smallest cohort. Default 200. */
  minCohort?: number;
  /** A smaller cohort is an error, is left out and reported, or is used all the same. Default `error`. */
  onSmallCohort?: "error" | "drop" | "allow";
  /** Two rows of one drama and date: an error, or the first or last counts. Default `error`. */
  duplicates?: "error" | "first" | "last";
  /** Restricts the clustering, for a fit that leaves evaluation dramas out. Default all eligible. */
  fitOn?: (dramaId: string) => boolean;
}

/** The peak of one drama and its class. */
export interface DramaLabel {
  dramaId: string;
  releasedOn: string;
  eligible: boolean;
  /** Largest over its snapshots. */
  hotValue: number;
  peakDate: string;
  /** Scores on that day. */
  scores: IndicatorScores;
  /** Null when the drama is too young. */
  quality: Quality | null;
  /** Snapshots. */
  rows: number;
}

/** What a fit gives. */
export interface HotValueFit {
  model: HotValueModel;
  /** One a drama, by the bytes of its id. */
  labels: DramaLabel[];
  report: HotValueReport;
}

/** Byte order of UTF-8. */
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** Rows without repetition of a drama's date; a drama with two release dates is an error. */
function distinctRows(rows: Iterable<IndicatorRow>, duplicates: "error" | "first" | "last"): IndicatorRow[] {
  const seen = new Map<string, { index: number; position: number }>();
  const releases = new Map<string, string>();
  const out: IndicatorRow[] = [];
  let position = 0;
  for (const row of rows) {
    position++;
    const release = releases.get(row.dramaId);
    if (release !== undefined && release !== row.releasedOn) {
      throw new HotValueError(`drama ${row.dramaId} has the release dates ${release} and ${row.releasedOn}`, { code: "RELEASE_DATE_CONFLICT", hint: "Give every drama one release date." });
    }
    releases.set(row.dramaId, row.releasedOn);
    const key = `${row.date}\t${row.dramaId}`;
    const known = seen.get(key);
    if (known === undefined) {
      seen.set(key, { index: out.length, position });
      out.push(row);
    } else if (duplicates === "last") out[known.index] = row;
    else if (duplicates === "error") {
      throw new HotValueError(`rows ${known.position} and ${position} are both of drama ${row.dramaId} on ${row.date}`, { code: "DUPLICATE_KEY", hint: "Remove one, or set duplicates to first or last." });
    }
  }
  return out;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

function cohortThresholds(date: string, rows: readonly IndicatorRow[], options: FitOptions): CohortThresholds {
  const entries = INDICATORS.map((name): [string, Thresholds] => {
    const thresholds = computeThresholds(Float64Array.from(rows, (row) => row[name]), options);
    const problem = degeneracyOf(thresholds);
    if (problem !== null && options.degenerate !== "fallback") {
      throw new HotValueError(`${name} on ${date}: the cohort's marks coincide (${problem})`, { code: "DEGENERATE_COHORT", cause: problem, hint: "Use a larger cohort, or the option degenerate: fallback." });
    }
    return [name, thresholds];
  });
  return Object.fromEntries(entries) as CohortThresholds;
}

/** SHA-256 over `id, first date, last date, rows` of every drama by id: it does not depend on the order of rows. */
export function idsHash(dramas: readonly (readonly [dramaId: string, first: string, last: string, rows: number])[]): string {
  const lines = [...dramas].sort((a, b) => byBytes(a[0], b[0])).map((drama) => `${drama.join("\t")}\n`);
  return `sha256:${sha256(lines.join(""))}`;
}

/**
 * Fits thresholds, hot values and classes on a population held in memory.
 *
 * @throws HotValueError naming cohort, drama or rows: `SMALL_COHORT`, `DEGENERATE_COHORT`, `DUPLICATE_KEY`, `RELEASE_DATE_CONFLICT`, `TOO_FEW_DISTINCT`, `NO_ROWS`.
 */
export function fitHotValue(rows: Iterable<IndicatorRow>, options: FitOptions): HotValueFit {
  const weights = validateWeights(options.weights);
  const { reference = "per-date", minCohort = 200, onSmallCohort = "error", duplicates = "error", minAge = { months: 2 }, asOf } = options;
  const all = distinctRows(rows, duplicates).filter((row) => row.date <= asOf);
  if (all.length === 0) throw new HotValueError(`no row lies on or before ${asOf}`, { code: "NO_ROWS", hint: "Give rows, or a later day." });
  const cohorts = groupBy(all, (row) => (reference === "pooled" ? "*" : row.date));
  const dropped: string[] = [];
  for (const [date, cohort] of cohorts) {
    if (cohort.length >= minCohort || onSmallCohort === "allow") continue;
    if (onSmallCohort === "error") {
      throw new HotValueError(`the cohort of ${date} has ${cohort.length} rows, fewer than ${minCohort}`, { code: "SMALL_COHORT", hint: "Give more rows, set reference to pooled, or onSmallCohort to drop or allow." });
    }
    dropped.push(date);
    cohorts.delete(date);
  }
  const thresholds = Object.fromEntries([...cohorts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([date, cohort]) => [date, cohortThresholds(date, cohort, options)]));
  const used = [...cohorts.values()].flat();
  const labels = [...groupBy(used, (row) => row.dramaId)].sort(([a], [b]) => byBytes(a, b)).map(([dramaId, snapshots]): DramaLabel => {
    const scored = snapshots
      .map((row) => ({ date: row.date, ...scoreInCohort(row, thresholds[reference === "pooled" ? "*" : row.date]!, weights, options) }))
      .sort((a, b) => b.hotValue - a.hotValue || (a.date < b.date ? -1 : 1));
    const peak = scored[0]!;
    const { releasedOn } = snapshots[0]!;
    return { dramaId, releasedOn, eligible: isEligible(releasedOn, asOf, minAge), hotValue: peak.hotValue, peakDate: peak.date, scores: peak.scores, quality: null, rows: snapshots.length };
  });
  const fitted = labels.filter(({ dramaId, eligible }) => eligible && (options.fitOn?.(dramaId) ?? true));
  const clusters = clusterHotValues(fitted.map((label) => label.hotValue), options);
  for (const label of labels) if (label.eligible) label.quality = qualityOf(label.hotValue, clusters.breakpoints);

  const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
  const span = groupBy(used, (row) => row.dramaId);
  const { weights: _weights, asOf: _asOf, fitOn, ...rest } = options;
  const model: HotValueModel = {
    format: "dramascope.hot-value.model",
    version: 1,
    createdBy: `@dramascope/hot-value ${version}`,
    asOf,
    weights,
    options: { quantile: "linear", rank: 10, rankTies: "positional", belowMin: "clamp", degenerate: "error", minAge, minCohort, onSmallCohort, duplicates, engine: "ckmeans", ...rest, fitOn: fitOn === undefined ? "all" : "subset" },
    reference: { mode: reference },
    thresholds: thresholds,
    clusters: { ...clusters, k: 5 },
    population: {
      rows: used.length,
      dramas: labels.length,
      eligible: labels.filter(({ eligible }) => eligible).length,
      idsHash: idsHash([...span].map(([id, snapshots]) => {
        const dates = snapshots.map(({ date }) => date).sort();
        return [id, dates[0]!, dates.at(-1)!, snapshots.length] as const;
      })),
    },
    modelHash: "",
  };
  model.modelHash = modelHashOf(model);
  return { model, labels, report: reportOf({ rows: used, labels, fitted: fitted.length, model, droppedCohorts: dropped }) };
}
