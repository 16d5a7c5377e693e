import type { Quality } from "@dramascope/schema";
import type { LeftOutReason } from "./left-out.ts";

/** What an answer to learn is made of. */
export interface SftAnswer {
  think: string;
  quality: Quality;
  caption: string | null;
  /** Kept comments, most liked first. */
  comments: readonly string[];
}

/** Form of an answer to learn. */
export interface SftTargetOptions {
  /** The JSON of the cot prompt, or the four tags of the grpo prompt. */
  sftFormat: "json" | "tags";
  /** Comments in an answer in tags, at most. */
  answerComments: number;
}

/** An answer to learn, or why there is none. */
export type SftTarget = { ok: true; target: string } | { ok: false; reason: LeftOutReason };

/** Text that a reader of the four parts would take for one of their marks. */
const MARK = /<\/?(?:caption|comments|think|answer)>|\\boxed/iu;

/**
 * The answer to learn: canonical JSON with the score as an integer, or the four parts in tags.
 *
 * Caption and chain of thought stand between tags as they are, so a text that holds a tag or `\boxed` itself gives no answer in tags (`tag-text`);
 * a comment that does is passed over for the next one. JSON holds any text.
 */
export function sftTarget({ think, quality, caption, comments }: SftAnswer, { sftFormat, answerComments }: SftTargetOptions): SftTarget {
  if (sftFormat === "json") return { ok: true, target: `{"think": ${JSON.stringify(think)}, "answer": ${quality}}` };
  if (caption === null) return { ok: false, reason: "no-caption" };
  if (MARK.test(think) || MARK.test(caption)) return { ok: false, reason: "tag-text" };
  const shown = comments.filter((comment) => !MARK.test(comment)).slice(0, answerComments);
  if (shown.length === 0) return { ok: false, reason: "no-comments" };
  const list = shown.map((comment) => JSON.stringify(comment)).join(", ");
  return { ok: true, target: `<caption>${caption}</caption>\n<comments>[${list}]</comments>\n<think>${think}</think>\n<answer>\\boxed{${quality}}</answer>` };
}

const FOUR_PARTS = /^<caption>([\s\S]*)<\/caption>\n<comments>(\[[\s\S]*\])<\/comments>\n<think>([\s\S]*)<\/think>\n<answer>\\boxed\{([1-5])\}<\/answer>$/u;

/** Class that an answer in tags gives; null unless it is the four parts in order, once each, and nothing else. */
export function scoreInTags(target: string): number | null {
  const parts = FOUR_PARTS.exec(target);
  if (!parts) return null;
  const [, caption, comments, think, score] = parts as unknown as [string, string, string, string, string];
  return [caption, comments, think].some((part) => MARK.test(part)) ? null : Number(score);
}
