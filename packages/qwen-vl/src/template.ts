import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Template } from "@huggingface/jinja";
import { QwenVlError } from "./errors.ts";
import type { ChatMessage } from "./types.ts";

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

/** Makes a renderer of a Jinja template; without one, of the built-in layout. */
export function createChatTemplate(source: string = DEFAULT_TEMPLATE): ChatTemplate {
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw new QwenVlError(`the chat template cannot be read: ${(error as Error).message}`, { code: "TEMPLATE_INVALID", cause: error, hint: "Use the template that came with the checkpoint." });
  }
  return (messages, { addGenerationPrompt, addVisionId }) => {
    const plain = messages.map(({ role, content }) => ({ role, content: typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part : { type: part.type })) }));
    return template.render({ messages: plain, add_generation_prompt: addGenerationPrompt, add_vision_id: addVisionId });
  };
}

/** Template of a checkpoint folder: chat_template.jinja, chat_template.json, tokenizer_config.json, else the built-in layout. */
export async function readChatTemplate(folder: string): Promise<ChatTemplate> {
  const read = (name: string): Promise<string | undefined> => readFile(join(folder, name), "utf8").catch(() => undefined);
  const jinja = await read("chat_template.jinja");
  if (jinja !== undefined) return createChatTemplate(jinja);
  for (const name of ["chat_template.json", "tokenizer_config.json"]) {
    const text = await read(name);
    if (text === undefined) continue;
    const { chat_template: source } = JSON.parse(text) as { chat_template?: unknown };
    if (typeof source === "string") return createChatTemplate(source);
  }
  return createChatTemplate();
}
