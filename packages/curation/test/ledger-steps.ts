import { sha256 } from "@dramascope/schema";
import type { DramaRecord, StepResult, StepSpec } from "@dramascope/curation";

/** A drama of a ledger. */
export const record = (dramaId: string, change: Partial<DramaRecord> = {}): DramaRecord => ({
  dramaId,
  order: sha256(dramaId),
  contentHash: sha256(`content of ${dramaId}`),
  quality: 3,
  split: "sft",
  groupId: dramaId,
  drama: { dramaId, genre: "revenge", episodes: [{ index: 1 }], comments: [{ text: `a comment on ${dramaId}`, likes: 2 }] },
  ...change,
});

/** A step of a drama. */
export const step = (drama: string, change: Partial<StepSpec> = {}): StepSpec => {
  const spec = { kind: "caption" as const, round: 0, part: 1, ...change };
  return { key: sha256(JSON.stringify([drama, spec.kind, spec.round, spec.part])), drama, ...spec };
};

/** A good answer. */
export const done = (content: string): StepResult => ({ state: "done", content, code: null, finish: "stop", model: "teacher-1", attempts: 1, cost: 0.5 });

/** Nothing follows. */
export const nothing = (): StepSpec[] => [];

/** All of an iteration. */
export async function all<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const row of rows) list.push(row);
  return list;
}
