/**
 * Cells of one CSV record with RFC 4180 quotes.
 *
 * @param record One record without its line break; it may hold line breaks inside quotes.
 * @returns The cells; `open` when a quote stays open, so that the record goes on in the next line; null when text stands beside a quoted cell.
 */
export function csvCells(record: string): string[] | "open" | null {
  if (!record.includes('"')) return record.split(",");
  const cells: string[] = [];
  for (let at = 0; ; at++) {
    if (record[at] === '"') {
      let cell = "";
      for (let from = at + 1; ; from = at + 1) {
        at = record.indexOf('"', from);
        if (at < 0) return "open";
        cell += record.slice(from, at);
        if (record[at + 1] !== '"') break;
        cell += '"';
        at++;
      }
      cells.push(cell);
      at++;
    } else {
      const end = record.indexOf(",", at);
      cells.push(record.slice(at, end < 0 ? undefined : end));
      at = end < 0 ? record.length : end;
    }
    if (at >= record.length) return cells;
    if (record[at] !== ",") return null;
  }
}
