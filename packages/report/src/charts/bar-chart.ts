import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";
import { drawing, drawingWidth, figure, type FigureOptions } from "../blocks/figure.ts";
import { label, rowName, stroke } from "./axes.ts";
import { at, clamped, extent, isShown, linearScale } from "./scale.ts";
import { fitText, textWidth } from "./text.ts";

/** One row of bars. */
export interface Bar {
  /** Name of the row. */
  label: string;
  /** Length, or one a series; null and NaN are written as a dash. */
  value: number | null | readonly (number | null)[];
  /** Number of observations behind it. */
  n?: number;
}

/** What a bar chart shows. */
export interface BarChartOptions extends FigureOptions {
  /** Rows, top first. */
  bars: readonly Bar[];
  /** Names of the bars of each row, for a legend; needed with several values a row. */
  series?: readonly string[];
  /** Range of values; default from 0 to the greatest. */
  range?: readonly [number, number];
  /** How values are written. Default {@link formatNumber}. */
  format?: (value: number) => string;
}

const BAR = 18;
const GAP = 14;

/** Legend of filled swatches. */
export function fillLegend(names: readonly string[], classOf: (index: number) => string): Html {
  const swatch = (i: number): Html => html`<svg class="swatch square" viewBox="0 0 12 12" aria-hidden="true"><rect class="fill ${classOf(i)}" width="12" height="12" rx="2"/></svg>`;
  return html`<ul class="legend">${names.map((name, i) => html`<li>${swatch(i)}${name}</li>`)}</ul>`;
}

/** Horizontal bars, each with its number; several values a row stand below each other. */
export function barChart(options: BarChartOptions): Html {
  const { bars, series = [], format = (value: number) => formatNumber(value) } = options;
  const rows = bars.map(({ label, value, n }) => ({ label, n, values: typeof value === "object" && value !== null ? [...value] : [value] }));
  const found = extent(rows.flatMap((row) => row.values));
  if (!found) return figure(options, null);
  const domain: [number, number] = options.range ? [options.range[0], options.range[1]] : [Math.min(0, found[0]), Math.max(0, found[1])];
  const width = drawingWidth(options);
  const names = rows.map(({ label, n }) => (n === undefined ? label : `${label} · n = ${formatNumber(n)}`));
  const left = Math.min(Math.max(...names.map((name) => textWidth(name))) + 16, width * 0.42);
  const room = Math.max(...rows.flatMap((row) => row.values.map((value) => textWidth(format(value ?? Number.NaN))))) + 14;
  const negative = domain[0] < 0 ? room : 0;
  const x = linearScale(domain, [left + negative, width - room]);
  const zero = x(clamped(0, domain));
  let y = 4;
  const content = rows.map((row, i) => {
    const top = y;
    const height = row.values.length * BAR + (row.values.length - 1) * 3;
    y += height + GAP;
    const marks = row.values.map((value, k) => {
      const line = top + k * (BAR + 3);
      if (!isShown(value)) return label("value muted", zero + 6, line + 13, "–");
      const end = x(clamped(value, domain));
      const size = html`x="${at(Math.min(zero, end))}" y="${at(line)}" width="${at(Math.max(Math.abs(end - zero), 1))}" height="${BAR}" rx="2"`;
      const number = value < 0 ? label("value end", end - 6, line + 13, format(value)) : label("value", end + 6, line + 13, format(value));
      return html`<rect class="fill c${k % 6}" ${size}/>${number}`;
    });
    return [rowName(left - 10, top + height / 2 + 4.5, fitText(names[i]!, left - 12), names[i]!), marks];
  });
  const summary = `${options.title ?? "Bar chart"}: ${rows.map(({ label, values }) => `${label} ${values.map((value) => format(value ?? Number.NaN)).join(", ")}`).join("; ")}`;
  const axis = stroke("axis", zero, 0, zero, y - GAP + 4);
  return figure(options, drawing(width, y - GAP + 6, summary, [content, axis]), series.length > 0 && fillLegend(series, (i) => `c${i % 6}`));
}
