import { sha256, type Quality, type Split } from "@dramascope/schema";
import { CurationError } from "./errors.ts";
import { groupDramas, type GroupedDrama } from "./group-dramas.ts";

/** What splitting looks at. */
export interface DramaRow extends GroupedDrama {
  quality: Quality;
}

/** Sizes and seed of a split. */
export interface SplitOptions {
  /** Fixes the order in which groups are placed. */
  seed: string;
  /** Evaluation dramas of each class. */
  evalPerClass: number;
  /** Most SFT dramas; the rest goes to GRPO. */
  sftSize: number;
}

/** Dramas that belong together although a previous manifest put them into different splits. */
export interface SplitConflict {
  /** Groups of the previous manifest's dramas, one of each split; they stay where they are. */
  groups: string[];
  /** Splits of these groups, in the same order. */
  splits: Split[];
  /** New dramas that belong to all of them: they are in no split. */
  leftOut: string[];
}

/** Where every drama goes. Ids are own keys of objects without a prototype. */
export interface SplitManifest {
  /** Ids of dramas that belong together, by the smallest of them. */
  groups: Record<string, string[]>;
  /** Split of each drama but those that a conflict leaves out. */
  assignment: Record<string, Split>;
  /** Dramas that are missing: by class, `1` … `5`, for the evaluation, and as `sft`. Empty where all sizes are reached. */
  shortfall: Record<string, number>;
  conflicts: SplitConflict[];
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** An object in which every text, `__proto__` too, is an ordinary key. */
function recordOf<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  const record = Object.create(null) as Record<string, T>;
  for (const [key, value] of [...entries].sort(([a], [b]) => byText(a, b))) record[key] = value;
  return record;
}

const pinOf = (previous: Pick<SplitManifest, "assignment"> | undefined, id: string): Split | undefined => (previous && Object.hasOwn(previous.assignment, id) ? previous.assignment[id] : undefined);

/** Groups as they were pinned: one that a new drama joins from two splits falls apart again, without that drama. */
function pinnedGroups(found: ReadonlyMap<string, string[]>, previous: Pick<SplitManifest, "assignment"> | undefined): { groups: Map<string, string[]>; pins: Map<string, Split>; conflicts: SplitConflict[] } {
  const groups = new Map<string, string[]>();
  const pins = new Map<string, Split>();
  const conflicts: SplitConflict[] = [];
  for (const [group, ids] of found) {
    const isPinned = (id: string): boolean => pinOf(previous, id) !== undefined;
    const bySplit = Map.groupBy(ids.filter(isPinned), (id) => pinOf(previous, id)!);
    const parts = bySplit.size > 1 ? [...bySplit] : [];
    if (parts.length > 0) conflicts.push({ groups: parts.map(([, members]) => members[0]!), splits: parts.map(([split]) => split), leftOut: ids.filter((id) => !isPinned(id)) });
    for (const [split, members] of parts.length > 0 ? parts : [...bySplit.keys()].map((split) => [split, ids] as const)) {
      groups.set(members[0]!, members);
      pins.set(members[0]!, split);
    }
    if (bySplit.size === 0) groups.set(group, ids);
  }
  return { groups, pins, conflicts };
}

/**
 * Divides dramas into evaluation, SFT and GRPO, whole groups at a time, in the order of SHA-256 of `seed`, a line feed and the group's id:
 * to the evaluation while no class of the group is over its quota, else to SFT while the group fits, else to GRPO. A previous manifest pins
 * what it names, together with new members of its groups; shortfalls and conflicts are reported, never filled or moved.
 *
 * @throws CurationError `DRAMA_TWICE` when an id comes twice.
 */
export function splitDramas(rows: readonly DramaRow[], options: SplitOptions, previous?: Pick<SplitManifest, "assignment">): SplitManifest {
  const qualityOf = new Map<string, Quality>();
  for (const { dramaId, quality } of rows) {
    if (qualityOf.has(dramaId)) throw new CurationError(`drama ${JSON.stringify(dramaId)} comes twice`, { code: "DRAMA_TWICE", hint: "Give every drama once." });
    qualityOf.set(dramaId, quality);
  }
  const { groups, pins, conflicts } = pinnedGroups(groupDramas(rows), previous);
  const placed = new Map<string, Split>();
  const used = new Map<Quality, number>();
  let sft = 0;
  const countClasses = (ids: readonly string[]): Map<Quality, number> => {
    const counts = new Map<Quality, number>();
    for (const id of ids) counts.set(qualityOf.get(id)!, (counts.get(qualityOf.get(id)!) ?? 0) + 1);
    return counts;
  };
  const put = (group: string, split: Split): void => {
    const ids = groups.get(group)!;
    for (const id of ids) placed.set(id, split);
    if (split === "eval") for (const [quality, count] of countClasses(ids)) used.set(quality, (used.get(quality) ?? 0) + count);
    if (split === "sft") sft += ids.length;
  };
  for (const [group, split] of pins) put(group, split);
  const order = [...groups.keys()].filter((group) => !pins.has(group)).map((group) => [sha256(`${options.seed}\n${group}`), group] as const).sort(([a], [b]) => byText(a, b));
  const rest: string[] = [];
  for (const [, group] of order) {
    if ([...countClasses(groups.get(group)!)].every(([quality, count]) => (used.get(quality) ?? 0) + count <= options.evalPerClass)) put(group, "eval");
    else rest.push(group);
  }
  for (const group of rest) put(group, sft + groups.get(group)!.length <= options.sftSize ? "sft" : "grpo");
  const missing: [string, number][] = ([1, 2, 3, 4, 5] as const).map((quality) => [String(quality), options.evalPerClass - (used.get(quality) ?? 0)]);
  return { groups: recordOf(groups), assignment: recordOf(placed), shortfall: recordOf([...missing, ["sft", options.sftSize - sft] as [string, number]].filter(([, count]) => count > 0)), conflicts };
}
