import { parseAnswer } from "@dramascope/curation";
import { parseCompletion } from "@dramascope/rewards";
import type { Quality } from "@dramascope/schema";

/** Form of a model's answer: the four tags of the GRPO prompt, or the JSON object of the chain-of-thought prompt. */
export type AnswerFormat = "tags" | "json";

/** What a model's answer says. Parts that it lacks are null or empty, never made up. */
export interface ReadAnswer {
  /** Class 1 … 5; null when the answer holds no readable one. */
  score: Quality | null;
  /** Where in the text the score begins and ends (exclusive), UTF-16 units; null without one. */
  scoreAt: readonly [start: number, end: number] | null;
  caption: string | null;
  comments: string[];
  think: string | null;
  /** Why there is no score; null when there is one. */
  problem: string | null;
}

function readTags(text: string): ReadAnswer {
  const { caption, comments, think, answer, scoreAt } = parseCompletion(text);
  return { score: answer.score, scoreAt, caption, comments: comments ?? [], think, problem: answer.score === null ? `the answer block holds no score (${answer.reason ?? "unreadable"})` : null };
}

function readJson(text: string): ReadAnswer {
  const parsed = parseAnswer("cot", { content: text });
  if (!parsed.ok) return { score: null, scoreAt: null, caption: null, comments: [], think: null, problem: `the answer is not readable (${parsed.error})` };
  return { score: parsed.value.answer, scoreAt: parsed.scoreAt, caption: null, comments: [], think: parsed.value.think, problem: null };
}

/** Reads a model's answer in the given form. Never throws, whatever the text. */
export function readAnswer(text: string, format: AnswerFormat): ReadAnswer {
  return format === "tags" ? readTags(text) : readJson(text);
}
