/** Cell of a table in text. */
export type TextCell = string | number;

/** Text of one line: no control characters, no invisible marks. */
const shown = (cell: TextCell): string => (typeof cell === "number" ? String(cell) : cell.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "?"));

/** Characters that take two places in a terminal. */
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/gu;
const widthOf = (text: string): number => Array.from(text).length + (text.match(WIDE)?.length ?? 0);

/** Columns under their headings, numbers to the right; two spaces apart, no blanks at line ends. */
export function alignedTable(head: readonly string[], rows: readonly (readonly TextCell[])[]): string {
  const isNumber = head.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number"));
  const lines = [head, ...rows].map((row) => row.map(shown));
  const widths = head.map((_, i) => Math.max(...lines.map((line) => widthOf(line[i]!))));
  const blanks = (text: string, column: number): string => " ".repeat(widths[column]! - widthOf(text));
  return lines.map((line) => line.map((text, i) => (isNumber[i] ? blanks(text, i) + text : text + blanks(text, i))).join("  ").trimEnd()).join("\n");
}

/** A Markdown table; cells are plain text. */
export function markdownTable(head: readonly string[], rows: readonly (readonly TextCell[])[]): string {
  const line = (cells: readonly TextCell[]): string => `| ${cells.map((cell) => shown(cell).replace(/[\\|<>`*_[\]]/gu, "\\$&")).join(" | ")} |`;
  const ruler = head.map((_, i) => (rows.length > 0 && rows.every((row) => typeof row[i] === "number") ? "---:" : "---"));
  return [line(head), `| ${ruler.join(" | ")} |`, ...rows.map(line)].join("\n");
}
