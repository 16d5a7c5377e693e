export { builtin, PROMPT_IDS, PROMPT_LANGUAGES, type BuiltinOptions, type PromptId, type PromptLanguage } from "./builtin.ts";
export { dataBlock } from "./data-block.ts";
export { PromptError } from "./errors.ts";
export type { OutputForm } from "./front-matter.ts";
export { loadTemplates, type LoadTemplatesOptions, type Templates } from "./load-templates.ts";
export { dramaMessages, episodeVariables, numberNote, type DramaMessageOptions, type EpisodeFacts } from "./messages.ts";
export { loadTemplate, parseTemplate, type Template } from "./template.ts";
