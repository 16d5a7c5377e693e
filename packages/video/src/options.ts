import { VideoError } from "./errors.ts";

const invalid = (name: string, value: unknown, wanted: string): VideoError => new VideoError(`${name} is ${String(value)}`, { code: "VIDEO_OPTIONS_INVALID", hint: `Give ${wanted}.` });

/** @throws VideoError `VIDEO_OPTIONS_INVALID` naming the option. */
export function assertCount(name: string, value: number, least = 1): void {
  if (!Number.isSafeInteger(value) || value < least) throw invalid(name, value, `an integer from ${least}`);
}

/** @throws VideoError `VIDEO_OPTIONS_INVALID` naming the option. */
export function assertPositive(name: string, value: number): void {
  if (!(value > 0) || value === Infinity) throw invalid(name, value, "a number above 0");
}
