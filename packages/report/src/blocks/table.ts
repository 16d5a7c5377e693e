import { formatNumber } from "../format.ts";
import { html, type Html } from "../html.ts";

/** Content of a table's cell; numbers are formatted, null is a dash. */
export type Cell = string | number | null | Html;

/** One column of a table. */
export interface Column {
  /** Heading. */
  title: string;
  /** Default: right when every cell is a number or null, else left. */
  align?: "left" | "right" | "center";
  /** Digits after the point of numbers. Default: about three figures. */
  digits?: number;
}

/** What a table shows. */
export interface TableOptions {
  /** Columns, or their headings. */
  columns: readonly (Column | string)[];
  /** Rows of cells; missing cells are dashes. */
  rows: readonly (readonly Cell[])[];
  /** What the table shows. */
  caption?: string;
  /** Indexes of rows to point out. */
  highlight?: readonly number[];
}

/** A table that scrolls sideways on narrow screens. */
export function table({ columns, rows, caption, highlight = [] }: TableOptions): Html {
  const all = columns.map((column): Column => (typeof column === "string" ? { title: column } : column));
  const aligns = all.map(({ align }, i) => align ?? (rows.length > 0 && rows.every((row) => row[i] === null || row[i] === undefined || typeof row[i] === "number") ? "right" : "left"));
  const text = (cell: Cell | undefined, column: number): Cell => (typeof cell === "number" || cell === null || cell === undefined ? formatNumber(cell, all[column]!.digits) : cell);
  const body = rows.map((row, r) => html`<tr class="${highlight.includes(r) && "highlight"}">${all.map((_, c) => html`<td class="${aligns[c]}">${text(row[c], c)}</td>`)}</tr>`);
  const empty = html`<tr><td colspan="${Math.max(1, all.length)}" class="no-data">no data</td></tr>`;
  const title = caption !== undefined && html`<caption>${caption}</caption>`;
  const head = html`<thead><tr>${all.map((column, c) => html`<th scope="col" class="${aligns[c]}">${column.title}</th>`)}</tr></thead>`;
  return html`<div class="scroll"><table>${title}${head}<tbody>${rows.length === 0 ? empty : body}</tbody></table></div>`;
}
