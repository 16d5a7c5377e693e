import { DramascopeError, type Quality, type RewardBreakdown } from "@dramascope/schema";
import { RewardError } from "./errors.ts";
import { maxWeightMatching } from "./matching.ts";
import { resolveOptions, versionOf, type RewardOptions, type RewardSettings } from "./options.ts";
import { isBlank, scanCompletion, type ScannedCompletion } from "./parse-completion.ts";
import { ReferenceIndex } from "./reference-index.ts";
import { hasUnspacedLetters, tokenize } from "./tokenize.ts";

/** What completions of one prompt are compared with. */
export interface RewardReference {
  /** True class, an integer 1 … 5. */
  score: Quality;
  /** True plot summary; not blank. */
  caption: string;
  /** Real comments, already filtered; may be empty. */
  comments: readonly string[];
}

/** More about one result. */
export interface RewardDetails {
  /** Class that the answer gives; null with the reason. */
  answer: { score: Quality | null; reason: string | null };
  /** Tokens of the caption; 0 without one. */
  captionTokens: number;
  /** Counts of comments. */
  comments: {
    /** Elements of the list, whatever they are. */
    given: number;
    /** Strings with content. */
    kept: number;
    /** Of the kept ones, those whose tokens differ; 0 when a limit was hit. */
    distinct: number;
    /** Pairs of a comment with a real one. */
    pairs: number;
  };
  /** Warnings of the reference. */
  warnings: string[];
}

/** A result, with details where they were asked for. */
export type ScoredCompletion = RewardBreakdown & { details?: RewardDetails };

/** All warnings of references. */
export const REFERENCE_WARNINGS = ["no-reference-comments", "reference-caption-has-no-tokens", "tokenizer-skips-letters"] as const;
/** A warning of a reference. */
export type ReferenceWarning = (typeof REFERENCE_WARNINGS)[number];

/** A reference prepared once for all completions of its prompt. */
export interface PreparedReference {
  /**
   * What a user should know of this reference: `no-reference-comments`, `reference-caption-has-no-tokens`, and `tokenizer-skips-letters` when the
   * tokenizer `rouge-score` passes over Chinese, Japanese, Korean or South-East Asian text.
   */
  readonly warnings: readonly ReferenceWarning[];
  /** Version of package and options; results compare only under one. */
  readonly version: string;
  /** @internal */
  readonly state: PreparedState;
}

/** What preparation computed. */
export interface PreparedState {
  /** Settings with all defaults. */
  options: RewardOptions;
  /** True class. */
  score: Quality;
  /** The one true caption. */
  caption: ReferenceIndex;
  /** The real comments. */
  comments: ReferenceIndex;
}

/**
 * Checks a reference and indexes its texts. Blank comments are dropped; none at all is legal and makes the comments' reward 0.
 *
 * @throws RewardError `REFERENCE_SCORE_INVALID`, `REFERENCE_CAPTION_EMPTY`, `REFERENCE_COMMENTS_INVALID`, and `WEIGHTS_INVALID`, `OPTIONS_INVALID` for the settings.
 */
export function prepareReference(reference: RewardReference, settings: RewardSettings = {}): PreparedReference {
  const options = resolveOptions(settings);
  const { score, caption, comments } = reference as { score: unknown; caption: unknown; comments: unknown };
  const refuse = (code: string, what: string): never => {
    throw new RewardError(`the reference's ${what}`, { code, hint: "Correct the reference; completions are never at fault here." });
  };
  if (typeof score !== "number" || !Number.isInteger(score) || score < 1 || score > 5) refuse("REFERENCE_SCORE_INVALID", `score is ${typeof score === "number" ? score : "not a number"}, expected an integer from 1 to 5`);
  if (typeof caption !== "string" || isBlank(caption)) return refuse("REFERENCE_CAPTION_EMPTY", typeof caption === "string" ? "caption is empty" : "caption is not a text");
  if (!Array.isArray(comments) || !comments.every((comment) => typeof comment === "string")) return refuse("REFERENCE_COMMENTS_INVALID", "comments must be an array of strings");
  const kept = comments.filter((comment) => !isBlank(comment));
  const captionTokens = tokenize(caption, options.tokenizer);
  const warnings: ReferenceWarning[] = [];
  if (kept.length === 0) warnings.push("no-reference-comments");
  if (captionTokens.length === 0) warnings.push("reference-caption-has-no-tokens");
  if (options.tokenizer === "rouge-score" && [caption, ...kept].some(hasUnspacedLetters)) warnings.push("tokenizer-skips-letters");
  return {
    warnings,
    version: versionOf(options),
    state: { options, score: score as Quality, caption: new ReferenceIndex([captionTokens]), comments: new ReferenceIndex(kept.map((comment) => tokenize(comment, options.tokenizer))) },
  };
}

const above = (count: number, limit: number | null): boolean => limit !== null && count > limit;

/** A reward of text, and what was counted on the way. */
interface TextReward<Counts> {
  value: number | null;
  counts: Counts;
}

function captionReward(text: string | null, { options, caption }: PreparedState, reasons: string[]): TextReward<number> {
  if (text === null) return { value: 0, counts: 0 };
  const tokens = tokenize(text, options.tokenizer);
  if (above(tokens.length, options.limits.captionTokens)) {
    reasons.push("caption-too-long");
    return { value: 0, counts: tokens.length };
  }
  if (tokens.length < options.minCaptionTokens) {
    reasons.push("caption-too-short");
    return { value: 0, counts: tokens.length };
  }
  return { value: caption.means(tokens)[0]!, counts: tokens.length };
}

function distinctLists(lists: readonly string[][]): string[][] {
  const seen = new Set<string>();
  return lists.filter((tokens) => {
    const key = tokens.join(" ");
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** Limits hold for all comments of the completion; then equal ones are dropped, then the first so many taken. */
function commentsReward({ comments: texts, commentsGiven }: ScannedCompletion, { options, comments }: PreparedState, reasons: string[]): TextReward<RewardDetails["comments"]> {
  const counts = { given: commentsGiven, kept: texts?.length ?? 0, distinct: 0, pairs: 0 };
  if (texts === null) return { value: 0, counts };
  if (above(texts.length, options.limits.comments)) {
    reasons.push("too-many-comments");
    return { value: 0, counts };
  }
  const lists = texts.map((text) => tokenize(text, options.tokenizer));
  if (lists.some((tokens) => above(tokens.length, options.limits.commentTokens))) {
    reasons.push("comment-too-long");
    return { value: 0, counts };
  }
  const distinct = options.dedupeComments || options.details ? distinctLists(lists) : lists;
  const used = (options.dedupeComments ? distinct : lists).slice(0, options.takeComments ?? undefined);
  const expected = comments.lengths.length;
  const more = { ...counts, distinct: distinct.length };
  if (used.length === 0 || expected === 0) return { value: 0, counts: more };
  const { pairs, sum } = maxWeightMatching(used.map((tokens) => comments.means(tokens)));
  const divisor = { matched: Math.min(used.length, expected), max: Math.max(used.length, expected), expected: options.expectedComments }[options.commentsDenominator];
  return { value: sum / divisor, counts: { ...more, pairs: pairs.length } };
}

/** A part that is too large to compute, without limits that would have refused it, is unknown: null, not 0. */
function unlessTooLarge<Counts>(name: "caption" | "comments", empty: Counts, reasons: string[], compute: () => TextReward<Counts>): TextReward<Counts> {
  try {
    return compute();
  } catch (error) {
    if (!(error instanceof RangeError) && !(DramascopeError.isInstance(error) && error.code === "TOO_LARGE")) throw error;
    reasons.push(`${name}-too-large`);
    return { value: null, counts: empty };
  }
}

function accuracyReward(score: number | null, { score: reference, options }: PreparedState): number {
  if (score === null) return 0;
  return score === reference ? 1 : options.nearMissCredit * (1 - Math.abs(score - reference) / 4);
}

/**
 * Rewards of one completion; never throws, whatever its text. Each is 0 … 1; `comments` can pass 1 under the denominator `expected`.
 *
 * `reasons` holds the limits that were hit (`completion-too-long`, `caption-too-long`, `caption-too-short`, `too-many-comments`, `comment-too-long`: that part
 * is 0) and causes of null (`caption-too-large`, `comments-too-large`: without limits, more than a string or the matching can hold). The total is null
 * when a part is.
 */
export function scoreCompletion(text: string, prepared: PreparedReference): ScoredCompletion {
  const { state, version } = prepared;
  const { options } = state;
  const { weights } = options;
  const warnings = [...prepared.warnings];
  const noComments = { given: 0, kept: 0, distinct: 0, pairs: 0 };
  if (above(text.length, options.limits.completionChars)) {
    const details: RewardDetails = { answer: { score: null, reason: "completion-too-long" }, captionTokens: 0, comments: noComments, warnings };
    return { format: 0, accuracy: 0, caption: 0, comments: 0, total: 0, reasons: ["completion-too-long"], version, ...(options.details ? { details } : {}) };
  }
  const scanned = scanCompletion(text, options);
  const reasons: string[] = [];
  const caption = unlessTooLarge("caption", 0, reasons, () => captionReward(scanned.caption, state, reasons));
  const comments = unlessTooLarge("comments", noComments, reasons, () => commentsReward(scanned, state, reasons));
  const accuracy = accuracyReward(scanned.answer.score, state);
  const format = scanned.formatOk ? 1 : 0;
  const total = caption.value === null || comments.value === null ? null : weights.caption * caption.value + weights.comments * comments.value + weights.accuracy * accuracy + weights.format * format;
  const result: ScoredCompletion = { format, accuracy, caption: caption.value, comments: comments.value, total, reasons, version };
  if (options.details) result.details = { answer: scanned.answer, captionTokens: caption.counts, comments: comments.counts, warnings };
  return result;
}

/** Rewards of all completions of one prompt, in order; equal to single calls. */
export function scoreGroup(texts: readonly string[], prepared: PreparedReference): ScoredCompletion[] {
  return texts.map((text) => scoreCompletion(text, prepared));
}
