import { readFileSync } from "node:fs";
import { parseTemplate, type Template } from "./template.ts";

/** Built-in prompts: plot summary, chain of thought, its filter, the comment filter, and the four-part GRPO answer. */
export const PROMPT_IDS = ["caption", "cot", "cot_filter", "comment_filter", "grpo"] as const;
/** Name of a built-in prompt. */
export type PromptId = (typeof PROMPT_IDS)[number];

/** A built-in prompt, in English. */
export function builtin(id: PromptId): Template {
  const name = `${id}.en.md`;
  return parseTemplate(readFileSync(new URL(`../templates/${name}`, import.meta.url), "utf8"), name);
}
