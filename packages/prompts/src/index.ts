export { builtin, PROMPT_IDS, type PromptId } from "./builtin.ts";
export { dataBlock } from "./data-block.ts";
export { PromptError } from "./errors.ts";
export { dramaMessages, episodeVariables, numberNote, type DramaMessageOptions } from "./messages.ts";
export { loadTemplate, parseTemplate, type Template } from "./template.ts";
