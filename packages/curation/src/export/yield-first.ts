import type { ReplayedDramas } from "./plan-export.ts";
import type { ReplayedDrama } from "./replayed-drama.ts";

/**
 * Divides by what came out (`split.mode: yield-first`): a group with a valid chain of thought becomes SFT, in the order of its first drama and while it fits into `sftSize`; all
 * other groups stay GRPO. Groups stay whole, so a drama without a valid chain of thought in an SFT group gives no record.
 */
export async function yieldFirst(source: ReplayedDramas, sftSize: number): Promise<ReplayedDramas> {
  const groups = new Map<string, { size: number; hasYield: boolean }>();
  for await (const { outcome: { record, selected } } of source()) {
    if (record.split === "eval") continue;
    const group = groups.get(record.groupId) ?? { size: 0, hasYield: false };
    groups.set(record.groupId, { size: group.size + 1, hasYield: group.hasYield || selected.length > 0 });
  }
  const chosen = new Set<string>();
  let room = sftSize;
  for (const [id, { size, hasYield }] of groups) {
    if (!hasYield || size > room) continue;
    chosen.add(id);
    room -= size;
  }
  const place = ({ outcome, answers }: ReplayedDrama): ReplayedDrama => {
    const { record, decision, valid } = outcome;
    if (record.split === "eval") return { outcome, answers };
    const split = chosen.has(record.groupId) ? "sft" : "grpo";
    const isOver = decision === "kept" || decision === "no-valid-round";
    return { answers, outcome: { ...outcome, record: { ...record, split }, decision: !isOver ? decision : split === "sft" && valid.length === 0 ? "no-valid-round" : "kept" } };
  };
  return async function* () {
    for await (const one of source()) yield place(one);
  };
}
