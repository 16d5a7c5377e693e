import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { QwenVlError } from "./errors.ts";
import { readJsonIfThere } from "./optional-files.ts";
import type { QwenTokenizer } from "./model-types.ts";

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

/** Finds the literal of an added token at or after a place: the first one, and of those that start together the longest. */
type FindLiteral = (text: string, from: number) => { literal: string; start: number } | undefined;

function createFinder(literals: readonly string[]): FindLiteral {
  if (literals.length === 0) return () => undefined;
  const longestFirst = [...literals].sort((a, b) => b.length - a.length);
  // Without the flag u, which would step back from the middle of a surrogate pair and find the same place again.
  const pattern = new RegExp(longestFirst.map((literal) => literal.replace(/[$()*+./?[\\\]^{|}-]/g, "\\$&")).join("|"), "g");
  return (text, from) => {
    pattern.lastIndex = from;
    const match = pattern.exec(text);
    return match === null ? undefined : { literal: match[0], start: match.index };
  };
}

/** Text with its literals taken apart, so that each is encoded as ordinary text. */
function splitLiterals(text: string, find: FindLiteral): string[] {
  const pieces: string[] = [];
  let start = 0;
  for (let hit = find(text, 0); hit; hit = find(text, start)) {
    const cut = hit.start + (hit.literal.codePointAt(0)! > 0xffff ? 2 : 1);
    pieces.push(text.slice(start, cut)); // the literal's first character goes with what is before it
    start = cut;
  }
  pieces.push(text.slice(start));
  return pieces.filter((piece) => piece !== "");
}

const isId = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 31;

/** Makes a tokenizer from the contents of tokenizer.json and, if there is one, tokenizer_config.json. */
export function createTokenizer(json: unknown, config: unknown = {}): QwenTokenizer {
  const refuse = (why: string, cause?: unknown): never => {
    throw new QwenVlError(`tokenizer.json: ${why}`, { code: "TOKENIZER_INVALID", cause, hint: "Use the tokenizer.json that came with the checkpoint." });
  };
  if (typeof json !== "object" || json === null) refuse("it must hold a JSON object");
  const { added_tokens: rawAdded, model } = json as { added_tokens?: unknown; model?: { type?: unknown; vocab?: unknown } };
  const isAdded = (token: unknown): token is AddedToken => typeof token === "object" && token !== null && isId((token as AddedToken).id) && typeof (token as AddedToken).content === "string" && (token as AddedToken).content !== "";
  const added: AddedToken[] = Array.isArray(rawAdded) && rawAdded.every(isAdded) ? rawAdded : refuse("added_tokens must be a list of tokens, each with an id and a text");
  const vocab = model?.vocab;
  if (model?.type !== "BPE" || typeof vocab !== "object" || vocab === null) refuse("its model must be BPE with a vocabulary");
  const entries = Object.entries(vocab as Record<string, unknown>);
  if (entries.length === 0 || !entries.every(([, id]) => isId(id))) refuse("its vocabulary must map tokens to ids");
  const ids = new Map(entries as [string, number][]);
  for (const { content, id } of added) ids.set(content, id);

  // The package reads much of the file only when it meets text.
  const used = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      return refuse(`it cannot be used (${(error as Error).message})`, error);
    }
  };
  const tokenizer = used(() => new TextTokenizer(json, { ...(config as object), clean_up_tokenization_spaces: false }));
  const byLiteral = new Map(added.map(({ content, id }) => [content, id]));
  const find = createFinder([...byLiteral.keys()]);
  const encodeWhole = (text: string): number[] => used(() => [...tokenizer.encode(text, { add_special_tokens: false }).ids]);
  const encodeOrdinary = (text: string): number[] => splitLiterals(text, find).flatMap(encodeWhole);
  const encodeWhere = (text: string, isAllowed: (start: number, end: number) => boolean): number[] => {
    const out: number[] = [];
    let done = 0;
    let isWhole = true;
    for (let hit = find(text, 0); hit; ) {
      const end = hit.start + hit.literal.length;
      const allowed = isAllowed(hit.start, end);
      isWhole &&= allowed;
      if (allowed) {
        out.push(...encodeOrdinary(text.slice(done, hit.start)), byLiteral.get(hit.literal)!);
        done = end;
      }
      hit = find(text, allowed ? end : hit.start + 1);
    }
    return isWhole ? encodeWhole(text) : [...out, ...encodeOrdinary(text.slice(done))];
  };
  return {
    encode: (text, { allowSpecial = false } = {}) => {
      if (text === "") return [];
      if (allowSpecial === true) return encodeWhole(text);
      return allowSpecial === false ? encodeOrdinary(text) : encodeWhere(text, allowSpecial);
    },
    decode: (list, { skipSpecial = false } = {}) => (list.length === 0 ? "" : used(() => tokenizer.decode(Array.from(list), { skip_special_tokens: skipSpecial }))),
    idOf: (token) => ids.get(token),
    size: entries.reduce((largest, [, id]) => Math.max(largest, id as number), added.reduce((largest, { id }) => Math.max(largest, id), -1)) + 1,
    specialIds: new Set(added.filter(({ special }) => special).map(({ id }) => id)),
  };
}

/** Tokenizer of a checkpoint folder; undefined when it has no tokenizer.json. */
export async function readTokenizer(folder: string): Promise<QwenTokenizer | undefined> {
  const json = await readJsonIfThere(join(folder, "tokenizer.json"));
  return json === undefined ? undefined : createTokenizer(json, (await readJsonIfThere(join(folder, "tokenizer_config.json"))) ?? {});
}
