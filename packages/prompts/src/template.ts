import { readFile } from "node:fs/promises";
import { Template as Jinja } from "@huggingface/jinja";
import { sha256 } from "@dramascope/schema";
import { parse as parseYaml } from "yaml";
import { dataBlock } from "./data-block.ts";
import { PromptError } from "./errors.ts";

/** A versioned prompt text with variables. */
export interface Template {
  /** Letters, digits, `_` and `-`. */
  readonly id: string;
  /** Semantic version; a changed text needs a new one. */
  readonly version: string;
  /** SHA-256 of the file with LF line ends and no blanks at its end. */
  readonly hash: string;
  /** Language of the text, for example `en`. */
  readonly language: string;
  /** Names that {@link render} needs, all of them. */
  readonly variables: readonly string[];
  /** Form of the answer that the text asks for. */
  readonly output: "text" | "json" | "tags";
  /**
   * The text with its variables. Values are never expanded again. `think`, `caption`, `commentsJson` and `transcript` come from
   * strangers and always become a data block; an empty string stays empty.
   *
   * @throws PromptError `PROMPT_VARIABLE` when a variable is missing or unknown.
   */
  render(variables: Readonly<Record<string, unknown>>): string;
}

/** Variables whose values are text from outside. */
const UNTRUSTED: ReadonlySet<string> = new Set(["think", "caption", "commentsJson", "transcript"]);
const OUTPUTS = ["text", "json", "tags"] as const;
const EXPRESSION = /\{\{([^{}]*)\}\}|\{%([^{}%]*)%\}/gu;

function refuse(where: string, what: string, hint: string): never {
  throw new PromptError(`${where}: ${what}`, { code: "PROMPT_TEMPLATE", hint });
}

/** Names that a body uses; anything but `{{ name }}`, `{% if name %}` and `{% endif %}` is refused. */
function usedNames(body: string, where: string): Set<string> {
  const names = new Set<string>();
  for (const match of body.matchAll(EXPRESSION)) {
    const text = (match[1] ?? match[2]!).trim();
    const name = match[1] === undefined ? /^if\s+([A-Za-z]\w*)$/u.exec(text)?.[1] : /^([A-Za-z]\w*)$/u.exec(text)?.[1];
    if (name !== undefined) names.add(name);
    else if (!(match[1] === undefined && text === "endif")) refuse(where, `${match[0]} is not allowed`, "Use {{ name }}, {% if name %} and {% endif %} only.");
  }
  const rest = body.replace(EXPRESSION, "");
  if (rest.includes("{{") || rest.includes("{%") || rest.includes("{#")) refuse(where, "it has an expression that is not closed or not allowed", "Use {{ name }}, {% if name %} and {% endif %} only.");
  return names;
}

interface FrontMatter {
  id: string;
  version: string;
  language: string;
  variables: string[];
  output: (typeof OUTPUTS)[number];
}

function readFrontMatter(text: string, where: string): FrontMatter {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    return refuse(where, `its front matter is not YAML (${(error as Error).message})`, "Start the file with ---, the fields and --- again.");
  }
  const { id, version, language, variables, output } = (value ?? {}) as Record<string, unknown>;
  if (typeof id !== "string" || !/^[A-Za-z][\w-]{0,63}$/u.test(id)) refuse(where, `id is ${JSON.stringify(id)}`, "Give an id of letters, digits, _ and -.");
  if (typeof version !== "string" || !/^\d+\.\d+\.\d+$/u.test(version)) refuse(where, `version is ${JSON.stringify(version)}`, "Give a version such as 1.0.0.");
  if (typeof language !== "string") refuse(where, "language is missing", "Give a language such as en.");
  if (!Array.isArray(variables) || !variables.every((name) => typeof name === "string")) refuse(where, "variables must be a list of names", "List the variables that the text uses.");
  const form = OUTPUTS.find((one) => one === output);
  if (form === undefined) return refuse(where, `output is ${JSON.stringify(output)}`, `Give one of ${OUTPUTS.join(", ")}.`);
  return { id, version, language, variables, output: form };
}

/**
 * Reads a template: YAML front matter `{id, version, language, variables, output}` and a body.
 *
 * @param where Names the template in errors, for example its file.
 * @throws PromptError `PROMPT_TEMPLATE` for anything the form does not allow.
 */
export function parseTemplate(text: string, where = "the template"): Template {
  const normal = text.replaceAll("\r\n", "\n");
  const match = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/u.exec(normal);
  if (!match) return refuse(where, "it has no front matter", "Start the file with ---, the fields and --- again.");
  const front = readFrontMatter(match[1]!, where);
  const body = match[2]!.replace(/\n+$/u, "");
  const used = usedNames(body, where);
  const undeclared = [...used].filter((name) => !front.variables.includes(name));
  const unused = front.variables.filter((name) => !used.has(name));
  if (undeclared.length > 0) refuse(where, `it uses ${undeclared.join(", ")}, which is not declared`, "Declare every variable in the front matter.");
  if (unused.length > 0) refuse(where, `it declares ${unused.join(", ")}, which it does not use`, "Remove the variable from the front matter.");
  const jinja = new Jinja(body);
  return {
    ...front,
    hash: sha256(`${normal.replace(/\s+$/u, "")}\n`),
    render: (variables) => {
      const missing = front.variables.filter((name) => variables[name] === undefined);
      const unknown = Object.keys(variables).filter((name) => !front.variables.includes(name));
      if (missing.length > 0 || unknown.length > 0) {
        const parts = [missing.length > 0 ? `${missing.join(", ")} not given` : "", unknown.length > 0 ? `${unknown.join(", ")} unknown` : ""].filter((part) => part !== "");
        throw new PromptError(`${front.id}@${front.version}: ${parts.join("; ")}`, { code: "PROMPT_VARIABLE", hint: `Its variables are ${front.variables.join(", ") || "none"}.` });
      }
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
