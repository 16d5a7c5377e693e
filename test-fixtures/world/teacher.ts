/**
 * A teacher for the synthetic world: an OpenAI-compatible chat server on the loopback. It knows every drama's true plot, guesses the class
 * and gives imperfect reasons, all as a function of its seed and the request.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { TRAIT_STRENGTH } from "./latent.ts";
import { captionOf, HOSTILE, jsonAnswer, NOISE, thinkOf } from "./language.ts";
import type { WorldDrama } from "./traits.ts";

/** A drama with its class. */
export interface TaughtDrama {
  drama: WorldDrama;
  quality: number;
}

/** How good the teacher is. */
export interface TeacherOptions {
  seed?: number;
  /** Share of rounds in which the class is right. Default .6. */
  accuracy?: number;
  /** Share of trait sides that are wrong. Default .1. */
  slips?: number;
  /** Share of right answers that pass the second look. Default .8. */
  filterPass?: number;
}

/** A running teacher. */
export interface WorldTeacher {
  baseURL: string;
  requests(): number;
  close(): Promise<void>;
}

interface ChatBody {
  messages: { content: string | { type: string; text?: string }[] }[];
  metadata?: { task?: string; drama_id?: string; round?: string };
}

async function readBody(request: IncomingMessage): Promise<ChatBody> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as ChatBody;
}

const textOf = ({ messages }: ChatBody): string => messages.flatMap(({ content }) => (typeof content === "string" ? [content] : content.map(({ text }) => text ?? ""))).join("\n");

/** The JSON value between two boundary lines. */
function dataOf(text: string): unknown {
  const match = /^(data-[0-9a-f]{16})\n(.*)\n\1$/mu.exec(text);
  return match ? (JSON.parse(match[2]!) as unknown) : undefined;
}

/** Starts the teacher on a free port. */
export async function startWorldTeacher(dramas: readonly TaughtDrama[], options: TeacherOptions = {}): Promise<WorldTeacher> {
  const { seed = 1, accuracy = 0.6, slips = 0.1, filterPass = 0.8 } = options;
  const known = new Map(dramas.map((one) => [one.drama.dramaId, one]));
  const chance = (...parts: string[]): number => Number.parseInt(createHash("sha256").update([String(seed), ...parts].join("\u0001")).digest("hex").slice(0, 13), 16) / 2 ** 52;
  let requests = 0;

  const answer = (body: ChatBody): string => {
    const { task = "", drama_id: id = "", round = "" } = body.metadata ?? {};
    if (task === "comment_filter") {
      const comments = (dataOf(textOf(body)) ?? []) as { i: number; text: string }[];
      const bad = new Set<string>([...NOISE, ...HOSTILE]);
      return JSON.stringify({ labels: comments.map(({ i, text }) => ({ i, label: bad.has(text) ? 0 : 1 })) });
    }
    const taught = known.get(id);
    if (!taught) return "I do not know this drama.";
    if (task === "caption") return captionOf(taught.drama);
    if (task === "cot_filter") return JSON.stringify({ reason: "Score and lists agree.", valid: chance("filter", id, round, textOf(body)) < filterPass });
    const isRight = chance("class", id, round) < accuracy;
    const others = [1, 2, 3, 4, 5].filter((quality) => quality !== taught.quality);
    const quality = isRight ? taught.quality : others[Math.floor(chance("other", id, round) * others.length)]!;
    const think = thinkOf(taught.drama, (trait, level) => TRAIT_STRENGTH[taught.drama.genre][trait] > 0 === (level === 2) !== chance("slip", id, round, trait) < slips, quality);
    return jsonAnswer(think, quality);
  };

  const server: Server = createServer((request, response) => {
    requests++;
    readBody(request)
      .then((body) => {
        const content = answer(body);
        const usage = { prompt_tokens: Math.ceil(textOf(body).length / 4) + 1, completion_tokens: Math.ceil(content.length / 4), total_tokens: 0 };
        response.setHeader("content-type", "application/json").end(JSON.stringify({ model: "world-teacher", choices: [{ message: { role: "assistant", content }, finish_reason: "stop" }], usage }));
      })
      .catch((error: unknown) => response.writeHead(400, { "content-type": "application/json" }).end(JSON.stringify({ error: { code: "bad_request", message: String(error) } })));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return {
    baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests: () => requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
