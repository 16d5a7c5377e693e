import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";
import { drawing, drawingWidth, figure, type FigureOptions } from "../blocks/figure.ts";
import { label, xAxis, xTitle, yAxis } from "./axes.ts";
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
  const frame = { left, right: width - 16, top: TOP, bottom: HEIGHT - BOTTOM };
  const x = linearScale(edges.domain, [left, frame.right]);
  const y = linearScale(yTicks.domain, [frame.bottom, TOP]);
  const isDense = counts.length > (width > 600 ? 24 : 12);
  const bars = counts.map((count, i) => {
    const [from, to] = [x(edges.values[i]!), x(edges.values[i + 1]!)];
    const hint = `${edges.label(edges.values[i]!)} to ${edges.label(edges.values[i + 1]!)}: ${formatNumber(count)}`;
    const size = html`x="${at(from + 1)}" y="${at(y(count))}" width="${at(Math.max(to - from - 2, 1))}" height="${at(y(0) - y(count))}"`;
    const number = !isDense && count > 0 && label("tick middle", (from + to) / 2, y(count) - 5, formatNumber(count));
    return html`<rect class="fill c0" ${size}><title>${hint}</title></rect>${number}`;
  });
  const missing = options.values.length - values.length;
  const facts = [xLabel, `n = ${formatNumber(values.length)}`, missing > 0 ? `${formatNumber(missing)} without a value` : undefined];
  const content = [
    label("tick", 0, 10, "count"),
    yAxis(whole, y, (value) => formatNumber(value), frame),
    bars,
    xAxis(niceTicks(range, width > 600 ? 10 : 6), x, frame),
    xTitle(facts.filter((fact) => fact !== undefined).join(", "), frame),
  ];
  return figure(options, drawing(width, HEIGHT, `${options.title ?? "Histogram"} of ${values.length} values from ${formatNumber(range[0])} to ${formatNumber(range[1])}`, content));
}
