/** What tells that dramas belong together. */
export interface GroupedDrama {
  dramaId: string;
  /** Titles that differ in season, part or number alone are the same. */
  title?: string | undefined;
  franchiseId?: string | undefined;
  /** Hashes of its episodes' files. */
  episodeHashes?: readonly string[] | undefined;
}

const SEASON = /(?:第[0-9一二三四五六七八九十]{1,9}[季部]|season\s{0,9}\d{1,9}|part\s{0,9}\d{1,9}|s\d{1,9}|\d{1,9}|iv|iii|ii)$/u;

/** Letters and digits of a title without its season; empty when nothing is left. */
const titleKey = (title: string): string => title.normalize("NFKC").toLowerCase().trim().replace(SEASON, "").replace(/[^\p{L}\p{N}]/gu, "");

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Groups of dramas that share a title but for its season, a franchise, or an episode, directly or over others: members in order of their ids, by the first of them. */
export function groupDramas(rows: readonly GroupedDrama[]): Map<string, string[]> {
  const parent = new Map(rows.map(({ dramaId }) => [dramaId, dramaId]));
  const find = (id: string): string => {
    let root = id;
    while (parent.get(root) !== root) root = parent.get(root)!;
    for (let at = id; at !== root; ) {
      const next = parent.get(at)!;
      parent.set(at, root);
      at = next;
    }
    return root;
  };
  const first = new Map<string, string>();
  for (const { dramaId, title, franchiseId, episodeHashes = [] } of rows) {
    const name = title === undefined ? "" : titleKey(title);
    const keys = [...(name === "" ? [] : [`t:${name}`]), ...(franchiseId === undefined ? [] : [`f:${franchiseId}`]), ...episodeHashes.map((hash) => `h:${hash}`)];
    for (const key of keys) {
      const known = first.get(key);
      if (known === undefined) first.set(key, dramaId);
      else parent.set(find(dramaId), find(known));
    }
  }
  const members = Map.groupBy(rows.map(({ dramaId }) => dramaId), find);
  return new Map([...members.values()].map((ids) => ids.sort(byText)).map((ids) => [ids[0]!, ids]));
}
