import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";
import { drawing, drawingWidth, figure, type FigureOptions } from "../blocks/figure.ts";
import { at, extent, isShown, linearScale, niceTicks } from "./scale.ts";
import { textWidth } from "./text.ts";

/** What a histogram shows. */
export interface HistogramOptions extends FigureOptions {
  /** Observations; those that are not finite are left out and counted in the caption's n. */
  values: readonly number[];
  /** About how many bins, on round edges. Default 20. */
  bins?: number;
  /** Meaning and unit of the values. */
  xLabel?: string;
}

const HEIGHT = 260;
const TOP = 22;
const BOTTOM = 46;

/** Counts of values in equal bins with round edges. */
export function histogram(options: HistogramOptions): Html {
  const { bins = 20, xLabel } = options;
  const values = options.values.filter((value) => isShown(value));
  const range = extent(values);
  if (!range) return figure(options, null);
  const edges = niceTicks(range, bins);
  const step = edges.values[1]! - edges.values[0]!;
  const counts = new Array<number>(edges.values.length - 1).fill(0);
  for (const value of values) counts[Math.min(counts.length - 1, Math.max(0, Math.floor((value - edges.values[0]!) / step + 1e-9)))]!++;
  const width = drawingWidth(options);
  const yTicks = niceTicks([0, Math.max(...counts)], 4);
  const whole = yTicks.values.filter((value) => Number.isInteger(value));
  const left = Math.max(...whole.map((value) => textWidth(formatNumber(value), 12))) + 14;
  const x = linearScale(edges.domain, [left, width - 16]);
  const y = linearScale(yTicks.domain, [HEIGHT - BOTTOM, TOP]);
  const labels = niceTicks(range, width > 600 ? 10 : 6);
  const isDense = counts.length > (width > 600 ? 24 : 12);
  const bars = counts.map((count, i) => {
    const from = x(edges.values[i]!);
    const to = x(edges.values[i + 1]!);
    const bar = html`<rect class="fill c0" x="${at(from + 1)}" y="${at(y(count))}" width="${at(Math.max(to - from - 2, 1))}" height="${at(y(0) - y(count))}"><title>${edges.label(edges.values[i]!)} to ${edges.label(edges.values[i + 1]!)}: ${count}</title></rect>`;
    return isDense || count === 0 ? bar : html`${bar}<text class="tick middle" x="${at((from + to) / 2)}" y="${at(y(count) - 5)}">${formatNumber(count)}</text>`;
  });
  const missing = options.values.length - values.length;
  const content = html`<text class="tick" x="0" y="10">count</text>${whole.map((value) => html`<line class="grid" x1="${at(left)}" x2="${width - 16}" y1="${at(y(value))}" y2="${at(y(value))}"/><text class="tick end" x="${at(left - 8)}" y="${at(y(value) + 4)}">${formatNumber(value)}</text>`)}${bars}<line class="axis" x1="${at(left)}" x2="${width - 16}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM}"/>${labels.values.filter((value) => x(value) >= left - 1 && x(value) <= width - 15).map((value) => html`<text class="tick middle" x="${at(x(value))}" y="${HEIGHT - BOTTOM + 20}">${labels.label(value)}</text>`)}<text class="label middle" x="${at((left + width) / 2)}" y="${HEIGHT - 6}">${xLabel !== undefined && `${xLabel}, `}n = ${formatNumber(values.length)}${missing > 0 && `, ${formatNumber(missing)} without a value`}</text>`;
  return figure(options, drawing(width, HEIGHT, `${options.title ?? "Histogram"} of ${values.length} values from ${formatNumber(range[0])} to ${formatNumber(range[1])}`, content));
}
