import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";
import { drawing, drawingWidth, figure, type FigureOptions } from "../blocks/figure.ts";
import { label, stroke, xAxis, xTitle, yAxis } from "./axes.ts";
import { at, extent, isShown, linearScale, niceTicks } from "./scale.ts";
import { textWidth } from "./text.ts";

/** Values that were counted already, in bins of equal width. */
export interface BinnedValues {
  /** Lower edge of the first bin. */
  from: number;
  /** Upper edge of the last bin. */
  to: number;
  /** Values of each bin. */
  counts: readonly number[];
}

/** What a histogram shows. */
export interface HistogramOptions extends FigureOptions {
  /** Observations (those that are not finite are left out and counted in the caption's n), or their counts. */
  values: readonly number[] | BinnedValues;
  /** About how many bins of single values, on round edges. Default 20. */
  bins?: number;
  /** Meaning and unit of the values. */
  xLabel?: string;
  /** Vertical lines at values of interest, each with a short name. */
  marks?: readonly { value: number; label: string }[];
}

const HEIGHT = 260;
const TOP = 22;
const BOTTOM = 46;

interface Bins {
  /** One more than counts, ascending. */
  edges: number[];
  counts: readonly number[];
  label: (edge: number) => string;
  missing: number;
}

/** Counts of single values between round edges; null without a value. */
function binsOf(given: readonly number[], bins: number): Bins | null {
  const values = given.filter((value) => isShown(value));
  const range = extent(values);
  if (!range) return null;
  const edges = niceTicks(range, bins);
  const step = edges.values[1]! - edges.values[0]!;
  const counts = new Array<number>(edges.values.length - 1).fill(0);
  for (const value of values) counts[Math.min(counts.length - 1, Math.max(0, Math.floor((value - edges.values[0]!) / step + 1e-9)))]!++;
  return { edges: edges.values, counts, label: edges.label, missing: given.length - values.length };
}

function givenBins({ from, to, counts }: BinnedValues): Bins | null {
  if (counts.length === 0 || !isShown(from) || !isShown(to) || !(to > from)) return null;
  const step = (to - from) / counts.length;
  return { edges: Array.from({ length: counts.length + 1 }, (_, i) => from + i * step), counts, label: (edge) => formatNumber(edge), missing: 0 };
}

/** Counts of values in equal bins. */
export function histogram(options: HistogramOptions): Html {
  const { values, bins: binCount = 20, xLabel, marks = [] } = options;
  const bins = "counts" in values ? givenBins(values) : binsOf(values, binCount);
  if (!bins) return figure(options, null);
  const { edges, counts, missing } = bins;
  const n = counts.reduce((a, b) => a + b, 0);
  const range: [number, number] = [edges[0]!, edges.at(-1)!];
  const width = drawingWidth(options);
  const yTicks = niceTicks([0, Math.max(...counts)], 4);
  const whole = yTicks.values.filter((value) => Number.isInteger(value));
  const left = Math.max(...whole.map((value) => textWidth(formatNumber(value), 12))) + 14;
  const frame = { left, right: width - 16, top: TOP, bottom: HEIGHT - BOTTOM };
  const x = linearScale(range, [left, frame.right]);
  const y = linearScale(yTicks.domain, [frame.bottom, TOP]);
  const isDense = counts.length > (width > 600 ? 24 : 12);
  const bars = counts.map((count, i) => {
    const [from, to] = [x(edges[i]!), x(edges[i + 1]!)];
    const hint = `${bins.label(edges[i]!)} to ${bins.label(edges[i + 1]!)}: ${formatNumber(count)}`;
    const size = html`x="${at(from + 1)}" y="${at(y(count))}" width="${at(Math.max(to - from - 2, 1))}" height="${at(y(0) - y(count))}"`;
    const number = !isDense && count > 0 && label("tick middle", (from + to) / 2, y(count) - 5, formatNumber(count));
    return html`<rect class="fill c0" ${size}><title>${hint}</title></rect>${number}`;
  });
  const lines = marks
    .filter(({ value }) => value >= range[0] && value <= range[1])
    .map(({ value, label: name }) => [stroke("mark", x(value), TOP - 4, x(value), frame.bottom), label("tick middle", x(value), TOP - 9, name)]);
  const facts = [xLabel, `n = ${formatNumber(n)}`, missing > 0 ? `${formatNumber(missing)} without a value` : undefined];
  const content = [
    label("tick", 0, TOP - 12, "count"),
    yAxis(whole, y, (value) => formatNumber(value), frame),
    bars,
    lines,
    xAxis(niceTicks(range, width > 600 ? 10 : 6), x, frame),
    xTitle(facts.filter((fact) => fact !== undefined).join(", "), frame),
  ];
  return figure(options, drawing(width, HEIGHT, `${options.title ?? "Histogram"} of ${n} values from ${formatNumber(range[0])} to ${formatNumber(range[1])}`, content));
}
