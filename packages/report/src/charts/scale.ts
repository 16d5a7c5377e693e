import { formatNumber } from "../format.ts";

/** A linear scale: value → place. */
export type Scale = (value: number) => number;

/** Places for values; a domain without extent maps to the middle. */
export function linearScale([low, high]: readonly [number, number], [from, to]: readonly [number, number]): Scale {
  return high === low ? () => (from + to) / 2 : (value) => from + ((value - low) / (high - low)) * (to - from);
}

/** Whether a value can be drawn: finite, and small enough that differences of two do not overflow. */
export function isShown(value: number | null | undefined): value is number {
  return typeof value === "number" && Math.abs(value) <= 1e300;
}

/** Least and greatest value that can be drawn; null without one. */
export function extent(values: Iterable<number | null | undefined>): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!isShown(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? null : [low, high];
}

/** Round values at which an axis is labelled. */
export interface Ticks {
  /** Values, ascending. */
  values: number[];
  /** Domain widened to whole steps. */
  domain: [number, number];
  /** Label of a value. */
  label: (value: number) => string;
}

/** About `count` ticks in steps of 1, 2 or 5; a domain of hardly any extent is widened around its value. */
export function niceTicks([low, high]: readonly [number, number], count: number): Ticks {
  const size = Math.max(Math.abs(low), Math.abs(high));
  const pad = high - low > Math.max(size * 1e-9, 1e-290) ? 0 : size > 1e-290 ? size / 2 : 0.5;
  const span = high - low + 2 * pad;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => span / one <= count) ?? span;
  const first = Math.floor((low - pad) / step + 1e-9);
  const last = Math.ceil((high + pad) / step - 1e-9);
  const values = Array.from({ length: Math.min(last - first + 1, 50) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const label = (value: number): string => (digits > 5 || step >= 1e7 ? formatNumber(value) : formatNumber(value, digits));
  return { values, domain: [values[0]!, values.at(-1)!], label };
}

/** A value within a domain. */
export function clamped(value: number, [low, high]: readonly [number, number]): number {
  return Math.min(Math.max(value, low), high);
}

/** A coordinate with one digit after the point. */
export function at(value: number): string {
  return String(Math.round(value * 10) / 10);
}
