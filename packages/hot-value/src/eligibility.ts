/** Age from which a drama's label is fitted. */
export type MinAge = { months: number } | { days: number };

const DAY_MS = 86_400_000;

/** The date so many calendar months later, the day clamped to the month's end. */
function addMonths(date: string, months: number): string {
  const [year, month, day] = date.split("-").map(Number) as [number, number, number];
  const index = year * 12 + (month - 1) + months;
  const [newYear, newMonth] = [Math.floor(index / 12), index % 12];
  const last = new Date(Date.UTC(newYear, newMonth + 1, 0)).getUTCDate();
  return new Date(Date.UTC(newYear, newMonth, Math.min(day, last))).toISOString().slice(0, 10);
}

/** Whether a drama is older than the age on a day: its release date plus the age lies strictly before. Default two months. */
export function isEligible(releasedOn: string, asOf: string, minAge: MinAge = { months: 2 }): boolean {
  const due = "months" in minAge ? addMonths(releasedOn, minAge.months) : new Date(Date.parse(releasedOn) + minAge.days * DAY_MS).toISOString().slice(0, 10);
  return due < asOf;
}
