/** Finished markup. Made only inside this package, so that text from outside can never become markup. */
export class Html {
  readonly #markup: string;

  /** @internal */
  constructor(markup: string) {
    this.#markup = markup;
  }

  /** The markup. */
  toString(): string {
    return this.#markup;
  }
}

/** What may stand in a template: text and numbers are escaped, markup stays, lists are joined, nothing is left out. */
export type Piece = Html | string | number | false | null | undefined | readonly Piece[];

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
/** Controls, bidirectional overrides that could make text read as something else, and halves of surrogate pairs. */
const UNREADABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]|\p{Surrogate}/gu;

/** Text for element content and quoted attributes. */
function escapeText(text: string): string {
  return text.replace(UNREADABLE, "\ufffd").replace(/[&<>"']/gu, (character) => ESCAPES[character]!);
}

function markupOf(piece: Piece): string {
  if (piece instanceof Html) return piece.toString();
  if (piece === null || piece === undefined || piece === false) return "";
  return typeof piece === "object" ? piece.map(markupOf).join("") : escapeText(String(piece));
}

/** Markup from a template whose values are escaped; attributes in it must be quoted. */
export function html(strings: TemplateStringsArray, ...pieces: readonly Piece[]): Html {
  return new Html(strings.reduce((markup, part, i) => markup + markupOf(pieces[i - 1]) + part));
}
