import { html, type Html } from "../html.ts";

/** Something that stands in a section: a block of this package, or text, which becomes a paragraph. */
export type Block = Html | string;

/** Blocks below each other. */
export function stack(blocks: readonly Block[]): Html {
  return html`${blocks.map((block) => (typeof block === "string" ? html`<p>${block}</p>` : block))}`;
}

/** Columns of a block or several, below each other on narrow screens. Give charts in them `size: "half"`. */
export function columns(parts: readonly (Block | readonly Block[])[]): Html {
  const isList = (part: Block | readonly Block[]): part is readonly Block[] => Array.isArray(part);
  return html`<div class="columns">${parts.map((part) => html`<div>${stack(isList(part) ? part : [part])}</div>`)}</div>`;
}

/** A part that is folded up until the reader opens it. */
export function details(summary: string, blocks: readonly Block[]): Html {
  return html`<details><summary>${summary}</summary><div class="details">${stack(blocks)}</div></details>`;
}
