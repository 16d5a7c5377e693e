import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";
import { drawing, drawingWidth, figure, type FigureOptions } from "../blocks/figure.ts";
import { label, stroke, xAxis, xTitle, yAxis, yTitle } from "./axes.ts";
import { at, clamped, extent, isShown, linearScale, niceTicks, type Scale } from "./scale.ts";
import { smoothed, thinned, type Point } from "./series.ts";
import { textWidth } from "./text.ts";

/** One line. */
export interface LineSeries {
  /** Name in the legend. */
  name: string;
  /** [x, y], ascending in x; a y that is not finite leaves a gap. */
  points: readonly Point[];
}

/** A vertical mark, such as the start of a phase. */
export interface LineMark {
  /** Place. */
  x: number;
  /** Text beside it. */
  label: string;
}

/** What a line chart shows. */
export interface LineChartOptions extends FigureOptions {
  /** Lines, at most six to stay readable. */
  series: readonly LineSeries[];
  /** Meaning and unit of x. */
  xLabel?: string;
  /** Meaning and unit of y. */
  yLabel?: string;
  /** Weight of the past in the exponential mean that is drawn over the faint raw line, 0 … <1. Default 0: raw only. */
  smoothing?: number;
  /** Range of y; default: that of the data. */
  yRange?: readonly [number, number];
  /** Vertical marks. */
  marks?: readonly LineMark[];
  /** How values are written in the legend. Default {@link formatNumber}. */
  format?: (value: number) => string;
}

const HEIGHT = 300;
const TOP = 14;
const BOTTOM = 46;

function pathOf(points: readonly Point[], x: Scale, y: Scale): string {
  let isOpen = false;
  const steps: string[] = [];
  for (const [px, py] of points) {
    if (!isShown(px) || !isShown(py)) {
      isOpen = false;
      continue;
    }
    steps.push(`${isOpen ? "L" : "M"}${at(x(px))} ${at(y(py))}`);
    isOpen = true;
  }
  return steps.join("");
}

const isDrawable = ([x, y]: Point): boolean => isShown(x) && isShown(y);

function line(series: LineSeries, index: number, smoothing: number, x: Scale, y: Scale, width: number): Html {
  const style = `c${index % 6} d${index % 6}`;
  const finite = series.points.filter(isDrawable);
  if (finite.length === 1) return html`<circle class="fill ${style}" cx="${at(x(finite[0]![0]))}" cy="${at(y(finite[0]![1]))}" r="4"/>`;
  const raw = html`<path class="line ${style}${smoothing > 0 ? " faint" : ""}" d="${pathOf(thinned(series.points, width), x, y)}"/>`;
  return smoothing > 0 ? html`${raw}<path class="line ${style}" d="${pathOf(thinned(smoothed(series.points, smoothing), width), x, y)}"/>` : raw;
}

function legend(series: readonly LineSeries[], smoothing: number, format: (value: number) => string): Html {
  const items = series.map(({ name, points }, i) => {
    const last = smoothed(points, smoothing).findLast(isDrawable)?.[1];
    const fact = last === undefined ? "no data" : `${smoothing > 0 ? "last mean" : "last"} ${format(last)}`;
    const swatch = html`<svg class="swatch" viewBox="0 0 28 10" aria-hidden="true"><path class="line c${i % 6} d${i % 6}" d="M1 5H27"/></svg>`;
    return html`<li>${swatch}${name} <span class="muted">${fact}</span></li>`;
  });
  return html`<ul class="legend">${items}</ul>`;
}

/** A line chart with axes, grid and a legend that gives each line's last value, for training curves and other series. */
export function lineChart(options: LineChartOptions): Html {
  const { series, xLabel, yLabel, smoothing = 0, marks = [], format = (value: number) => formatNumber(value) } = options;
  const points = series.flatMap((one) => one.points.filter(isDrawable));
  const xExtent = extent(points.map(([x]) => x));
  const yExtent = options.yRange ?? extent(points.map(([, y]) => y));
  if (!xExtent || !yExtent) return figure(options, null);
  const width = drawingWidth(options);
  const yTicks = niceTicks([yExtent[0], yExtent[1]], 6);
  const left = Math.max(...yTicks.values.map((value) => textWidth(yTicks.label(value), 12))) + (yLabel === undefined ? 14 : 34);
  const frame = { left, right: width - 16, top: TOP, bottom: HEIGHT - BOTTOM };
  const xTicks = niceTicks(xExtent, width > 600 ? 10 : 6);
  const x = linearScale(xExtent[0] === xExtent[1] ? xTicks.domain : xExtent, [left, frame.right]);
  const place = linearScale(yTicks.domain, [frame.bottom, TOP]);
  const y = (value: number): number => place(clamped(value, yTicks.domain));
  const visible = marks.filter((mark) => x(mark.x) >= left && x(mark.x) <= frame.right);
  const content = [
    yAxis(yTicks.values, y, yTicks.label, frame),
    xAxis(xTicks, x, frame),
    visible.map((mark) => [stroke("mark", x(mark.x), TOP, x(mark.x), frame.bottom), label("tick", x(mark.x) + 5, TOP + 10, mark.label)]),
    series.map((one, i) => line(one, i, smoothing, x, y, frame.right - left)),
    xLabel !== undefined && xTitle(xLabel, frame),
    yLabel !== undefined && yTitle(yLabel, frame),
  ];
  const last = (own: readonly Point[]): string => format(own.findLast(isDrawable)?.[1] ?? Number.NaN);
  const summary = `${options.title ?? "Line chart"}: ${series.map(({ name, points: own }) => `${name}, last ${last(own)}`).join("; ")}`;
  return figure(options, drawing(width, HEIGHT, summary, content), legend(series, smoothing, format));
}
