import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";

/** A paragraph; blank lines start a new one. */
export function paragraph(text: string): Html {
  return html`${text.split(/\n{2,}/u).map((part) => html`<p>${part.trim()}</p>`)}`;
}

/** A heading within a section. */
export function heading(text: string): Html {
  return html`<h3>${text}</h3>`;
}

/** A bulleted list. */
export function bulletList(items: readonly string[]): Html {
  return items.length === 0 ? html`` : html`<ul class="bullets">${items.map((item) => html`<li>${item}</li>`)}</ul>`;
}

/** Names with their values, in order; numbers are formatted, null is a dash. */
export function keyValues(pairs: readonly (readonly [name: string, value: string | number | Html | null])[]): Html {
  return html`<dl class="pairs">${pairs.map(([name, value]) => html`<div><dt>${name}</dt><dd>${typeof value === "number" || value === null ? formatNumber(value) : value}</dd></div>`)}</dl>`;
}

/** One quotation. */
export interface Quote {
  /** What was said. */
  text: string;
  /** Who said it, or a remark. */
  by?: string;
}

/** Quotations, such as viewers' comments. */
export function quotes(items: readonly (Quote | string)[]): Html {
  const all = items.map((item): Quote => (typeof item === "string" ? { text: item } : item));
  return all.length === 0 ? html`<p class="no-data">no data</p>` : html`<ul class="quotes">${all.map(({ text, by }) => html`<li><q>${text}</q>${by !== undefined && html` <cite>${by}</cite>`}</li>`)}</ul>`;
}

/** Preformatted text, for example a command or a configuration. */
export function codeBlock(code: string): Html {
  return html`<pre tabindex="0"><code>${code}</code></pre>`;
}

/** What a callout says. */
export interface CalloutOptions {
  /** Tone; always written out as a word too. Default `note`. */
  kind?: "note" | "warning" | "good";
  /** Heading. Default `Note`, `Warning` or `Good`. */
  title?: string;
  /** One text or a list of them. */
  text: string | readonly string[];
}

/** A remark set apart from the text. */
export function callout({ kind = "note", title, text }: CalloutOptions): Html {
  const heading = title ?? { note: "Note", warning: "Warning", good: "Good" }[kind];
  return html`<div class="callout ${kind}" role="note"><strong>${heading}</strong>${typeof text === "string" ? paragraph(text) : bulletList(text)}</div>`;
}
