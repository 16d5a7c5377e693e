/** Letters to change, add or remove to get from one name to the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row.at(-1)!;
}

/** Longer names are no slips of the pen; comparing them would only take time. */
const MAX_LENGTH = 200;

/**
 * The known name that a wrong one was most likely meant to be: the one with the fewest letters to change, the first of several.
 *
 * @param name  As given; only its first 200 characters count.
 * @param known Names that exist.
 * @returns     One of `known`; undefined when there are none.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const given = name.slice(0, MAX_LENGTH);
  let best: { name: string; distance: number } | undefined;
  for (const one of known) {
    const away = distance(one, given);
    if (best === undefined || away < best.distance) best = { name: one, distance: away };
  }
  return best?.name;
}
