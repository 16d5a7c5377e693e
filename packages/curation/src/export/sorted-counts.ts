/** Counts by a key of parts, which may be text from outside. */
export class SortedCounts<T extends object> {
  readonly #found = new Map<string, { parts: T; n: number }>();

  add(parts: T, n = 1): void {
    const key = JSON.stringify(Object.values(parts));
    const known = this.#found.get(key);
    if (known) known.n += n;
    else this.#found.set(key, { parts, n });
  }

  /** Most frequent first, equals in order of their text. */
  list(): (T & { n: number })[] {
    return [...this.#found].sort(([a, one], [b, other]) => other.n - one.n || (a < b ? -1 : 1)).map(([, { parts, n }]) => ({ ...parts, n }));
  }
}
