/** Rows of a page. */
export const PAGE = 500;

/** Cuts a list into parts of a size, the last one smaller. */
export const chunks = <T>(list: readonly T[], size: number): T[][] => Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));

/** Rows in order, a page at a time and one ahead of the reader: no transaction stays open while the reader works. */
export async function* pages<Row>(read: (after: Row | undefined) => Promise<Row[]>): AsyncGenerator<Row[]> {
  for (let coming = read(undefined); ; ) {
    const rows = await coming;
    const isLast = rows.length < PAGE;
    if (!isLast) {
      coming = read(rows.at(-1));
      coming.catch(() => undefined); // thrown when it is awaited, unless the reader leaves before
    }
    if (rows.length > 0) yield rows;
    if (isLast) return;
  }
}
