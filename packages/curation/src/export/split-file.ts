import { createHash } from "node:crypto";
import { canonicalJson, type Split } from "@dramascope/schema";
import type { DramaRecord } from "../ledger/drama-types.ts";

/** Gathers where every drama went; memory grows with ids. */
export interface SplitFile {
  add(record: DramaRecord): void;
  /** SHA-256 over id, split and group of every drama in their order. */
  hash(): string;
  /** Text of `splits.json`: groups by their smallest id, and the split of every drama; both in order of text. */
  text(): string;
}

const sorted = <T>(entries: Map<string, T>): Record<string, T> => Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));

/** Creates an empty one. */
export function createSplitFile(): SplitFile {
  const digest = createHash("sha256");
  const groups = new Map<string, string[]>();
  const assignment = new Map<string, Split>();
  return {
    add: ({ dramaId, split, groupId }) => {
      digest.update(`${canonicalJson([dramaId, split, groupId])}\n`);
      assignment.set(dramaId, split);
      const members = groups.get(groupId);
      if (members) members.push(dramaId);
      else groups.set(groupId, [dramaId]);
    },
    hash: () => digest.copy().digest("hex"),
    text: () => `${JSON.stringify({ groups: sorted(new Map([...groups].map(([id, members]) => [id, members.sort()]))), assignment: sorted(assignment) }, null, 2)}\n`,
  };
}
