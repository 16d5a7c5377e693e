import { html, type Html, type Piece } from "../html.ts";

/** What every figure may carry. */
export interface FigureOptions {
  /** Short heading above the figure. */
  title?: string;
  /** One or two sentences below the heading that say what is seen. */
  caption?: string;
  /** `half` draws for one of two columns. Default `full`. */
  size?: "full" | "half";
}

/** Width of a drawing in user units. */
export function drawingWidth({ size = "full" }: FigureOptions): number {
  return size === "half" ? 480 : 980;
}

/** A titled figure; says so when there is nothing to draw. */
export function figure(options: FigureOptions, body: Html | null, legend?: Piece): Html {
  const { title, caption } = options;
  const heading = title !== undefined && html`<strong>${title}</strong>`;
  const remark = caption !== undefined && html`<span>${caption}</span>`;
  const head = (heading || remark) && html`<figcaption>${heading}${remark}</figcaption>`;
  return html`<figure class="figure">${head}${body === null ? html`<p class="no-data">no data</p>` : [legend, body]}</figure>`;
}

/** A drawing with its summary for screen readers, in a box that scrolls on narrow screens. */
export function drawing(width: number, height: number, summary: string, content: Piece): Html {
  return html`<div class="drawing${width > 600 ? " wide" : ""}"><svg viewBox="0 0 ${Math.round(width)} ${Math.round(height)}" role="img" aria-label="${summary}">${content}</svg></div>`;
}
