import { normalText } from "./normal-text.ts";
import { safeText } from "./safe-text.ts";

/** A comment that may be chosen. */
export interface CommentRow {
  /** As the viewer wrote it. */
  text: string;
  /** Negative counts as 0. */
  likes: number;
  /** 1-based; only 1 … 5 are chosen. Default 1. */
  episode?: number | undefined;
}

/** Text by which comments are equal: without invisible marks, compatibility forms, case and width of white space folded. Empty for a blank comment. */
export const commentKey = (text: string): string => normalText(safeText(text)).toLowerCase();

/** The most liked comments of the first five episodes, equal texts once and blank ones never; ties by episode, then by place. Default 20. */
export function chooseComments<T extends CommentRow>(rows: readonly T[], max = 20): T[] {
  const order = rows
    .map((row, i) => ({ row, i, likes: Math.max(0, row.likes), episode: row.episode ?? 1 }))
    .filter(({ episode }) => episode >= 1 && episode <= 5)
    .sort((a, b) => b.likes - a.likes || a.episode - b.episode || a.i - b.i);
  const seen = new Set([""]);
  const chosen: T[] = [];
  for (const { row } of order) {
    if (chosen.length >= max) break;
    const key = commentKey(row.text);
    if (seen.has(key)) continue;
    seen.add(key);
    chosen.push(row);
  }
  return chosen;
}
