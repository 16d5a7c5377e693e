import { parse as parseYaml } from "yaml";
import { refuseTemplate } from "./refuse-template.ts";

/** Form of an answer. */
export type OutputForm = "text" | "json" | "tags";

/** What a template says of itself. */
export interface FrontMatter {
  id: string;
  version: string;
  language: string;
  variables: string[];
  output: OutputForm;
}

const FIELDS = ["id", "version", "language", "variables", "output"];
const OUTPUTS: readonly OutputForm[] = ["text", "json", "tags"];
const VERSION = /^\d{1,9}\.\d{1,9}\.\d{1,9}(?:-[0-9A-Za-z.-]{1,64})?$/u;
const NAME = /^[A-Za-z]\w{0,63}$/u;
/** Words that Jinja reads as something else than a variable. */
const RESERVED = new Set(["true", "false", "none", "True", "False", "None", "and", "or", "not", "in", "is", "if", "else", "namespace", "range"]);

/** Checks the head of a template file. */
export function readFrontMatter(text: string, where: string): FrontMatter {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    return refuseTemplate(where, `its front matter is not YAML (${(error as Error).message.split("\n")[0]!})`, "Start the file with ---, the fields and --- again.", error);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refuseTemplate(where, "its front matter has no fields", `Give ${FIELDS.join(", ")}.`);
  const { id, version, language, variables, output } = value as Record<string, unknown>;
  const unknown = Object.keys(value).filter((field) => !FIELDS.includes(field));
  if (unknown.length > 0) refuseTemplate(where, `its front matter has ${unknown.join(", ")}, which is no field`, `The fields are ${FIELDS.join(", ")}.`);
  if (typeof id !== "string" || !/^[A-Za-z][\w-]{0,63}$/u.test(id)) refuseTemplate(where, `id is ${JSON.stringify(id)}`, "Give an id of letters, digits, _ and -.");
  if (typeof version !== "string" || !VERSION.test(version)) refuseTemplate(where, `version is ${JSON.stringify(version)}`, "Give a version such as 1.0.0.");
  if (typeof language !== "string" || !/^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}$/u.test(language)) refuseTemplate(where, `language is ${JSON.stringify(language)}`, "Give a language such as en or zh.");
  if (!Array.isArray(variables) || !variables.every((name): name is string => typeof name === "string" && NAME.test(name) && !RESERVED.has(name)) || new Set(variables).size < variables.length) {
    refuseTemplate(where, `variables is ${JSON.stringify(variables)}`, "List the names of the variables that the text uses, each once: letters, digits and _, no word of the template language.");
  }
  const form = OUTPUTS.find((one) => one === output);
  if (form === undefined) return refuseTemplate(where, `output is ${JSON.stringify(output)}`, `Give one of ${OUTPUTS.join(", ")}.`);
  return { id, version, language, variables, output: form };
}
