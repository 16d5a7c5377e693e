import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { QwenVlError } from "./errors.ts";
import type { QwenTokenizer } from "./types.ts";

/** The used part of the package; its own declarations do not resolve under Node's module rules. */
interface TextTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean }): string;
}
const TextTokenizer = Tokenizer as unknown as new (json: unknown, config: unknown) => TextTokenizer;

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
}

async function readJsonIfThere(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new QwenVlError(`${path} is not JSON: ${(error as Error).message}`, { code: "TOKENIZER_INVALID", cause: error, hint: "Fetch the file again." });
  }
}

/** Text with literals of control tokens taken apart, so that each is encoded as ordinary text. */
function splitLiterals(text: string, literals: readonly string[]): string[] {
  const pieces: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (!literals.some((literal) => text.startsWith(literal, i))) continue;
    pieces.push(text.slice(start, i + 1)); // the literal's first character goes with what is before it
    start = i + 1;
  }
  pieces.push(text.slice(start));
  return pieces.filter((piece) => piece !== "");
}

/** Makes a tokenizer from the contents of tokenizer.json and, if there is one, tokenizer_config.json. */
export function createTokenizer(json: unknown, config: unknown = {}): QwenTokenizer {
  const refuse = (why: string, cause?: unknown): never => {
    throw new QwenVlError(`tokenizer.json: ${why}`, { code: "TOKENIZER_INVALID", cause, hint: "Use the tokenizer.json that came with the checkpoint." });
  };
  if (typeof json !== "object" || json === null) refuse("it must hold a JSON object");
  const { added_tokens: rawAdded, model } = json as { added_tokens?: unknown; model?: { type?: unknown; vocab?: unknown } };
  const isAdded = (token: unknown): token is AddedToken => typeof token === "object" && token !== null && Number.isSafeInteger((token as AddedToken).id) && typeof (token as AddedToken).content === "string";
  const added: AddedToken[] = Array.isArray(rawAdded) && rawAdded.every(isAdded) ? rawAdded : refuse("added_tokens must be a list of tokens with id and content");
  const vocab = model?.vocab;
  if (model?.type !== "BPE" || typeof vocab !== "object" || vocab === null) refuse("its model must be BPE with a vocabulary");
  const entries = Object.entries(vocab as Record<string, unknown>);
  if (entries.length === 0 || !entries.every(([, id]) => Number.isSafeInteger(id))) refuse("its vocabulary must map tokens to integers");
  const ids = new Map(entries as [string, number][]);
  for (const { content, id } of added) ids.set(content, id);

  let tokenizer: TextTokenizer;
  try {
    tokenizer = new TextTokenizer(json, { ...(config as object), clean_up_tokenization_spaces: false });
  } catch (error) {
    return refuse(`it cannot be used (${(error as Error).message})`, error);
  }
  const literals = added.map(({ content }) => content);
  const encodeTrusted = (text: string): number[] => [...tokenizer.encode(text, { add_special_tokens: false }).ids];
  return {
    encode: (text, { allowSpecial = false } = {}) => {
      if (text === "") return [];
      if (allowSpecial || !literals.some((literal) => text.includes(literal))) return encodeTrusted(text);
      return splitLiterals(text, literals).flatMap(encodeTrusted);
    },
    decode: (list, { skipSpecial = false } = {}) => (list.length === 0 ? "" : tokenizer.decode(Array.from(list), { skip_special_tokens: skipSpecial })),
    idOf: (token) => ids.get(token),
    size: entries.reduce((largest, [, id]) => Math.max(largest, id as number), Math.max(-1, ...added.map(({ id }) => id))) + 1,
    specialIds: new Set(added.filter(({ special }) => special).map(({ id }) => id)),
  };
}

/** Tokenizer of a checkpoint folder; undefined when it has no tokenizer.json. */
export async function readTokenizer(folder: string): Promise<QwenTokenizer | undefined> {
  const json = await readJsonIfThere(join(folder, "tokenizer.json"));
  return json === undefined ? undefined : createTokenizer(json, (await readJsonIfThere(join(folder, "tokenizer_config.json"))) ?? {});
}
