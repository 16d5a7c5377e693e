import { dayNumber } from "./days.ts";
import { HotValueError } from "./errors.ts";
import { INDICATORS, type IndicatorName } from "./indicators.ts";
import type { FitPlan } from "./options.ts";
import { degeneracyOf } from "./score-indicator.ts";
import { cohortFinder, type CohortThresholds } from "./score-row.ts";
import type { Thresholds } from "./thresholds.ts";

/** Which cohorts there are, and which cohort each date of the input is compared with. */
export interface CohortPlan {
  /** Keys of the cohorts, ascending: dates, or `*`. */
  keys: string[];
  /** Dates without a cohort, whose rows are left out, with their rows. */
  dropped: { date: string; rows: number }[];
  /** Index of the cohort in which the marks of a date's rows are sought; −1 for a date that is left out. */
  indexOf: (date: string) => number;
}

/**
 * Decides the cohorts from the rows of the population by date.
 *
 * @throws HotValueError `NO_ROWS`, `SMALL_COHORT`, or `UNKNOWN_DATE` when a frozen reference has no cohort for a date.
 */
export function planCohorts(plan: FitPlan, rowsByDate: ReadonlyMap<string, number>): CohortPlan {
  const { reference, onSmallCohort } = plan.options;
  if (rowsByDate.size === 0) throw new HotValueError(`no row lies on or before ${plan.asOf}`, { code: "NO_ROWS", hint: "Give rows, or a later day." });
  if (plan.frozen !== undefined) return frozenCohorts(plan.frozen.thresholds, plan.options.onUnknownDate, rowsByDate);
  const pooled = reference.mode === "pooled";
  const sizes = pooled ? new Map([["*", [...rowsByDate.values()].reduce((a, b) => a + b, 0)]]) : rowsByDate;
  const small = [...sizes].filter(([, rows]) => rows === 0 || (rows < reference.minCohort && onSmallCohort !== "allow")).sort(([a], [b]) => (a < b ? -1 : 1));
  if (small.length > 0 && (onSmallCohort === "error" || small.length === sizes.size)) {
    const [key, rows] = small[0]!;
    throw new HotValueError(`the cohort of ${key === "*" ? "all dates" : key} has ${rows} rows, fewer than ${Math.max(1, reference.minCohort)}`, { code: "SMALL_COHORT", hint: "Give more rows, set reference.mode to pooled, or onSmallCohort to drop or allow." });
  }
  const dropped = new Set(small.map(([date]) => date));
  const keys = [...sizes.keys()].filter((key) => !dropped.has(key)).sort();
  const index = new Map(keys.map((key, i) => [key, i]));
  return { keys, dropped: small.map(([date, rows]) => ({ date, rows })), indexOf: (date) => index.get(pooled ? "*" : date) ?? -1 };
}

function frozenCohorts(thresholds: Readonly<Record<string, CohortThresholds>>, onUnknownDate: "latest-before" | "error", rowsByDate: ReadonlyMap<string, number>): CohortPlan {
  const keys = Object.keys(thresholds).sort();
  const find = cohortFinder(keys);
  const index = new Map([...rowsByDate.keys()].map((date) => {
    const key = find(date);
    if (key === undefined || (onUnknownDate === "error" && key !== "*" && key !== date)) {
      throw new HotValueError(`the frozen reference knows no cohort for ${date}`, { code: "UNKNOWN_DATE", hint: "Leave those rows out, or fit the reference on data that covers them." });
    }
    return [date, keys.indexOf(key)];
  }));
  return { keys, dropped: [], indexOf: (date) => index.get(date) ?? -1 };
}

/** Cohorts by day number, for column work; days without a cohort give −1. */
export function cohortsByDay({ indexOf }: CohortPlan, dates: Iterable<string>): { first: number; index: Int32Array } {
  const days = [...dates].map((date) => ({ date, day: dayNumber(date) })).sort((a, b) => a.day - b.day);
  const first = days[0]!.day;
  const index = new Int32Array(days.at(-1)!.day - first + 1).fill(-1);
  for (const { date, day } of days) index[day - first] = indexOf(date);
  return { first, index };
}

/** A cohort scored by the fallback rule. */
export interface FallbackUse {
  /** Date, or `*`. */
  cohort: string;
  /** Whose marks coincide. */
  indicator: IndicatorName;
  /** Which of them. */
  cause: "p93-equals-p30" | "rank10-not-above-p93";
}

/**
 * Cohorts whose marks coincide.
 *
 * @throws HotValueError `DEGENERATE_COHORT` with indicator, date and cause, unless the fallback was chosen.
 */
export function checkDegenerate(thresholds: Readonly<Record<string, CohortThresholds>>, degenerate: "error" | "fallback"): FallbackUse[] {
  const uses: FallbackUse[] = [];
  for (const [cohort, marks] of Object.entries(thresholds)) {
    for (const indicator of INDICATORS) {
      const cause = degeneracyOf(marks[indicator]);
      if (cause === null) continue;
      if (degenerate === "error") {
        throw new HotValueError(`${indicator} ${cohort === "*" ? "of all dates" : `on ${cohort}`}: the cohort's marks coincide (${cause})`, { code: "DEGENERATE_COHORT", cause, hint: "Use a larger cohort, or the option degenerate: fallback." });
      }
      uses.push({ cohort, indicator, cause });
    }
  }
  return uses;
}

/** Marks of every cohort, given those of one indicator in one cohort. */
export function cohortMarks(keys: readonly string[], marksOf: (cohort: number, indicator: number) => Thresholds): Record<string, CohortThresholds> {
  return Object.fromEntries(keys.map((key, cohort) => {
    const marks = INDICATORS.map((name, indicator): [IndicatorName, Thresholds] => {
      try {
        return [name, marksOf(cohort, indicator)];
      } catch (error) {
        if (!HotValueError.isInstance(error)) throw error;
        throw new HotValueError(`${name} ${key === "*" ? "of all dates" : `on ${key}`}: ${(error as Error).message}`, { code: error.code, cause: error, hint: error.hint });
      }
    });
    return [key, Object.fromEntries(marks) as CohortThresholds];
  }));
}
