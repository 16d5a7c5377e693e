import { join } from "node:path";
import { createContext, Script } from "node:vm";
import { Template } from "@huggingface/jinja";
import { QwenVlError } from "./errors.ts";
import { readJsonIfThere, readTextIfThere } from "./optional-files.ts";
import type { ChatMessage } from "./prompt-types.ts";

/** What a checkpoint without a template file gets: the layout that Qwen2.5-VL was trained with. */
const DEFAULT_TEMPLATE = `
{%- set seen = namespace(videos=0, pictures=0) -%}
{%- if not messages or messages[0].role != 'system' -%}
  {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
  {{- '<|im_start|>' + message.role + '\\n' -}}
  {%- if message.content is string -%}
    {{- message.content -}}
  {%- else -%}
    {%- for item in message.content -%}
      {%- if item.type == 'text' -%}
        {{- item.text -}}
      {%- elif item.type == 'video' -%}
        {%- set seen.videos = seen.videos + 1 -%}
        {%- if add_vision_id -%}{{- 'Video ' ~ seen.videos ~ ': ' -}}{%- endif -%}
        {{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
      {%- elif item.type == 'image' -%}
        {%- set seen.pictures = seen.pictures + 1 -%}
        {%- if add_vision_id -%}{{- 'Picture ' ~ seen.pictures ~ ': ' -}}{%- endif -%}
        {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}`;

/** Options of rendering. */
export interface RenderOptions {
  addGenerationPrompt: boolean;
  addVisionId: boolean;
}

/** Renders messages as the checkpoint's chat template does. */
export type ChatTemplate = (messages: readonly ChatMessage[], options: RenderOptions) => string;

/** Milliseconds that a template may take for messages; real ones take one or two. */
const LIMIT_MS = 2000;
/** Characters that a template may write beside four times those of the messages. */
const LIMIT_CHARACTERS = 2 ** 20;

/** Runs actions one after the other and ends those that last too long: what a script of node:vm calls is stopped with the script. */
function createTimeLimit(): (action: () => void) => void {
  const script = new Script("run()");
  let context: { run: () => void } | undefined;
  return (run) => {
    context ??= createContext({ run }) as { run: () => void };
    context.run = run;
    script.runInContext(context, { timeout: LIMIT_MS });
  };
}

/**
 * Makes a renderer of a Jinja template; without one, of the built-in layout. Templates come with checkpoints and are not trusted.
 *
 * @throws QwenVlError `TEMPLATE_INVALID` for what is no template. The renderer throws `TEMPLATE_RENDER` where the template refuses the messages, needs more than two seconds for
 *   them, or writes more than four times their characters and a million.
 */
export function createChatTemplate(source: string = DEFAULT_TEMPLATE): ChatTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw new QwenVlError(`the chat template cannot be read: ${(error as Error).message}`, { code: "TEMPLATE_INVALID", cause: error, hint: "Use the template that came with the checkpoint." });
  }
  const within = createTimeLimit();
  return (messages, { addGenerationPrompt, addVisionId }) => {
    const plain = messages.map(({ role, content }) => ({ role, content: typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part : { type: part.type })) }));
    const given = plain.reduce((sum, { content }) => sum + (typeof content === "string" ? content.length : content.reduce((all, part) => all + ("text" in part ? part.text.length : 0), 0)), 0);
    try {
      let text = "";
      within(() => { text = template.render({ messages: plain, add_generation_prompt: addGenerationPrompt, add_vision_id: addVisionId }); });
      if (text.length > LIMIT_CHARACTERS + 4 * given) throw new Error(`it wrote ${text.length} characters for messages of ${given}`);
      return text;
    } catch (error) {
      throw new QwenVlError(`the chat template refuses the messages: ${(error as Error).message}`, { code: "TEMPLATE_RENDER", cause: error, hint: "Give messages in the order that the checkpoint's template expects." });
    }
  };
}

/** Template text in the contents of a JSON file: a string, or the entry called "default" of a list. */
function templateOf(json: unknown): string | undefined {
  const value = (typeof json === "object" && json !== null ? json : {}) as { chat_template?: unknown };
  const entries = Array.isArray(value.chat_template) ? (value.chat_template as unknown[]) : [{ name: "default", template: value.chat_template }];
  const chosen = entries.find((entry): entry is { template: string } => {
    const { name, template } = (entry ?? {}) as { name?: unknown; template?: unknown };
    return name === "default" && typeof template === "string";
  });
  return chosen?.template;
}

/** Template of a checkpoint folder: chat_template.jinja, chat_template.json, tokenizer_config.json, else the built-in layout. */
export async function readChatTemplate(folder: string): Promise<ChatTemplate> {
  const jinja = await readTextIfThere(join(folder, "chat_template.jinja"));
  if (jinja !== undefined) return createChatTemplate(jinja);
  for (const name of ["chat_template.json", "tokenizer_config.json"]) {
    const source = templateOf(await readJsonIfThere(join(folder, name)));
    if (source !== undefined) return createChatTemplate(source);
  }
  return createChatTemplate();
}
