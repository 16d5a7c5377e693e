import { normalText } from "./read-answer.ts";

/** A comment that may be chosen. */
export interface CommentRow {
  text: string;
  likes: number;
  /** 1-based; default 1. */
  episode?: number | undefined;
}

/** The most liked comments of the first five episodes, equal texts once; ties by episode, then by place. Default 20. */
export function chooseComments<T extends CommentRow>(rows: readonly T[], max = 20): T[] {
  const order = rows
    .map((row, i) => ({ row, i, likes: Math.max(0, row.likes), episode: row.episode ?? 1 }))
    .filter(({ row, episode }) => episode >= 1 && episode <= 5 && normalText(row.text) !== "")
    .sort((a, b) => b.likes - a.likes || a.episode - b.episode || a.i - b.i);
  const seen = new Set<string>();
  const chosen: T[] = [];
  for (const { row } of order) {
    const key = normalText(row.text).toLowerCase();
    if (chosen.length === max) break;
    if (seen.has(key)) continue;
    seen.add(key);
    chosen.push(row);
  }
  return chosen;
}

const PRIVATE: readonly (readonly [RegExp, string])[] = [
  [/https?:\/\/\S{1,300}|www\.\S{1,300}/giu, "[url]"],
  [/[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,5}/gu, "[mail]"],
  [/\d{17}[\dXx]|\d{15}(?!\d)/gu, "[id]"],
  [/\+?\d(?:[\s-]?\d){7,14}/gu, "[phone]"],
  [/(?:wechat|weixin|vx|微信|qq)\s*[:：]?\s*[\w-]{5,30}/giu, "[account]"],
  [/@[\p{L}\p{N}_]{2,40}/gu, "[user]"],
];
 
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu;
const MAX_COMMENT = 500;

/** A comment as it may leave the house: no phone numbers, addresses, accounts or invisible marks, well-formed, at most 500 characters. */
export function redact(text: string): string {
  let clean = text.slice(0, MAX_COMMENT * 4).toWellFormed().replace(INVISIBLE, "");
  for (const [pattern, label] of PRIVATE) clean = clean.replace(pattern, label);
  return clean.slice(0, MAX_COMMENT).toWellFormed();
}
