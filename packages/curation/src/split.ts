import { sha256, type Quality, type Split } from "@dramascope/schema";

/** What splitting looks at. */
export interface DramaRow {
  dramaId: string;
  quality: Quality;
  title?: string | undefined;
  franchiseId?: string | undefined;
  episodeHashes?: readonly string[] | undefined;
}

/** Sizes and seed of a split. */
export interface SplitOptions {
  seed: string;
  /** Evaluation dramas of each class. */
  evalPerClass: number;
  /** Most SFT dramas; the rest goes to GRPO. */
  sftSize: number;
}

/** Where every drama goes. */
export interface SplitManifest {
  /** Dramas that belong together, by their smallest id. */
  groups: Record<string, string[]>;
  assignment: Record<string, Split>;
}

const SEASON = /(?:第[0-9一二三四五六七八九十]+[季部]|season\s*\d+|part\s*\d+|s\d+|\d+|iv|iii|ii)\s*$/u;

const titleKey = (title: string): string => title.normalize("NFKC").toLowerCase().trim().replace(SEASON, "").replace(/[^\p{L}\p{N}]/gu, "");
const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Groups of dramas that share a title but for its season, a franchise, or an episode. */
function groupsOf(rows: readonly DramaRow[]): Map<string, string[]> {
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
  const members = new Map<string, string[]>();
  for (const { dramaId } of rows) members.set(find(dramaId), [...(members.get(find(dramaId)) ?? []), dramaId]);
  return new Map([...members.values()].map((ids) => ids.sort(byText)).map((ids) => [ids[0]!, ids]));
}

/**
 * Divides dramas into evaluation, SFT and GRPO, whole groups at a time, in an order fixed by the seed. A previous manifest pins what it
 * names.
 */
export function splitDramas(rows: readonly DramaRow[], options: SplitOptions, previous?: Pick<SplitManifest, "assignment">): SplitManifest {
  const qualityOf = new Map(rows.map(({ dramaId, quality }) => [dramaId, quality]));
  const groups = groupsOf(rows);
  const order = [...groups.keys()].map((id) => [sha256(`${options.seed}\n${id}`), id] as const).sort((a, b) => byText(a[0], b[0])).map(([, id]) => id);
  const placed = new Map<string, Split>();
  const used = new Map<Quality, number>();
  let sft = 0;
  const put = (ids: readonly string[], split: Split): void => {
    for (const id of ids) {
      placed.set(id, split);
      if (split === "eval") used.set(qualityOf.get(id)!, (used.get(qualityOf.get(id)!) ?? 0) + 1);
      if (split === "sft") sft++;
    }
  };
  for (const ids of groups.values()) {
    const pinned = ids.map((id) => (previous && Object.hasOwn(previous.assignment, id) ? previous.assignment[id] : undefined)).find((split) => split !== undefined);
    if (pinned !== undefined) put(ids, pinned);
  }
  for (const id of order) {
    const ids = groups.get(id)!;
    if (placed.has(id)) continue;
    const need = new Map<Quality, number>();
    for (const one of ids) need.set(qualityOf.get(one)!, (need.get(qualityOf.get(one)!) ?? 0) + 1);
    if ([...need].every(([quality, count]) => (used.get(quality) ?? 0) + count <= options.evalPerClass)) put(ids, "eval");
  }
  for (const id of order) if (!placed.has(id)) put(groups.get(id)!, sft + groups.get(id)!.length <= options.sftSize ? "sft" : "grpo");
  const sorted = [...placed].sort(([a], [b]) => byText(a, b));
  return { groups: Object.fromEntries([...groups].sort(([a], [b]) => byText(a, b))), assignment: Object.fromEntries(sorted) };
}
