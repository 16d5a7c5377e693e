import type { Quality, RewardBreakdown } from "@dramascope/schema";
import { RewardError } from "./errors.ts";
import { maxWeightMatching } from "./matching.ts";
import { resolveOptions, versionOf, type RewardOptions, type RewardSettings } from "./options.ts";
import { isBlank, scanCompletion } from "./parse-completion.ts";
import { ReferenceIndex } from "./reference-index.ts";
import { tokenize } from "./tokenize.ts";

/** What completions of one prompt are compared with. */
export interface RewardReference {
  /** True class. */
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
  /** Comments written, scored, different from each other, and paired with real ones. */
  comments: { given: number; kept: number; distinct: number; pairs: number };
  /** Warnings of the reference. */
  warnings: string[];
}

/** A result, with details where they were asked for. */
export type ScoredCompletion = RewardBreakdown & { details?: RewardDetails };

/** A reference prepared once for all completions of its prompt. */
export interface PreparedReference {
  /** What a user should know of this reference. */
  readonly warnings: readonly string[];
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
 * Checks a reference and indexes its texts.
 *
 * @throws RewardError `REFERENCE_SCORE_INVALID`, `REFERENCE_CAPTION_EMPTY`, `REFERENCE_COMMENTS_INVALID`, `WEIGHTS_INVALID`.
 */
export function prepareReference(reference: RewardReference, settings: RewardSettings = {}): PreparedReference {
  const options = resolveOptions(settings);
  const { score, caption, comments } = reference as { score: unknown; caption: unknown; comments: unknown };
  const refuse = (code: string, what: string): never => {
    throw new RewardError(`the reference's ${what}`, { code, hint: "Correct the reference; completions are never at fault here." });
  };
  if (typeof score !== "number" || !Number.isInteger(score) || score < 1 || score > 5) refuse("REFERENCE_SCORE_INVALID", `score is ${JSON.stringify(score)}, expected an integer from 1 to 5`);
  if (typeof caption !== "string" || isBlank(caption)) return refuse("REFERENCE_CAPTION_EMPTY", "caption is empty");
  if (!Array.isArray(comments) || !comments.every((comment) => typeof comment === "string")) return refuse("REFERENCE_COMMENTS_INVALID", "comments must be an array of strings");
  const kept = comments.filter((comment) => !isBlank(comment));
  const captionTokens = tokenize(caption, options.tokenizer);
  const warnings: string[] = [];
  if (kept.length === 0) warnings.push("no-reference-comments");
  if (captionTokens.length === 0) warnings.push("reference-caption-has-no-tokens");
  return {
    warnings,
    version: versionOf(options),
    state: { options, score: score as Quality, caption: new ReferenceIndex([captionTokens]), comments: new ReferenceIndex(kept.map((comment) => tokenize(comment, options.tokenizer))) },
  };
}

const above = (count: number, limit: number | null): boolean => limit !== null && count > limit;

function captionReward(text: string | null, { options, caption }: PreparedState, reasons: string[]): { value: number; tokens: number } {
  if (text === null) return { value: 0, tokens: 0 };
  const tokens = tokenize(text, options.tokenizer);
  if (above(tokens.length, options.limits.captionTokens)) {
    reasons.push("caption-too-long");
    return { value: 0, tokens: tokens.length };
  }
  if (tokens.length < options.minCaptionTokens) {
    reasons.push("caption-too-short");
    return { value: 0, tokens: tokens.length };
  }
  return { value: caption.means(tokens)[0]!, tokens: tokens.length };
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

function commentsReward(texts: string[] | null, { options, comments }: PreparedState, reasons: string[]): { value: number; details: RewardDetails["comments"] } {
  const given = texts?.length ?? 0;
  const nothing = { value: 0, details: { given, kept: 0, distinct: 0, pairs: 0 } };
  if (texts === null) return nothing;
  const taken = options.takeComments === null ? texts : texts.slice(0, options.takeComments);
  if (above(taken.length, options.limits.comments)) {
    reasons.push("too-many-comments");
    return nothing;
  }
  const lists = taken.map((text) => tokenize(text, options.tokenizer));
  if (lists.some((tokens) => above(tokens.length, options.limits.commentTokens))) {
    reasons.push("comment-too-long");
    return nothing;
  }
  const distinct = distinctLists(lists);
  const used = options.dedupeComments ? distinct : lists;
  const details = { given, kept: used.length, distinct: distinct.length, pairs: 0 };
  const expected = comments.lengths.length;
  if (used.length === 0 || expected === 0) return { value: 0, details };
  const { pairs, sum } = maxWeightMatching(used.map((tokens) => comments.means(tokens)));
  const divisor = { matched: Math.min(used.length, expected), max: Math.max(used.length, expected), expected: options.expectedComments }[options.commentsDenominator];
  return { value: sum / divisor, details: { ...details, pairs: pairs.length } };
}

/** Rewards of one completion; never throws, whatever its text. */
export function scoreCompletion(text: string, prepared: PreparedReference): ScoredCompletion {
  const { state, version } = prepared;
  const { options } = state;
  const { weights } = options;
  if (above(text.length, options.limits.completionChars)) {
    return { format: 0, accuracy: 0, caption: 0, comments: 0, total: 0, reasons: ["completion-too-long"], version };
  }
  const parsed = scanCompletion(text, options);
  const reasons: string[] = [];
  const caption = captionReward(parsed.caption, state, reasons);
  const comments = commentsReward(parsed.comments, state, reasons);
  const accuracy = parsed.answer.score === state.score ? 1 : 0;
  const format = parsed.formatOk ? 1 : 0;
  const total = weights.caption * caption.value + weights.comments * comments.value + weights.accuracy * accuracy + weights.format * format;
  const result: ScoredCompletion = { format, accuracy, caption: caption.value, comments: comments.value, total, reasons, version };
  if (options.details) result.details = { answer: parsed.answer, captionTokens: caption.tokens, comments: comments.details, warnings: [...prepared.warnings] };
  return result;
}

/** Rewards of all completions of one prompt, in order. */
export function scoreGroup(texts: readonly string[], prepared: PreparedReference): ScoredCompletion[] {
  return texts.map((text) => scoreCompletion(text, prepared));
}
