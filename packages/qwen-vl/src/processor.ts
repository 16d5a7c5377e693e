import { QwenVlError } from "./errors.ts";
import type { ChatTemplate } from "./template.ts";
import { positionIds } from "./text/positions.ts";
import type { ChatMessage, ChatPart, MropeRule, PrepareOptions, Prompt, QwenTokenizer, QwenVlConfig, Segment, VisionItem } from "./types.ts";

/** What turns messages into prompts. */
export interface Processor {
  config: QwenVlConfig;
  tokenizer: QwenTokenizer;
  template: ChatTemplate;
  mrope: MropeRule;
}

/** Stands for a text of the caller while the template renders; private-use characters that templates do not touch. */
const OPEN = "\uE0F0";
const CLOSE = "\uE0F1";

/** Messages with each text replaced by a numbered place. */
function withPlaces(messages: readonly ChatMessage[]): { messages: ChatMessage[]; texts: string[] } {
  const texts: string[] = [];
  const place = (text: string): string => `${OPEN}${texts.push(text) - 1}${CLOSE}`;
  const replaced = messages.map(({ role, content }): ChatMessage => ({
    role,
    content: typeof content === "string" ? place(content) : content.map((part): ChatPart => (part.type === "text" ? { type: "text", text: place(part.text) } : part)),
  }));
  return { messages: replaced, texts };
}

/** Ids of the rendered text: control tokens come from the template only, unless the caller's text is trusted. */
function encodeRendered(tokenizer: QwenTokenizer, template: ChatTemplate, messages: readonly ChatMessage[], options: Required<PrepareOptions>): { ids: number[]; text: string } {
  const render = (list: readonly ChatMessage[]): string => template(list, options);
  const text = render(messages);
  const isPlain = messages.every(({ content }) =>
    (typeof content === "string" ? [content] : content.flatMap((part) => (part.type === "text" ? [part.text] : []))).every(
      (one) => tokenizer.encode(one).length === tokenizer.encode(one, { allowSpecial: true }).length,
    ),
  );
  if (options.allowSpecial || isPlain) return { ids: tokenizer.encode(text, { allowSpecial: true }), text };
  const placed = withPlaces(messages);
  const ids = render(placed.messages)
    .split(/(\uE0F0\d+\uE0F1)/u)
    .flatMap((piece) => (piece.startsWith(OPEN) ? tokenizer.encode(placed.texts[Number(piece.slice(1, -1))]!) : tokenizer.encode(piece, { allowSpecial: true })));
  return { ids, text };
}

/** Renders messages, expands the pads of their items and gives every token its position. */
export function prepare(processor: Processor, messages: readonly ChatMessage[], options: PrepareOptions = {}): Prompt {
  const { config, tokenizer, template, mrope } = processor;
  const { addGenerationPrompt = true, addVisionId = false, allowSpecial = false, timeBase = "pinned" } = options;
  const items: VisionItem[] = messages.flatMap(({ content }) => (typeof content === "string" ? [] : content.flatMap((part) => (part.type === "text" ? [] : [part.item]))));
  const { ids: short, text } = encodeRendered(tokenizer, template, messages, { addGenerationPrompt, addVisionId, allowSpecial, timeBase });
  const merge = config.vision.spatialMergeSize;
  const ids: number[] = [];
  const segments: Segment[] = [];
  let used = 0;
  let textLength = 0;
  const closeText = (): void => {
    if (textLength > 0) segments.push({ text: textLength });
    textLength = 0;
  };
  for (const id of short) {
    if (id !== config.videoTokenId && id !== config.imageTokenId) {
      ids.push(id);
      textLength++;
      continue;
    }
    const item = items[used++];
    const kind = id === config.videoTokenId ? "video" : "image";
    if (item?.kind !== kind) {
      throw new QwenVlError(`place ${used} of the prompt wants ${kind === "video" ? "a video" : "an image"}, ${item ? `item ${used} is of kind ${item.kind}` : `only ${items.length} items were given`}`, {
        code: "VISION_COUNT",
        hint: "Every item needs its own place in the messages, in order.",
      });
    }
    closeText();
    const [t, h, w] = item.grid;
    for (let i = 0; i < (t * h * w) / merge ** 2; i++) ids.push(id);
    segments.push(kind === "image" ? { image: item.grid } : { video: item.grid, secondsPerGrid: timeBase === "pinned" ? 1 : (item.secondsPerGrid ?? 2) });
  }
  closeText();
  if (used !== items.length) throw new QwenVlError(`${items.length} items were given, the template has ${used} places`, { code: "VISION_COUNT", hint: "Use the chat template of the checkpoint." });
  const { positionIds: positions, nextPosition } = positionIds(segments, { rule: mrope, spatialMerge: merge, tokensPerSecond: config.vision.tokensPerSecond });
  return { ids: Int32Array.from(ids), positionIds: positions, nextPosition, segments, vision: items, text };
}
