/** Longest pause that a provider can ask for; afterwards it is asked again, which costs nothing. */
const MAX_PAUSE_MS = 3_600_000;

/**
 * Milliseconds of a `Retry-After` header: seconds, with or without a fraction, or an HTTP date. Dates are taken against the answer's
 * own `Date`, so that clocks that disagree do no harm.
 *
 * @param now Milliseconds since 1970, for answers without `Date`.
 * @returns 0 … one hour; undefined for a header that says nothing.
 */
export function retryAfterMs(header: string | null, date: string | null, now: number): number | undefined {
  if (header === null || header.trim() === "") return undefined;
  const seconds = Number(header);
  const pause = Number.isNaN(seconds) ? Date.parse(header) - (Date.parse(date ?? "") || now) : seconds * 1000;
  return Number.isNaN(pause) ? undefined : Math.min(MAX_PAUSE_MS, Math.max(0, pause));
}
