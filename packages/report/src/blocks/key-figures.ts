import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";

/** One figure that a reader should see first. */
export interface KeyFigure {
  /** What it is. */
  label: string;
  /** Its value; numbers are formatted, null is a dash. */
  value: string | number | null;
  /** Unit behind the value. */
  unit?: string;
  /** Ends of its 95 % interval. */
  interval?: readonly [low: number, high: number] | null;
  /** Number of observations behind it. */
  n?: number;
  /** A few words below. */
  note?: string;
  /** Colour of the value. Default `plain`. */
  tone?: "plain" | "good" | "bad";
}

/** Tiles with large numbers. */
export function keyFigures(figures: readonly KeyFigure[]): Html {
  if (figures.length === 0) return html`<p class="no-data">no data</p>`;
  return html`<dl class="tiles">${figures.map(({ label, value, unit, interval, n, note, tone = "plain" }) => {
    const facts = [interval ? `95 %: ${formatNumber(interval[0])} to ${formatNumber(interval[1])}` : null, n === undefined ? null : `n = ${formatNumber(n)}`, note ?? null].filter((fact) => fact !== null);
    const shown = html`${typeof value === "string" ? value : formatNumber(value)}${unit !== undefined && html`<span class="unit">${unit}</span>`}`;
    return html`<div class="tile"><dt>${label}</dt><dd class="figure-value ${tone}">${shown}</dd>${facts.map((fact) => html`<dd class="fact">${fact}</dd>`)}</div>`;
  })}</dl>`;
}
