import { QwenVlError } from "./errors.ts";
import { checkWord } from "./options.ts";
import type { ChatTemplate } from "./template.ts";
import { positionIds } from "./text/positions.ts";
import { mergedGrid } from "./vision/grid.ts";
import type { MropeRule, QwenVlConfig } from "./config-types.ts";
import type { QwenTokenizer } from "./model-types.ts";
import type { ChatMessage, ChatPart, PrepareOptions, Prompt, Segment, VisionItem } from "./prompt-types.ts";

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

/** The rendered text and the places in it that the caller wrote; neighbours are one place. */
function joinPlaces(rendered: string, texts: readonly string[]): { text: string; written: [start: number, end: number][] } {
  let text = "";
  const written: [start: number, end: number][] = [];
  for (const piece of rendered.split(/(\uE0F0\d+\uE0F1)/u)) {
    const start = text.length;
    if (!piece.startsWith(OPEN)) text += piece;
    else {
      text += texts[Number(piece.slice(1, -1))]!;
      written.push([start, text.length]);
    }
  }
  return { text, written };
}

/** Literals of control tokens that stand in a text and pass a test of their place, in order. */
function literalsOf(tokenizer: QwenTokenizer, text: string, isCounted: (start: number, end: number) => boolean): string[] {
  const found: string[] = [];
  tokenizer.encode(text, {
    allowSpecial: (start, end) => {
      const counted = isCounted(start, end);
      if (counted) found.push(text.slice(start, end));
      return counted;
    },
  });
  return found;
}

/**
 * Ids of the rendered text. Control tokens come from the template only, unless the caller's text is trusted: a literal that touches
 * the caller's text anywhere, even one that two parts form together, is encoded as ordinary text.
 */
function encodeRendered(tokenizer: QwenTokenizer, template: ChatTemplate, messages: readonly ChatMessage[], options: Required<PrepareOptions>): { ids: number[]; text: string } {
  const text = template(messages, options);
  if (options.allowSpecial) return { ids: tokenizer.encode(text, { allowSpecial: true }), text };
  const placed = withPlaces(messages);
  const joined = joinPlaces(template(placed.messages, options), placed.texts);
  const isOurs = (start: number, end: number): boolean => joined.written.every(([from, to]) => end <= from || start >= to);
  if (joined.text === text) return { ids: tokenizer.encode(text, { allowSpecial: isOurs }), text };
  const ours = literalsOf(tokenizer, joined.text, isOurs);
  const all = literalsOf(tokenizer, text, () => true);
  // The template trimmed or reworded what the caller wrote; its rendering is kept where it is safe.
  if (all.length === ours.length && all.every((literal, i) => literal === ours[i])) return { ids: tokenizer.encode(text, { allowSpecial: true }), text };
  return { ids: tokenizer.encode(joined.text, { allowSpecial: isOurs }), text: joined.text };
}

const ROLES: readonly string[] = ["system", "user", "assistant"];

/** Checks what a program without types may get wrong; roles stand in the template's own text. */
function checkMessages(messages: readonly ChatMessage[], { vision }: QwenVlConfig): void {
  messages.forEach(({ role, content }, i) => {
    const refuse = (what: string): never => {
      throw new QwenVlError(`message ${i + 1}: ${what}`, { code: "MESSAGE", hint: "Give a role and a text or a list of text, video and image parts." });
    };
    if (!ROLES.includes(role)) refuse(`the role ${JSON.stringify(role)} is none of ${ROLES.join(", ")}`);
    if (typeof content === "string") return;
    if (!(content as unknown instanceof Array)) refuse("its content is neither a text nor a list of parts");
    for (const part of content) {
      const { type, text, item } = part as { type: unknown; text?: unknown; item?: unknown };
      if (type === "text" ? typeof text !== "string" : item === undefined) refuse(`a part of type ${JSON.stringify(type)} has no ${type === "text" ? "text" : "item"}`);
      if (part.type === "text") continue;
      if (type !== "video" && type !== "image") refuse(`a part has the unknown type ${JSON.stringify(type)}`);
      const { grid, patches } = part.item;
      const { frames, rows, columns } = mergedGrid(grid, vision.spatialMergeSize);
      const values = frames * rows * columns * vision.spatialMergeSize ** 2 * vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2;
      // No pixels at all is a prompt for features that are there already.
      if (patches.length !== 0 && patches.length !== values) refuse(`an item of [${grid.join(", ")}] patches needs ${values} values, ${patches.length} were given`);
    }
  });
}

/**
 * Renders messages, expands the pads of their items and gives every token its position. The template puts nothing between the parts of
 * a message: a line break stands where the caller's text has one.
 *
 * @throws QwenVlError for an unknown role or part, an item whose pixels do not fit its grid, or a template that has not one place for every item.
 */
export function prepare(processor: Processor, messages: readonly ChatMessage[], options: PrepareOptions = {}): Prompt {
  const { config, tokenizer, template, mrope } = processor;
  const { addGenerationPrompt = true, addVisionId = false, allowSpecial = false, timeBase = "pinned" } = options;
  checkWord("timeBase", timeBase, ["pinned", "true-fps"]);
  checkMessages(messages, config);
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
    const { frames, rows, columns } = mergedGrid(item.grid, merge);
    for (let i = 0; i < frames * rows * columns; i++) ids.push(id);
    segments.push(kind === "image" ? { image: item.grid } : { video: item.grid, secondsPerGrid: timeBase === "pinned" ? 1 : (item.secondsPerGrid ?? 2) });
  }
  closeText();
  if (used !== items.length) throw new QwenVlError(`${items.length} items were given, the template has ${used} places`, { code: "VISION_COUNT", hint: "Use the chat template of the checkpoint." });
  const { positionIds: positions, nextPosition } = positionIds(segments, { rule: mrope, spatialMerge: merge, tokensPerSecond: config.vision.tokensPerSecond });
  return { ids: Int32Array.from(ids), positionIds: positions, nextPosition, segments, vision: items, text };
}
