import { formatNumber } from "../format.ts";

/** A linear scale: value → place. */
export type Scale = (value: number) => number;

/** Places for values; a domain without extent maps to the middle. */
export function linearScale([low, high]: readonly [number, number], [from, to]: readonly [number, number]): Scale {
  return high === low ? () => (from + to) / 2 : (value) => from + ((value - low) / (high - low)) * (to - from);
}

/** Least and greatest finite value; null without one. */
export function extent(values: Iterable<number>): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
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

/** About `count` ticks in steps of 1, 2 or 5; a domain without extent is widened around its value. */
export function niceTicks([low, high]: readonly [number, number], count: number): Ticks {
  const pad = high > low ? 0 : Math.abs(low) / 2 || 0.5;
  const span = Math.max(high + pad - (low - pad), Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => span / one <= count) ?? span;
  const first = Math.floor((low - pad) / step + 1e-9);
  const last = Math.ceil((high + pad) / step - 1e-9);
  const values = Array.from({ length: Math.min(last - first + 1, 50) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const label = (value: number): string => (digits > 5 || step >= 1e7 ? formatNumber(value) : formatNumber(value, digits));
  return { values, domain: [values[0]!, values.at(-1)!], label };
}

/** A coordinate with one digit after the point. */
export function at(value: number): string {
  return String(Math.round(value * 10) / 10);
}
