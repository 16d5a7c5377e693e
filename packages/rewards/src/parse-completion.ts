import type { Quality } from "@dramascope/schema";
import { resolveOptions, type RewardOptions, type RewardSettings } from "./options.ts";

/** What the four parts of a completion say. */
export interface ParsedCompletion {
  /** Whether all four parts stand in order, once each. */
  formatOk: boolean;
  /** Null when there is no caption block. */
  caption: string | null;
  /** Null when there is no readable comments block. */
  comments: string[] | null;
  /** Null when there is no think block. */
  think: string | null;
  /** The last answer block. */
  answer: {
    /** Class 1 … 5; null when the answer holds no readable one. */
    score: Quality | null;
    /** Why there is none. */
    reason: string | null;
  };
}

/** ECMAScript's white space, 25 code points. */
const SPACE = new Set("\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff");

/** Text without white space at its ends. */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && SPACE.has(text[start]!)) start++;
  while (end > start && SPACE.has(text[end - 1]!)) end--;
  return text.slice(start, end);
}

/** True when a text has nothing but white space. */
export function isBlank(text: string): boolean {
  return trim(text) === "";
}

function withoutEnd(text: string, eosTokens: readonly string[]): string {
  let rest = text;
  for (;;) {
    let end = rest.length;
    while (end > 0 && SPACE.has(rest[end - 1]!)) end--;
    const trimmed = rest.slice(0, end);
    const token = eosTokens.find((one) => one !== "" && trimmed.endsWith(one));
    if (token === undefined) return rest;
    rest = trimmed.slice(0, trimmed.length - token.length);
  }
}

const PARTS = ["caption", "comments", "think", "answer"] as const;

/** Content of the first block of a name. */
function firstBlock(text: string, name: string): string | null {
  const open = text.indexOf(`<${name}>`);
  if (open < 0) return null;
  const start = open + name.length + 2;
  const end = text.indexOf(`</${name}>`, start);
  return end < 0 ? null : text.slice(start, end);
}

/** Content of the last block of a name. */
function lastBlock(text: string, name: string): string | null {
  const end = text.lastIndexOf(`</${name}>`);
  if (end < 0) return null;
  const open = text.lastIndexOf(`<${name}>`, end - 1);
  return open < 0 || open + name.length + 2 > end ? null : text.slice(open + name.length + 2, end);
}

/** Places of the eight tags when each stands exactly once and in order. */
function tagPlaces(text: string): { open: number; close: number; name: string }[] | null {
  const places = PARTS.map((name) => ({ name, open: text.indexOf(`<${name}>`), close: text.indexOf(`</${name}>`) }));
  let at = -1;
  for (const { name, open, close } of places) {
    if (open < 0 || close < 0 || open <= at || close < open) return null;
    if (text.indexOf(`<${name}>`, open + 1) >= 0 || text.indexOf(`</${name}>`, close + 1) >= 0) return null;
    at = close;
  }
  return places;
}

function isWellFormed(text: string, options: RewardOptions): boolean {
  const places = tagPlaces(text);
  if (!places) return false;
  let at = 0;
  for (const { name, open, close } of places) {
    if (options.format === "strict" && !isBlank(text.slice(at, open))) return false;
    if (!options.allowBlank && isBlank(text.slice(open + name.length + 2, close))) return false;
    at = close + name.length + 3;
  }
  if (options.format === "strict" && !isBlank(text.slice(at))) return false;
  if (options.requireComments === null) return true;
  return parseComments(firstBlock(text, "comments")!, "json")?.kept.length === options.requireComments;
}

/** A parsed list of comments. */
interface CommentList {
  /** Strings with content. */
  kept: string[];
  /** Elements of the list, whatever they are. */
  given: number;
}

const keepStrings = (values: readonly unknown[]): CommentList => ({ given: values.length, kept: values.filter((value): value is string => typeof value === "string" && !isBlank(value)) });

/** The value of JSON text; `undefined` when it is none. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const BULLETS = "-*•·–";
const NUMBER_ENDS = ".)、．";

/** One line of a list without its bullet or number. */
function withoutBullet(line: string): string {
  const text = trim(line);
  if (BULLETS.includes(text[0] ?? " ")) return trim(text.slice(1));
  let digits = 0;
  while (digits < 3 && text[digits] !== undefined && text[digits]! >= "0" && text[digits]! <= "9") digits++;
  return digits > 0 && text[digits] !== undefined && NUMBER_ENDS.includes(text[digits]!) ? trim(text.slice(digits + 1)) : text;
}

function parseComments(content: string, format: RewardOptions["commentsFormat"]): CommentList | null {
  const value = parseJson(trim(content));
  if (Array.isArray(value)) return keepStrings(value);
  if (value !== undefined || format === "json") return null;
  return keepStrings(content.split("\n").map(withoutBullet).filter((line) => line !== ""));
}

const toScore = (text: string): Quality | null => (text.length === 1 && text >= "1" && text <= "5" ? (text.charCodeAt(0) - 48) as Quality : null);

const BOX = "\\boxed{";

function readScore(content: string | null): ParsedCompletion["answer"] {
  if (content === null) return { score: null, reason: "no-answer" };
  let open = content.indexOf(BOX);
  if (open < 0) {
    const bare = toScore(trim(content));
    return { score: bare, reason: bare === null ? "not-a-digit" : null };
  }
  let score: Quality | null = null;
  for (; open >= 0; open = content.indexOf(BOX, open + 1)) {
    const close = content.indexOf("}", open);
    if (close < 0) return { score: null, reason: "open-box" };
    const boxed = toScore(trim(content.slice(open + BOX.length, close)));
    if (boxed === null) return { score: null, reason: "not-a-digit" };
    if (score !== null && boxed !== score) return { score: null, reason: "boxes-differ" };
    score = boxed;
  }
  return { score, reason: null };
}

/** What a scan finds. */
export interface ScannedCompletion extends ParsedCompletion {
  /** Elements of the list of comments before any is dropped; 0 without a readable list. */
  commentsGiven: number;
}

/** Scans with options already resolved. */
export function scanCompletion(text: string, options: RewardOptions): ScannedCompletion {
  const body = withoutEnd(text, options.eosTokens);
  const block = firstBlock(body, "comments");
  const comments = block === null ? null : parseComments(block, options.commentsFormat);
  return {
    formatOk: isWellFormed(body, options),
    caption: firstBlock(body, "caption"),
    comments: comments?.kept ?? null,
    commentsGiven: comments?.given ?? 0,
    think: firstBlock(body, "think"),
    answer: readScore(lastBlock(body, "answer")),
  };
}

/**
 * Reads the four parts of a completion in linear time. Never throws, whatever the text; `limits` do not apply.
 *
 * @throws RewardError `OPTIONS_INVALID`, `WEIGHTS_INVALID` for the settings.
 */
export function parseCompletion(text: string, settings: RewardSettings = {}): ParsedCompletion {
  const { commentsGiven: _commentsGiven, ...parsed } = scanCompletion(text, resolveOptions(settings));
  return parsed;
}
