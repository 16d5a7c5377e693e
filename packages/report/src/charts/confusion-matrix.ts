import { formatNumber, formatPercent } from "../format.ts";
import { html, type Html } from "../html.ts";
import { figure, type FigureOptions } from "../blocks/figure.ts";
import { isShown } from "./scale.ts";

/** What a confusion matrix shows. */
export interface ConfusionMatrixOptions extends FigureOptions {
  /** Names of the classes, in order. */
  labels: readonly string[];
  /** counts[true][predicted]. */
  counts: readonly (readonly number[])[];
  /** Title of the rows. Default `True class`. */
  rowTitle?: string;
  /** Title of the columns. Default `Predicted`. */
  columnTitle?: string;
}

/** Counts of true against predicted classes; the shade is the share of the row. */
export function confusionMatrix(options: ConfusionMatrixOptions): Html {
  const { labels, counts, rowTitle = "True class", columnTitle = "Predicted" } = options;
  const count = (row: number, column: number): number => {
    const value = counts[row]?.[column] ?? 0;
    return isShown(value) ? value : 0;
  };
  const sums = labels.map((_, row) => labels.reduce((sum, __, column) => sum + count(row, column), 0));
  const total = sums.reduce((a, b) => a + b, 0);
  if (total === 0) return figure(options, null);
  const cell = (row: number, column: number): Html => {
    const value = count(row, column);
    const share = sums[row]! > 0 ? value / sums[row]! : 0;
    return html`<td class="heat h${Math.min(10, Math.round(share * 10))}${row === column && " diagonal"}">${formatNumber(value)}<small>${formatPercent(share)}</small></td>`;
  };
  const titles = html`<tr><th scope="col">${rowTitle}</th>${labels.map((label) => html`<th scope="col">${label}</th>`)}<th scope="col" class="sum">n</th></tr>`;
  const head = html`<thead><tr><td></td><th scope="colgroup" colspan="${labels.length}">${columnTitle}</th><td></td></tr>${titles}</thead>`;
  const rows = labels.map((label, row) => html`<tr><th scope="row">${label}</th>${labels.map((_, column) => cell(row, column))}<td class="sum">${formatNumber(sums[row])}</td></tr>`);
  const body = html`<div class="scroll"><table class="matrix">${head}<tbody>${rows}</tbody></table></div>`;
  return figure(options, body);
}
