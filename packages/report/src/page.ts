import { createHash } from "node:crypto";
import { stack, type Block } from "./blocks/layout.ts";
import { html, type Html } from "./html.ts";
import { STYLE } from "./style.ts";

/** One part of a report, with a heading. */
export interface Section {
  /** Heading. */
  title: string;
  /** Sentence below the heading. */
  lead?: string;
  /** What it holds, top first. */
  blocks: readonly Block[];
}

/** A whole report. */
export interface ReportOptions {
  /** Heading and name of the page. */
  title: string;
  /** Line below the heading: what, of whom, when. */
  subtitle?: string;
  /** Parts in order. */
  sections: readonly Section[];
  /** Line at the end, for example versions and seeds. */
  footer?: string;
  /** Language of the texts. Default `en`. */
  language?: string;
}

/** Bytes of base64, for the policy that allows this one style sheet and pictures inside the page, and nothing else. */
function policy(): string {
  const hash = createHash("sha256").update(STYLE).digest("base64");
  return `default-src 'none'; style-src 'sha256-${hash}'; img-src data:; base-uri 'none'; form-action 'none'`;
}

const MIN_SECTIONS_FOR_CONTENTS = 4;

function contents(sections: readonly Section[]): Html {
  return html`<nav aria-label="Contents"><ol>${sections.map(({ title }, i) => html`<li><a href="#part-${i + 1}">${title}</a></li>`)}</ol></nav>`;
}

/**
 * A report as one HTML file: no scripts, no request to anywhere, light and dark by the reader's setting, fit for print.
 * Equal input gives equal bytes.
 */
export function renderReport({ title, subtitle, sections, footer, language = "en" }: ReportOptions): string {
  const parts = sections.map(({ title: heading, lead, blocks }, i) => {
    const intro = lead !== undefined && html`<p class="lead">${lead}</p>`;
    return html`<section id="part-${i + 1}" aria-labelledby="heading-${i + 1}"><h2 id="heading-${i + 1}">${heading}</h2>${intro}${stack(blocks)}</section>\n`;
  });
  const page = html`<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${title}</title>
`;
  const body = html`</head>
<body>
<header><h1>${title}</h1>${subtitle !== undefined && html`<p class="subtitle">${subtitle}</p>`}</header>
${sections.length >= MIN_SECTIONS_FOR_CONTENTS && contents(sections)}
<main>
${parts}</main>
${footer !== undefined && html`<footer><p>${footer}</p></footer>`}
</body>
</html>
`;
  return `${page.toString()}<style>${STYLE}</style>\n${body.toString()}`;
}
