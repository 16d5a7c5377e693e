import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";
import { drawing, drawingWidth, figure, type FigureOptions } from "../blocks/figure.ts";
import { label, rowName, stroke, xTitle } from "./axes.ts";
import { at, clamped, extent, isShown, linearScale, niceTicks } from "./scale.ts";
import { fitText, textWidth } from "./text.ts";

/** One estimate with its interval. */
export interface Interval {
  /** Name of the row. */
  label: string;
  /** Point estimate; null is written as a dash. */
  value: number | null;
  /** Lower end; without ends only the point is drawn. */
  low?: number | null;
  /** Upper end. */
  high?: number | null;
  /** Number of observations behind it. */
  n?: number;
  /** Drawn in the accent colour. Default false. */
  isHighlighted?: boolean;
}

/** What an interval plot shows. */
export interface IntervalPlotOptions extends FigureOptions {
  /** Rows, top first. */
  rows: readonly Interval[];
  /** Meaning and unit of the axis, for example `PCC, 95 % interval`. */
  xLabel?: string;
  /** A vertical line to compare with, such as chance. */
  reference?: { value: number; label: string };
  /** Range of the axis; default: that of rows and reference. */
  range?: readonly [number, number];
  /** Digits after the point. Default 3. */
  digits?: number;
}

const ROW = 34;
const TOP = 24;

/** Points with intervals on one axis, each with its numbers, for comparing models or settings. */
export function intervalPlot(options: IntervalPlotOptions): Html {
  const { rows, reference, digits = 3, xLabel } = options;
  const found = extent(rows.flatMap((row) => [row.value, row.low, row.high]));
  if (!found) return figure(options, null);
  const number = (value: number | null | undefined): string => formatNumber(value, digits);
  const width = drawingWidth(options);
  const texts = rows.map(({ value, low, high, n }) => {
    const ends = isShown(low) && isShown(high) ? ` [${number(low)}, ${number(high)}]` : "";
    return `${number(value)}${ends}${n === undefined ? "" : ` · n = ${formatNumber(n)}`}`;
  });
  const left = Math.min(Math.max(...rows.map((row) => textWidth(row.label))) + 18, width * 0.34);
  const right = width - Math.min(Math.max(...texts.map((text) => textWidth(text))) + 14, width * 0.48);
  const ticks = niceTicks(options.range ?? (reference && isShown(reference.value) ? [Math.min(found[0], reference.value), Math.max(found[1], reference.value)] : found), width > 600 ? 8 : 4);
  const x = linearScale(ticks.domain, [left + 8, right - 8]);
  const clamp = (value: number): number => x(clamped(value, ticks.domain));
  const bottom = TOP + rows.length * ROW;
  const grid = ticks.values.map((value) => [stroke("grid", x(value), TOP, x(value), bottom), label("tick middle", x(value), bottom + 18, ticks.label(value))]);
  const marks = rows.map((row, i) => {
    const y = TOP + (i + 0.5) * ROW;
    const { value, low, high } = row;
    const tone = row.isHighlighted ? "c1" : "c0";
    const ends = isShown(low) && isShown(high) ? [clamp(low), clamp(high)] : [];
    const bar = ends.length > 0 && [stroke(`interval ${tone}`, ends[0]!, y, ends[1]!, y), ends.map((end) => stroke(`interval ${tone}`, end, y - 5, end, y + 5))];
    const point = isShown(value) && html`<circle class="fill ${tone}" cx="${at(clamp(value))}" cy="${at(y)}" r="5.5"/>`;
    return [rowName(left - 8, y + 4.5, fitText(row.label, left - 10), row.label), bar, point, label("value", right + 6, y + 4.5, texts[i]!)];
  });
  const compared = reference && isShown(reference.value) && clamp(reference.value);
  const line = typeof compared === "number" && [stroke("mark", compared, TOP - 6, compared, bottom), label("tick middle", compared, TOP - 10, reference!.label)];
  const title = xLabel !== undefined && xTitle(xLabel, { left, right, top: TOP, bottom });
  const summary = `${options.title ?? "Intervals"}: ${rows.map((row, i) => `${row.label} ${texts[i]!}`).join("; ")}`;
  return figure(options, drawing(width, bottom + (xLabel === undefined ? 26 : 48), summary, [grid, line, marks, title]));
}
