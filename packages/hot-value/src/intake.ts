import type { IndicatorRow, IndicatorScores } from "@dramascope/schema";
import { dueDate, lastEligibleRelease } from "./eligibility.ts";
import { HotValueError } from "./errors.ts";
import type { FitPlan } from "./options.ts";
import { createRowCheck, jsonNumber, type RowProblem } from "./rows.ts";

/** A row that was left out. */
export interface RejectedRow {
  /** As the caller named it; `rows` for rows in memory. */
  file: string;
  /** Line of a text file, row of a Parquet file, place of a row in memory; 1-based. */
  line: number;
  /** First rule that it breaks. */
  reason: RowProblem;
  /** Field that breaks it; null when the whole line is unreadable. */
  field: string | null;
}

/** One drama as its rows told it so far. */
export interface DramaState {
  dramaId: string;
  releasedOn: string;
  /** Days of its rows and the places of these rows, in the order they came. */
  dates: string[];
  places: number[];
  /** Best snapshot inside the peak window. */
  peak: { hotValue: number; date: string; scores: IndicatorScores } | null;
  /** Largest values of the indicators that `minEngagement` names. */
  maxima: number[];
}

/** How often each reason refused a row. */
export type RejectedCounts = Partial<Record<RowProblem, number>>;

/** @throws HotValueError `TOO_MANY_REJECTED` when more than the allowed share of rows was refused. */
export function checkRejected(rejected: number, rows: number, first: RejectedRow | undefined, maxRejectedShare: number): void {
  if (first === undefined || rejected / rows <= maxRejectedShare) return;
  const { file, line, reason, field } = first;
  throw new HotValueError(`${rejected} of ${rows} rows are bad; the first: ${file}:${line}: ${reason}${field === null ? "" : ` (${field})`}`, {
    code: "TOO_MANY_REJECTED",
    hint: `Correct the input, or raise maxRejectedShare above ${maxRejectedShare}.`,
  });
}

/** A second row of a drama's date, where that is an error. */
export function duplicateError(dramaId: string, date: string, first: string, second: string): HotValueError {
  return new HotValueError(`${first} and ${second} are both of drama ${dramaId} on ${date}`, { code: "DUPLICATE_KEY", hint: "Remove one, or set duplicates to first or last." });
}

/** A drama with two release dates. */
export function releaseConflict(dramaId: string, one: string, other: string, where: string): HotValueError {
  return new HotValueError(`drama ${dramaId} was released on ${one} and, says ${where}, on ${other}`, { code: "RELEASE_DATE_CONFLICT", hint: "Correct one of the two." });
}

/** Whether a row's snapshot may be the peak. */
export function peakWindow({ options: { peakWindow: window, minAge } }: FitPlan): (releasedOn: string, date: string) => boolean {
  if (window === "all") return () => true;
  const due = new Map<string, string>();
  const dueOf = (releasedOn: string): string => {
    const known = due.get(releasedOn) ?? dueDate(releasedOn, window === "first-two-months" ? { months: 2 } : minAge);
    due.set(releasedOn, known);
    return known;
  };
  return window === "first-two-months" ? (releasedOn, date) => date <= dueOf(releasedOn) : (releasedOn, date) => date > dueOf(releasedOn);
}

/** Whether a row belongs to the cohort that its date's marks come from. */
export function inPopulation({ options: { reference, minAge }, asOf }: FitPlan): (releasedOn: string) => boolean {
  if (reference.population === "all") return () => true;
  const last = lastEligibleRelease(asOf, minAge);
  return (releasedOn) => releasedOn <= last;
}

/** What the rows hold, and which of them count. */
export interface Intake {
  /** Takes the next row, checks it, and remembers whether it counts; returns it as it is used, or null. */
  add(row: unknown): IndicatorRow | null;
  /** Whether the row of a place (0-based) counts. Settled when all rows are in. */
  isUsed(place: number): boolean;
  dramas: Map<string, DramaState>;
  rejected: RejectedRow[];
  reasons: RejectedCounts;
  /** Rows of the population by date. */
  cohorts: Map<string, number>;
  counts: { rows: number; afterAsOf: number; duplicates: number; precisionLoss: number };
}

/** Takes rows from memory, one after the other. */
export function createIntake(plan: FitPlan): Intake {
  const check = createRowCheck(jsonNumber, plan.options);
  const isMember = inPopulation(plan);
  const skipped = new Set<number>();
  const { duplicates } = plan.options;
  const intake: Intake = {
    add(given) {
      const place = intake.counts.rows++;
      const result = typeof given === "object" && given !== null ? check(given as Record<string, unknown>) : { ok: false as const, error: "malformed-line" as const, field: null };
      if (!result.ok) {
        skipped.add(place);
        intake.rejected.push({ file: "rows", line: place + 1, reason: result.error, field: result.field });
        intake.reasons[result.error] = (intake.reasons[result.error] ?? 0) + 1;
        return null;
      }
      const { row } = result;
      if (result.warning) intake.counts.precisionLoss++;
      if (row.date > plan.asOf) {
        skipped.add(place);
        intake.counts.afterAsOf++;
        return null;
      }
      const known = intake.dramas.get(row.dramaId);
      const drama = known ?? { dramaId: row.dramaId, releasedOn: row.releasedOn, dates: [], places: [], peak: null, maxima: plan.options.minEngagement.map(() => 0) };
      if (known === undefined) intake.dramas.set(row.dramaId, drama);
      if (drama.releasedOn !== row.releasedOn) throw releaseConflict(row.dramaId, drama.releasedOn, row.releasedOn, `row ${place + 1}`);
      const earlier = drama.dates.indexOf(row.date);
      if (earlier >= 0) {
        if (duplicates === "error") throw duplicateError(row.dramaId, row.date, `rows ${drama.places[earlier]! + 1}`, `${place + 1}`);
        intake.counts.duplicates++;
        skipped.add(duplicates === "first" ? place : drama.places[earlier]!);
        if (duplicates === "first") return null;
        drama.places[earlier] = place;
        return row;
      }
      drama.dates.push(row.date);
      drama.places.push(place);
      intake.cohorts.set(row.date, (intake.cohorts.get(row.date) ?? 0) + (isMember(row.releasedOn) ? 1 : 0));
      return row;
    },
    isUsed: (place) => !skipped.has(place),
    dramas: new Map(),
    rejected: [],
    reasons: {},
    cohorts: new Map(),
    counts: { rows: 0, afterAsOf: 0, duplicates: 0, precisionLoss: 0 },
  };
  return intake;
}
