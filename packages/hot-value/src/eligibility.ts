import { addDays } from "./days.ts";

/** Age from which a drama's label is fitted. */
export type MinAge = { months: number } | { days: number };

/** The date so many calendar months later, the day clamped to the month's end. */
function addMonths(date: string, months: number): string {
  const [year, month, day] = date.split("-").map(Number) as [number, number, number];
  const index = year * 12 + (month - 1) + months;
  const [newYear, newMonth] = [Math.floor(index / 12), index % 12];
  const last = new Date(Date.UTC(newYear, newMonth + 1, 0)).getUTCDate();
  return new Date(Date.UTC(newYear, newMonth, Math.min(day, last))).toISOString().slice(0, 10);
}

/** The last day on which a drama is not yet older than the age, `YYYY-MM-DD`. */
export function dueDate(releasedOn: string, minAge: MinAge): string {
  return "months" in minAge ? addMonths(releasedOn, minAge.months) : addDays(releasedOn, minAge.days);
}

/** Whether a drama is older than the age on a day: its release date plus the age lies strictly before. Default two months. */
export function isEligible(releasedOn: string, asOf: string, minAge: MinAge = { months: 2 }): boolean {
  return dueDate(releasedOn, minAge) < asOf;
}

/** The latest release date that is eligible on a day; every earlier one is too. */
export function lastEligibleRelease(asOf: string, minAge: MinAge): string {
  const guess = "months" in minAge ? addMonths(asOf, -minAge.months) : addDays(asOf, -minAge.days);
  // The month's end is clamped both ways, so the answer lies within a few days of the guess.
  let day = addDays(guess, 4);
  while (!isEligible(day, asOf, minAge)) day = addDays(day, -1);
  return day;
}
