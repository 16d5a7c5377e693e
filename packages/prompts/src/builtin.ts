import { readFileSync } from "node:fs";
import { PromptError } from "./errors.ts";
import { parseTemplate, type Template } from "./template.ts";

/** Built-in prompts: plot summary, chain of thought, its filter, the comment filter, and the four-part GRPO answer. */
export const PROMPT_IDS = ["caption", "cot", "cot_filter", "comment_filter", "grpo"] as const;
/** Name of a built-in prompt. */
export type PromptId = (typeof PROMPT_IDS)[number];

/** Languages of the built-in prompts. */
export const PROMPT_LANGUAGES = ["en", "zh"] as const;
/** Language of a built-in prompt: English or Chinese. */
export type PromptLanguage = (typeof PROMPT_LANGUAGES)[number];

/** Which wording of a built-in prompt. */
export interface BuiltinOptions {
  /** Language of the request; the language of the answer is a variable, and the keys and tags of the answer are the same in both. Default `en`. */
  language?: PromptLanguage;
  /** Form of the comment filter's answer: labels by number or, `keyed`, by the comment's text. Default `indexed`. */
  variant?: "indexed" | "keyed";
}

/** Name of a prompt's file without its language and ending. */
export const fileStem = (id: PromptId, variant: "indexed" | "keyed"): string => (variant === "keyed" && id === "comment_filter" ? `${id}.keyed` : id);

/**
 * A built-in prompt.
 *
 * @throws PromptError `PROMPT_UNKNOWN` for a name, language or variant that does not exist.
 */
export function builtin(id: PromptId, options: BuiltinOptions = {}): Template {
  const { language = "en", variant = "indexed" } = options;
  const isKnown = PROMPT_IDS.includes(id) && PROMPT_LANGUAGES.includes(language) && ((variant as string) === "indexed" || (variant === "keyed" && id === "comment_filter"));
  if (!isKnown) {
    throw new PromptError(`there is no built-in prompt ${JSON.stringify(id)} in language ${JSON.stringify(language)}, variant ${JSON.stringify(variant)}`, {
      code: "PROMPT_UNKNOWN",
      hint: `Choose one of ${PROMPT_IDS.join(", ")} in ${PROMPT_LANGUAGES.join(" or ")}; keyed exists for comment_filter.`,
    });
  }
  const name = `${fileStem(id, variant)}.${language}.md`;
  return parseTemplate(readFileSync(new URL(`../templates/${name}`, import.meta.url), "utf8"), name);
}
