import { PromptError } from "./errors.ts";

/** Ends the reading of a template: `where` names it, `what` says what is wrong, `hint` what to do. */
export function refuseTemplate(where: string, what: string, hint: string, cause?: unknown): never {
  throw new PromptError(`${where}: ${what}`, { code: "PROMPT_TEMPLATE", hint, cause });
}
