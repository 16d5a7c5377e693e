import type { StageKind } from "./types.ts";

const KINDS: ReadonlyMap<string, StageKind> = new Map([["caption", "caption"], ["cot", "sample"], ["cot_filter", "filter"], ["comment_filter", "comments"]]);

/** Kind of step of a prompt's task; the task itself where it belongs to none. */
export const kindOfTask = (task: string): string => KINDS.get(task) ?? task;
