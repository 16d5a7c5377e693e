import { readFile } from "node:fs/promises";
import { Template as Jinja } from "@huggingface/jinja";
import { sha256 } from "@dramascope/schema";
import { dataBlock } from "./data-block.ts";
import { PromptError } from "./errors.ts";
import { readFrontMatter, type FrontMatter, type OutputForm } from "./front-matter.ts";
import { refuseTemplate } from "./refuse-template.ts";
import { usedNames } from "./used-names.ts";

/** A versioned prompt text with variables. */
export interface Template {
  /** Letters, digits, `_` and `-`. */
  readonly id: string;
  /** Semantic version; a changed text needs a new one. */
  readonly version: string;
  /** SHA-256 of the file with LF line ends and no blanks at the ends of its lines and of the whole, 64 hex digits. */
  readonly hash: string;
  /** Language of the text, for example `en` or `zh`. */
  readonly language: string;
  /** Names that {@link render} needs, all of them. */
  readonly variables: readonly string[];
  /** Form of the answer that the text asks for. */
  readonly output: OutputForm;
  /**
   * The text with its variables. Values are never expanded again. `think`, `caption`, `commentsJson` and `transcript` come from
   * strangers and always become a {@link dataBlock}, whatever their size; an empty string stays empty. All others are the caller's own words.
   *
   * @param variables Texts or finite numbers by name; JSON values for those from strangers.
   * @throws PromptError `PROMPT_VARIABLE` when a variable is missing, unknown or of another type.
   */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** Variables whose values are text from outside. */
const UNTRUSTED: ReadonlySet<string> = new Set(["think", "caption", "commentsJson", "transcript"]);

const isPlain = (value: unknown): boolean => typeof value === "string" || (typeof value === "number" && Number.isFinite(value));

function checkVariables({ id, version, variables: names }: FrontMatter, given: Readonly<Record<string, unknown>>): void {
  const missing = names.filter((name) => !Object.hasOwn(given, name) || given[name] === undefined);
  const unknown = Object.keys(given).filter((name) => !names.includes(name));
  const odd = names.filter((name) => !missing.includes(name) && !UNTRUSTED.has(name) && !isPlain(given[name]));
  const parts = [[missing, "not given"], [unknown, "unknown"], [odd, "neither a text nor a number"]] as const;
  const faults = parts.filter(([list]) => list.length > 0).map(([list, what]) => `${list.join(", ")} ${what}`);
  if (faults.length > 0) throw new PromptError(`${id}@${version}: ${faults.join("; ")}`, { code: "PROMPT_VARIABLE", hint: `Its variables are ${names.join(", ") || "none"}.` });
}

/**
 * Reads a template: YAML front matter `{id, version, language, variables, output}` and a body with `{{ name }}`, `{% if name %}` and `{% endif %}`.
 *
 * @param where Names the template in errors, for example its file.
 * @throws PromptError `PROMPT_TEMPLATE` for anything the form does not allow.
 */
export function parseTemplate(text: string, where = "the template"): Template {
  const normal = `${text.replace(/^\ufeff/u, "").replace(/\r\n?/gu, "\n").replace(/(?<![ \t])[ \t]+$/gmu, "").trimEnd()}\n`;
  const match = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/u.exec(normal);
  if (!match) return refuseTemplate(where, "it has no front matter", "Start the file with ---, the fields and --- again.");
  const front = readFrontMatter(match[1]!, where);
  const body = match[2]!.trimEnd();
  if (body === "") refuseTemplate(where, "it has no text", "Write the prompt after the second ---.");
  const used = usedNames(body, where);
  const undeclared = [...used].filter((name) => !front.variables.includes(name));
  const unused = front.variables.filter((name) => !used.has(name));
  if (undeclared.length > 0) refuseTemplate(where, `it uses ${undeclared.join(", ")}, which is not declared`, "Declare every variable in the front matter.");
  if (unused.length > 0) refuseTemplate(where, `it declares ${unused.join(", ")}, which it does not use`, "Remove the variable from the front matter.");
  let jinja: Jinja;
  try {
    jinja = new Jinja(body);
  } catch (error) {
    return refuseTemplate(where, `its text cannot be read (${(error as Error).message})`, "Close every {% if name %} with {% endif %}.", error);
  }
  return {
    ...front,
    hash: sha256(normal),
    render: (variables) => {
      checkVariables(front, variables);
      return jinja.render(Object.fromEntries(front.variables.map((name) => [name, UNTRUSTED.has(name) && variables[name] !== "" ? dataBlock(variables[name]) : variables[name]])));
    },
  };
}

/**
 * Reads a template file, see {@link parseTemplate}.
 *
 * @throws PromptError `PROMPT_TEMPLATE` when it cannot be read or its form is not allowed.
 */
export async function loadTemplate(file: string): Promise<Template> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new PromptError(`${file} cannot be read: ${(error as Error).message}`, { code: "PROMPT_TEMPLATE", cause: error, hint: "Check the path of the template." });
  }
  return parseTemplate(text, file);
}
