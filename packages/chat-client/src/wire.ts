import { ChatError } from "./errors.ts";
import type { Capabilities, ChatContent, ChatRequest, ChatTrace } from "./types.ts";

const MAX_BODY_BYTES = 60 * 1024 * 1024;
const MAX_HEADER_CHARS = 256;

type Json = Record<string, unknown>;

function unsupported(form: string, capability: string): ChatError {
  return new ChatError(`the provider takes no ${form}, says the capability ${capability}`, { code: "MEDIA_UNSUPPORTED", hint: `Choose another form of media, or set ${capability} to true where the provider takes it.` });
}

function wirePart(part: ChatContent, { frames, videoUrl, fileId, fpsWhere }: Capabilities): Json {
  if (part.type === "text") return { type: "text", text: part.text };
  if (part.type === "jpeg") {
    if (!frames) throw unsupported("pictures", "frames");
    return { type: "image_url", image_url: { url: `data:image/jpeg;base64,${Buffer.from(part.data.buffer, part.data.byteOffset, part.data.byteLength).toString("base64")}` } };
  }
  if (part.type === "fileId") {
    if (!fileId) throw unsupported("ids of files", "fileId");
    return { type: "file", file: { file_id: part.id } };
  }
  if (!videoUrl) throw unsupported("addresses of videos", "videoUrl");
  const fps = part.fps === undefined ? {} : { fps: part.fps };
  return { type: "video_url", video_url: { url: part.url, ...(fpsWhere === "inside" ? fps : {}) }, ...(fpsWhere === "beside" ? fps : {}) };
}

/** Bytes that a request has at least. */
function leastBytes({ messages }: ChatRequest): number {
  let bytes = 0;
  for (const { content } of messages) {
    for (const part of typeof content === "string" ? [{ type: "text" as const, text: content }] : content) {
      if (part.type === "text") bytes += part.text.length;
      else if (part.type === "jpeg") bytes += (part.data.length * 4) / 3;
    }
  }
  return bytes;
}

/** What a trace says, by name; the names are those of the headers. */
function traceFields(task: string, { drama, round, item, attempt, shape }: ChatTrace): [string, string][] {
  const fields: [string, string | number | undefined][] = [["task", task], ["drama", drama], ["round", round], ["item", item], ["attempt", attempt], ["shape", shape]];
  return fields.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
}

/** Headers that name the work of a call, `x-dramascope-*`; none where the provider takes none. */
export function traceHeaders({ task, trace }: ChatRequest, capabilities: Capabilities): Record<string, string> {
  if (!trace || !capabilities.traceHeaders) return {};
  const safe = (value: string): string => (/^[\x21-\x7e]*$/u.test(value) ? value : encodeURIComponent(value.toWellFormed())).slice(0, MAX_HEADER_CHARS);
  return Object.fromEntries(traceFields(task, trace).map(([name, value]) => [`x-dramascope-${name}`, safe(value)]));
}

/**
 * The body of a request in the form of OpenAI's chat completions.
 *
 * @returns null for a body of more than 60 MiB.
 * @throws ChatError `MEDIA_UNSUPPORTED`.
 */
export function encodeRequest(request: ChatRequest, capabilities: Capabilities): Buffer | null {
  if (leastBytes(request) > MAX_BODY_BYTES) return null;
  const { task, model, messages, temperature, topP, maxTokens, seed, schema, trace } = request;
  const body: Json = {
    model,
    messages: messages.map(({ role, content }) => ({ role, content: typeof content === "string" ? content : content.map((part) => wirePart(part, capabilities)) })),
    temperature,
    ...(topP === undefined ? {} : { top_p: topP }),
    max_tokens: maxTokens,
    ...(seed === undefined ? {} : { seed }),
    ...(schema && capabilities.jsonSchema ? { response_format: { type: "json_schema", json_schema: schema } } : {}),
    ...(capabilities.thinkingParam === "thinking" ? { thinking: { type: "disabled" } } : {}),
    ...(capabilities.thinkingParam === "enable_thinking" ? { enable_thinking: false } : {}),
    ...(trace && capabilities.metadata ? { metadata: Object.fromEntries(traceFields(task, trace).map(([name, value]) => [name === "drama" ? "drama_id" : name, value])) } : {}),
  };
  const bytes = Buffer.from(JSON.stringify(body));
  return bytes.length > MAX_BODY_BYTES ? null : bytes;
}
