import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { builtin, fileStem, PROMPT_IDS, PROMPT_LANGUAGES, type BuiltinOptions, type PromptId } from "./builtin.ts";
import { PromptError } from "./errors.ts";
import { loadTemplate, type Template } from "./template.ts";

/** Which prompts, and where own ones stand. */
export interface LoadTemplatesOptions extends BuiltinOptions {
  /** Folder with own prompts: `<id>.<language>.md` or else `<id>.md` stands for the built-in one; the keyed comment filter's file is `comment_filter.keyed`. A `README.md` may lie beside them, nothing else. Default none. */
  dir?: string;
}

/** Prompts by their task. */
export type Templates = Readonly<Record<PromptId, Template>>;

/** Names that a file of own prompts may have, and its `README.md`. */
const FILE_NAMES: ReadonlySet<string> = new Set(["README.md", ...[...PROMPT_IDS, "comment_filter.keyed"].flatMap((stem) => [`${stem}.md`, ...PROMPT_LANGUAGES.map((language) => `${stem}.${language}.md`)])]);

/** Variables that a prompt must use, since what is judged stands in them; the others may be left out. */
const NEEDED: Readonly<Record<PromptId, readonly string[]>> = { caption: [], cot: [], cot_filter: ["groundTruth", "predicted", "think", "caption"], comment_filter: ["commentsJson"], grpo: [] };

async function listFolder(dir: string): Promise<ReadonlySet<string>> {
  let names: string[];
  try {
    names = (await readdir(dir)).filter((name) => !name.startsWith("."));
  } catch (error) {
    throw new PromptError(`the folder of prompts ${dir} cannot be read: ${(error as Error).message}`, { code: "PROMPT_TEMPLATE", cause: error, hint: "Check its path." });
  }
  const unknown = names.filter((name) => !FILE_NAMES.has(name)).sort();
  if (unknown.length > 0) {
    const shown = unknown.slice(0, 5).map((name) => JSON.stringify(name)).join(", ");
    throw new PromptError(`the folder of prompts ${dir} has ${shown}${unknown.length > 5 ? ` and ${unknown.length - 5} more` : ""}, which is no prompt`, {
      code: "PROMPT_UNKNOWN",
      hint: `A file is named after a prompt (${PROMPT_IDS.join(", ")}, comment_filter.keyed), with or without its language: cot.zh.md, cot.md.`,
    });
  }
  return new Set(names);
}

/** Checks that an own prompt can stand for the built-in one: the same task, form of answer and variables. */
function checkFit(own: Template, id: PromptId, standard: Template, file: string, language: string | undefined): void {
  const extra = own.variables.filter((name) => !standard.variables.includes(name));
  const lacking = NEEDED[id].filter((name) => !own.variables.includes(name));
  const faults = [
    own.id === id ? "" : `its id is ${JSON.stringify(own.id)}, not ${id}`,
    own.output === standard.output ? "" : `its output is ${own.output}, not ${standard.output}`,
    language === undefined || own.language === language ? "" : `its language is ${JSON.stringify(own.language)}, not ${language}`,
    extra.length === 0 ? "" : `it uses ${extra.join(", ")}, which this prompt is not given`,
    lacking.length === 0 ? "" : `it does not use ${lacking.join(", ")}`,
  ].filter((fault) => fault !== "");
  if (faults.length > 0) throw new PromptError(`${file}: ${faults.join("; ")}`, { code: "PROMPT_TEMPLATE", hint: `Its front matter must fit the prompt ${id}, whose variables are ${standard.variables.join(", ")}.` });
}

/**
 * All prompts: one's own where the folder has them, else the built-in ones.
 *
 * @throws PromptError `PROMPT_UNKNOWN` for a file in the folder that is no prompt, `PROMPT_TEMPLATE` for one that cannot be read or does not fit its task.
 */
export async function loadTemplates(options: LoadTemplatesOptions = {}): Promise<Templates> {
  const { dir, language = "en", variant = "indexed" } = options;
  const names = dir === undefined ? new Set<string>() : await listFolder(dir);
  const load = async (id: PromptId): Promise<Template> => {
    const standard = builtin(id, { language, ...(id === "comment_filter" ? { variant } : {}) });
    const stem = fileStem(id, variant);
    const own = [`${stem}.${language}.md`, `${stem}.md`].find((name) => names.has(name));
    if (dir === undefined || own === undefined) return standard;
    const template = await loadTemplate(join(dir, own));
    checkFit(template, id, standard, join(dir, own), own === `${stem}.md` ? undefined : language);
    return template;
  };
  const loaded = await Promise.all(PROMPT_IDS.map(async (id) => [id, await load(id)] as const));
  return Object.fromEntries(loaded) as Record<PromptId, Template>;
}
