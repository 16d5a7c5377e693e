import { formatNumber, formatPercent } from "../format.ts";
import { html, type Html } from "../html.ts";
import { drawing, drawingWidth, figure, type FigureOptions } from "../blocks/figure.ts";
import { fillLegend } from "./bar-chart.ts";
import { label, rowName } from "./axes.ts";
import { at, isShown, linearScale } from "./scale.ts";
import { fitText, textWidth } from "./text.ts";

/** One stage of a funnel. */
export interface FunnelStep {
  /** Name of the stage. */
  label: string;
  /** What is left here. */
  count: number;
  /** The same by part, for example by class; should sum to `count`. */
  parts?: readonly number[];
}

/** What a funnel chart shows. */
export interface FunnelChartOptions extends FigureOptions {
  /** Stages in order. */
  steps: readonly FunnelStep[];
  /** Names of the parts. */
  parts?: readonly string[];
}

const ROW = 36;
const BAR = 22;

/** Parts are ordered, so they are shades of one colour, pale to strong. */
const shade = (index: number, count: number): string => `c0 o${count < 2 ? 5 : Math.min(5, 1 + Math.round((index * 4) / (count - 1)))}`;

/** How many are left after each stage, with the share of the first stage and the loss since the one before. */
export function funnelChart(options: FunnelChartOptions): Html {
  const { steps, parts = [] } = options;
  const most = Math.max(0, ...steps.map((step) => step.count).filter(isShown));
  if (most === 0) return figure(options, null);
  const width = drawingWidth(options);
  const first = steps.find((step) => isShown(step.count))!.count;
  const texts = steps.map(({ count }, i) => {
    const lost = i === 0 ? 0 : steps[i - 1]!.count - count;
    return `${formatNumber(count)}${i > 0 && first > 0 ? ` · ${formatPercent(count / first)}` : ""}${lost > 0 ? ` · −${formatNumber(lost)}` : ""}`;
  });
  const left = Math.min(Math.max(...steps.map((step) => textWidth(step.label))) + 18, width * 0.34);
  const right = width - Math.max(...texts.map((text) => textWidth(text))) - 16;
  const x = linearScale([0, most], [left, right]);
  const rows = steps.map((step, i) => {
    const y = 2 + i * ROW;
    const pieces = step.parts && step.parts.length > 0 ? step.parts : [step.count];
    let from = 0;
    const bars = pieces.map((piece, k) => {
      if (!isShown(piece) || piece <= 0) return null;
      const start = x(from);
      from = Math.min(from + piece, most);
      const width = Math.max(x(from) - start - (pieces.length > 1 ? 1 : 0), 1);
      const hint = `${step.label}${parts[k] === undefined ? "" : `, ${parts[k]}`}: ${formatNumber(piece)}`;
      const size = html`x="${at(start)}" y="${at(y)}" width="${at(width)}" height="${BAR}" rx="${pieces.length > 1 ? 0 : 3}"`;
      return html`<rect class="fill ${shade(k, pieces.length)}" ${size}><title>${hint}</title></rect>`;
    });
    const end = x(isShown(step.count) ? Math.max(0, step.count) : 0);
    return [rowName(left - 10, y + 16, fitText(step.label, left - 12), step.label), bars, label("value", end + 8, y + 16, texts[i]!)];
  });
  const summary = `${options.title ?? "Funnel"}: ${steps.map((step, i) => `${step.label} ${texts[i]!}`).join("; ")}`;
  return figure(options, drawing(width, steps.length * ROW - ROW + BAR + 6, summary, rows), parts.length > 0 && fillLegend(parts, (k) => shade(k, parts.length)));
}
