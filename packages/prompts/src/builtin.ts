import { readFileSync } from "node:fs";
import { PromptError } from "./errors.ts";
import { parseTemplate, type Template } from "./template.ts";

/** Built-in prompts: plot summary, chain of thought, its filter, the comment filter, and the four-part GRPO answer. */
export const PROMPT_IDS = ["caption", "cot", "cot_filter", "comment_filter", "grpo"] as const;
/** Name of a built-in prompt. */
export type PromptId = (typeof PROMPT_IDS)[number];

/** Which wording of a built-in prompt. */
export interface BuiltinOptions {
  /** Language of the request; the language of the answer is a variable. Default `en`. */
  language?: "en";
  /** Form of the comment filter's answer: labels by number or, `keyed`, by the comment's text. Default `indexed`. */
  variant?: "indexed" | "keyed";
}

/**
 * A built-in prompt.
 *
 * @throws PromptError `PROMPT_UNKNOWN` for a name, language or variant that does not exist.
 */
export function builtin(id: PromptId, options: BuiltinOptions = {}): Template {
  const { language = "en", variant = "indexed" } = options as { language?: string; variant?: string };
  const isKnown = PROMPT_IDS.includes(id) && language === "en" && (variant === "indexed" || (variant === "keyed" && id === "comment_filter"));
  if (!isKnown) {
    throw new PromptError(`there is no built-in prompt ${JSON.stringify(id)} in language ${JSON.stringify(language)}, variant ${JSON.stringify(variant)}`, {
      code: "PROMPT_UNKNOWN",
      hint: `Choose one of ${PROMPT_IDS.join(", ")} in en; keyed exists for comment_filter.`,
    });
  }
  const name = variant === "keyed" ? `${id}.keyed.en.md` : `${id}.en.md`;
  return parseTemplate(readFileSync(new URL(`../templates/${name}`, import.meta.url), "utf8"), name);
}
