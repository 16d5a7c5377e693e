import { jpegSize } from "./jpeg-size.ts";
import type { ChatContent, ChatRequest, Usage } from "./types.ts";

const CHARS_PER_TOKEN = 4;
/** Pixels a token of Qwen2.5-VL: a patch of 28 × 28. */
const PIXELS_PER_TOKEN = 784;
const TOKENS_PER_PICTURE = 256;
/** An episode of a minute, one frame a second. */
const TOKENS_PER_VIDEO = 4096;
const TOKENS_PER_MESSAGE = 8;

/** Tokens of a text: four characters each in alphabets, one each in other scripts; at least 1. */
export function textTokens(text: string): number {
  let tokens = 0;
  for (let i = 0; i < text.length; i++) tokens += text.charCodeAt(i) < 0x250 ? 1 / CHARS_PER_TOKEN : 1;
  return Math.max(1, Math.ceil(tokens));
}

function partTokens(part: ChatContent): number {
  if (part.type === "text") return textTokens(part.text);
  if (part.type !== "jpeg") return TOKENS_PER_VIDEO;
  const size = jpegSize(part.data);
  return size ? Math.max(1, Math.ceil((size.width * size.height) / PIXELS_PER_TOKEN)) : TOKENS_PER_PICTURE;
}

/**
 * What a call may use before it is known: its prompt by characters, pixels and videos, and as many answer tokens as it allows.
 * Never 0.
 */
export function estimateUsage({ messages, maxTokens }: ChatRequest): Usage {
  let promptTokens = 0;
  for (const { content } of messages) {
    promptTokens += TOKENS_PER_MESSAGE;
    for (const part of typeof content === "string" ? [{ type: "text" as const, text: content }] : content) promptTokens += partTokens(part);
  }
  return { promptTokens: Math.max(1, promptTokens), completionTokens: Math.max(1, maxTokens), source: "estimated" };
}
