import { html, type Html } from "../html.ts";
import { at, type Scale, type Ticks } from "./scale.ts";

/** Left, right, top and bottom edge of the plot within a drawing. */
export interface Frame {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** A straight line of a style. */
export function stroke(style: string, x1: number, y1: number, x2: number, y2: number): Html {
  return html`<line class="${style}" x1="${at(x1)}" x2="${at(x2)}" y1="${at(y1)}" y2="${at(y2)}"/>`;
}

/** A text of a style. */
export function label(style: string, x: number, y: number, text: string): Html {
  return html`<text class="${style}" x="${at(x)}" y="${at(y)}">${text}</text>`;
}

/** Name of a row right of its place, cut to fit, whole on hovering. */
export function rowName(x: number, y: number, fitted: string, whole: string): Html {
  return html`<text class="name end" x="${at(x)}" y="${at(y)}">${fitted}<title>${whole}</title></text>`;
}

/** Grid lines and labels of the y axis. */
export function yAxis(values: readonly number[], y: Scale, text: (value: number) => string, { left, right }: Frame): Html {
  return html`${values.map((value) => [stroke("grid", left, y(value), right, y(value)), label("tick end", left - 8, y(value) + 4, text(value))])}`;
}

/** Base line and labels of the x axis; labels outside the plot are left out. */
export function xAxis(ticks: Ticks, x: Scale, { left, right, bottom }: Frame): Html {
  const inside = ticks.values.filter((value) => x(value) >= left - 0.5 && x(value) <= right + 0.5);
  return html`${stroke("axis", left, bottom, right, bottom)}${inside.map((value) => label("tick middle", x(value), bottom + 20, ticks.label(value)))}`;
}

/** Title of the x axis. */
export function xTitle(text: string, { left, right, bottom }: Frame): Html {
  return label("label middle", (left + right) / 2, bottom + 40, text);
}

/** Title of the y axis, turned. */
export function yTitle(text: string, { top, bottom }: Frame): Html {
  const middle = at((top + bottom) / 2);
  return html`<text class="label middle" transform="rotate(-90 12 ${middle})" x="12" y="${middle}">${text}</text>`;
}
