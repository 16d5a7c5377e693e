import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";
import { drawing, drawingWidth, figure, type FigureOptions } from "../blocks/figure.ts";
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
  const texts = rows.map(({ value, low, high, n }) => `${number(value)}${isShown(low) && isShown(high) ? ` [${number(low)}, ${number(high)}]` : ""}${n === undefined ? "" : ` · n = ${formatNumber(n)}`}`);
  const left = Math.min(Math.max(...rows.map((row) => textWidth(row.label))) + 18, width * 0.34);
  const right = width - Math.min(Math.max(...texts.map((text) => textWidth(text))) + 14, width * 0.48);
  const ticks = niceTicks(options.range ?? (reference && isShown(reference.value) ? [Math.min(found[0], reference.value), Math.max(found[1], reference.value)] : found), width > 600 ? 8 : 4);
  const x = linearScale(ticks.domain, [left + 8, right - 8]);
  const clamp = (value: number): number => x(clamped(value, ticks.domain));
  const bottom = TOP + rows.length * ROW;
  const grid = ticks.values.map((value) => html`<line class="grid" x1="${at(x(value))}" x2="${at(x(value))}" y1="${TOP}" y2="${bottom}"/><text class="tick middle" x="${at(x(value))}" y="${bottom + 18}">${ticks.label(value)}</text>`);
  const marks = rows.map((row, i) => {
    const y = TOP + (i + 0.5) * ROW;
    const { value, low, high } = row;
    const tone = row.isHighlighted ? "c1" : "c0";
    const bar = isShown(low) && isShown(high) && html`<path class="interval ${tone}" d="M${at(clamp(low))} ${y}H${at(clamp(high))}M${at(clamp(low))} ${y - 5}v10M${at(clamp(high))} ${y - 5}v10"/>`;
    const point = isShown(value) && html`<circle class="fill ${tone}" cx="${at(clamp(value))}" cy="${y}" r="5.5"/>`;
    return html`<text class="name end" x="${at(left - 8)}" y="${y + 4.5}">${fitText(row.label, left - 10)}<title>${row.label}</title></text>${bar}${point}<text class="value" x="${at(right + 6)}" y="${y + 4.5}">${texts[i]}</text>`;
  });
  const line = reference && isShown(reference.value) && html`<line class="mark" x1="${at(clamp(reference.value))}" x2="${at(clamp(reference.value))}" y1="${TOP - 6}" y2="${bottom}"/><text class="tick middle" x="${at(clamp(reference.value))}" y="${TOP - 10}">${reference.label}</text>`;
  const label = xLabel !== undefined && html`<text class="label middle" x="${at((left + right) / 2)}" y="${bottom + 40}">${xLabel}</text>`;
  const summary = `${options.title ?? "Intervals"}: ${rows.map((row, i) => `${row.label} ${texts[i]!}`).join("; ")}`;
  return figure(options, drawing(width, bottom + (xLabel === undefined ? 26 : 48), summary, html`${grid}${line}${marks}${label}`));
}
