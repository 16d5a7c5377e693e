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
  /** Where the digit that became the score begins and ends (exclusive) in the text, UTF-16 units; the first one when several boxes agree. Null without a score. */
  scoreAt: [start: number, end: number] | null;
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

/** Content of the last block of a name, and where it begins. */
function lastBlock(text: string, name: string): { content: string; start: number } | null {
  const end = text.lastIndexOf(`</${name}>`);
  if (end < 0) return null;
  const open = text.lastIndexOf(`<${name}>`, end - 1);
  const start = open + name.length + 2;
  return open < 0 || start > end ? null : { content: text.slice(start, end), start };
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

/** The class that is all a text says, and where in the text its digit stands. */
function soleDigit(text: string): { score: Quality; at: number } | null {
  const digit = trim(text);
  return digit.length === 1 && digit >= "1" && digit <= "5" ? { score: Number(digit) as Quality, at: text.indexOf(digit) } : null;
}

const BOX = "\\boxed{";

type ReadScore = Pick<ParsedCompletion, "answer" | "scoreAt">;

function readScore(block: { content: string; start: number } | null): ReadScore {
  const none = (reason: string): ReadScore => ({ answer: { score: null, reason }, scoreAt: null });
  const found = (score: Quality, at: number): ReadScore => ({ answer: { score, reason: null }, scoreAt: [at, at + 1] });
  if (block === null) return none("no-answer");
  const { content, start } = block;
  let open = content.indexOf(BOX);
  if (open < 0) {
    const bare = soleDigit(content);
    return bare === null ? none("not-a-digit") : found(bare.score, start + bare.at);
  }
  let first: ReadScore | undefined;
  for (; open >= 0; open = content.indexOf(BOX, open + 1)) {
    const close = content.indexOf("}", open);
    if (close < 0) return none("open-box");
    const inside = open + BOX.length;
    const boxed = soleDigit(content.slice(inside, close));
    if (boxed === null) return none("not-a-digit");
    first ??= found(boxed.score, start + inside + boxed.at);
    if (boxed.score !== first.answer.score) return none("boxes-differ");
  }
  return first!;
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
    ...readScore(lastBlock(body, "answer")),
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
