import type { Spending } from "./spending.ts";
import type { StageKind } from "./step-types.ts";

const KINDS: ReadonlyMap<string, StageKind> = new Map([["caption", "caption"], ["cot", "sample"], ["cot_filter", "filter"], ["comment_filter", "comments"]]);

/** Attempts of one prompt's task together. */
export interface TaskSpending {
  task: string;
  calls: number;
  cost: number;
  retries: number;
}

/** Sums by kind of step, those of a task that belongs to none under the task's name, and the number of all attempts. */
export function spendingByKind(tasks: readonly TaskSpending[]): Pick<Spending, "calls" | "byKind"> {
  const kinds = new Map<string, Omit<TaskSpending, "task">>();
  for (const { task, calls, cost, retries } of tasks) {
    const kind = KINDS.get(task) ?? task;
    const known = kinds.get(kind) ?? { calls: 0, cost: 0, retries: 0 };
    kinds.set(kind, { calls: known.calls + calls, cost: known.cost + cost, retries: known.retries + retries });
  }
  return { calls: tasks.reduce((sum, { calls }) => sum + calls, 0), byKind: Object.fromEntries(kinds) };
}
