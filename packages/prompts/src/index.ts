export { builtin, PROMPT_IDS, type BuiltinOptions, type PromptId } from "./builtin.ts";
export { dataBlock } from "./data-block.ts";
export { PromptError } from "./errors.ts";
export { dramaMessages, episodeVariables, numberNote, type DramaMessageOptions, type EpisodeFacts } from "./messages.ts";
export { loadTemplate, parseTemplate, type Template } from "./template.ts";
