import { hashJson } from "@dramascope/schema";
import { createRequire } from "node:module";
import { RewardError } from "./errors.ts";
import type { TokenizerName } from "./tokenize.ts";

/** The four rewards. */
export type RewardName = "caption" | "comments" | "accuracy" | "format";
/** Weight of each reward in the total. */
export type RewardWeights = Record<RewardName, number>;

/** Largest inputs that are scored; null is no limit. Above a limit the part is 0: cutting the text would reward flooding. */
export interface RewardLimits {
  /** UTF-16 units of a completion. Default 262144. */
  completionChars: number | null;
  /** Tokens of a caption. Default 4096. */
  captionTokens: number | null;
  /** Comments. Default 100. */
  comments: number | null;
  /** Tokens of one comment. Default 512. */
  commentTokens: number | null;
}

/** How completions are scored. */
export interface RewardOptions {
  /** Default .2, .2, .5, .1; finite, not negative, sum 1. */
  weights: RewardWeights;
  /** Accepts weights of any sum. Default false. */
  allowUnnormalized: boolean;
  /** Default `rouge-score`, which sees nothing in Chinese text. */
  tokenizer: TokenizerName;
  /** What a wrong class earns in accuracy: this much times 1 − distance / 4, from 0 to 1. It makes far misses worse than near ones, which lowers the squared error. Default 0: exact classes only. */
  nearMissCredit: number;
  /** `lenient` allows text before, between and after the four parts. Default `strict`. */
  format: "strict" | "lenient";
  /** Counts a part without content as present. Default false. */
  allowBlank: boolean;
  /** Default `json`. */
  commentsFormat: "json" | "json-or-bullets";
  /** What the sum of matched comments is divided by: the shorter list, `expectedComments`, or the longer list. Default `matched`. */
  commentsDenominator: "matched" | "expected" | "max";
  /** Default 10. */
  expectedComments: number;
  /** Exact number of comments that the format asks for. Default null: any. */
  requireComments: number | null;
  /** Comments with equal tokens count once. Default false. */
  dedupeComments: boolean;
  /** Only the first so many comments count. Default null: all. */
  takeComments: number | null;
  /** Shorter captions earn 0. Default 0. */
  minCaptionTokens: number;
  /** Removed from the end of a completion. Default `<|im_end|>`, `<|endoftext|>`. */
  eosTokens: readonly string[];
  /** Largest inputs that are scored. */
  limits: RewardLimits;
  /** Adds `details` to every result. Default false. */
  details: boolean;
}

/** Settings a caller gives; limits one by one. */
export type RewardSettings = Partial<Omit<RewardOptions, "limits">> & { limits?: Partial<RewardLimits> };

/** Plain scoring as the paper has it. */
export const DEFAULT_OPTIONS: Readonly<RewardOptions> = {
  weights: { caption: 0.2, comments: 0.2, accuracy: 0.5, format: 0.1 },
  allowUnnormalized: false,
  tokenizer: "rouge-score",
  nearMissCredit: 0,
  format: "strict",
  allowBlank: false,
  commentsFormat: "json",
  commentsDenominator: "matched",
  expectedComments: 10,
  requireComments: null,
  dedupeComments: false,
  takeComments: null,
  minCaptionTokens: 0,
  eosTokens: ["<|im_end|>", "<|endoftext|>"],
  limits: { completionChars: 262144, captionTokens: 4096, comments: 100, commentTokens: 512 },
  details: false,
};

const NAMES: readonly RewardName[] = ["caption", "comments", "accuracy", "format"];

function checkWeights(weights: RewardWeights, allowUnnormalized: boolean): void {
  const values = NAMES.map((name) => weights[name]);
  const sum = values.reduce((a, b) => a + b, 0);
  if (values.every((value) => Number.isFinite(value) && value >= 0) && (allowUnnormalized || Math.abs(sum - 1) <= 1e-9)) return;
  throw new RewardError(`the reward weights are ${NAMES.map((name, i) => `${name} ${String(values[i])}`).join(", ")}`, {
    code: "WEIGHTS_INVALID",
    hint: "Give four finite weights, none negative, that sum to 1.",
  });
}

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isLimit = (value: unknown): boolean => value === null || isCount(value);
const isBoolean = (value: unknown): boolean => typeof value === "boolean";
const isPlainObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null);
const oneOf = (...words: string[]): [(value: unknown) => boolean, string] => [(value) => words.includes(value as string), words.join(" or ")];

/** What each option takes beside the weights, and how to say so. */
const RULES: Record<Exclude<keyof RewardOptions, "weights" | "limits">, [isValid: (value: unknown) => boolean, wanted: string]> = {
  allowUnnormalized: [isBoolean, "true or false"],
  tokenizer: oneOf("rouge-score", "mixed"),
  nearMissCredit: [(value) => typeof value === "number" && value >= 0 && value <= 1, "a number from 0 to 1"],
  format: oneOf("strict", "lenient"),
  allowBlank: [isBoolean, "true or false"],
  commentsFormat: oneOf("json", "json-or-bullets"),
  commentsDenominator: oneOf("matched", "expected", "max"),
  expectedComments: [(value) => isCount(value) && value !== 0, "a positive integer"],
  requireComments: [isLimit, "a non-negative integer or null"],
  dedupeComments: [isBoolean, "true or false"],
  takeComments: [isLimit, "a non-negative integer or null"],
  minCaptionTokens: [isCount, "a non-negative integer"],
  eosTokens: [(value) => Array.isArray(value) && value.every((token) => typeof token === "string"), "a list of strings"],
  details: [isBoolean, "true or false"],
};

function refuse(name: string, value: unknown, wanted: string): never {
  const shown = typeof value === "number" ? String(value) : ((JSON.stringify(value) as string | undefined) ?? typeof value);
  throw new RewardError(`the reward option ${name} is ${shown}, expected ${wanted}`, { code: "OPTIONS_INVALID", hint: `Known options are ${Object.keys(DEFAULT_OPTIONS).join(", ")}.` });
}

/** Refuses what is no plain object with known names only. */
function checkNames(value: unknown, known: object, at?: string): void {
  if (!isPlainObject(value)) return refuse(at ?? "object", value, "settings by name");
  for (const name of Object.keys(value)) if (!Object.hasOwn(known, name)) refuse(at === undefined ? name : `${at}.${name}`, value[name], `a name out of ${Object.keys(known).join(", ")}`);
}

function checkSettings(settings: RewardSettings): void {
  checkNames(settings, DEFAULT_OPTIONS);
  const { weights, limits } = settings;
  if (limits !== undefined) checkNames(limits, DEFAULT_OPTIONS.limits, "limits");
  if (weights === undefined) return;
  checkNames(weights, DEFAULT_OPTIONS.weights, "weights");
  for (const [name, weight] of Object.entries(weights)) if (typeof weight !== "number") refuse(`weights.${name}`, weight, "a number");
}

function checkOptions(options: RewardOptions): void {
  for (const [name, [isValid, wanted]] of Object.entries(RULES)) if (!isValid(options[name as keyof RewardOptions])) refuse(name, options[name as keyof RewardOptions], wanted);
  for (const [name, limit] of Object.entries(options.limits)) if (!isLimit(limit)) refuse(`limits.${name}`, limit, "a non-negative integer or null");
}

const given = <T extends object>(settings: T): Partial<T> => Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as Partial<T>;

/**
 * Settings with defaults filled in and checked.
 *
 * @throws RewardError `WEIGHTS_INVALID` for weights that are missing, negative, not finite or of another sum, or `OPTIONS_INVALID` for unknown names and
 * values of the wrong kind.
 */
export function resolveOptions(settings: RewardSettings = {}): RewardOptions {
  checkSettings(settings);
  const options = { ...DEFAULT_OPTIONS, ...given(settings), limits: { ...DEFAULT_OPTIONS.limits, ...given(settings.limits ?? {}) } };
  checkOptions(options);
  checkWeights(options.weights, options.allowUnnormalized);
  return options;
}

/**
 * `rewards@<version>+<12 hex digits of a hash of the options that differ from their defaults>`: two results compare only under one version. `details` is left out: it changes
 * no reward.
 */
export function versionOf(options: RewardOptions): string {
  const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
  const changed = Object.fromEntries(Object.entries(options).filter(([name, value]) => name !== "details" && hashJson(value) !== hashJson(DEFAULT_OPTIONS[name as keyof RewardOptions])));
  return `rewards@${version}+${hashJson(changed).slice(0, 12)}`;
}

/**
 * Weights without some rewards, the rest scaled in proportion to the same total of 1.
 *
 * @throws RewardError `WEIGHTS_INVALID` when nothing is left.
 */
export function ablateWeights(weights: RewardWeights, removed: readonly RewardName[]): RewardWeights {
  const left = NAMES.filter((name) => !removed.includes(name)).reduce((sum, name) => sum + weights[name], 0);
  if (!(left > 0)) throw new RewardError(`without ${removed.join(", ")} no weight is left`, { code: "WEIGHTS_INVALID", hint: "Keep at least one reward of positive weight." });
  return Object.fromEntries(NAMES.map((name) => [name, removed.includes(name) ? 0 : weights[name] / left])) as RewardWeights;
}

/** Settings that close the known ways to earn reward without quality: fixed number of comments, no duplicates, no tiny captions. */
export function hardened(): RewardSettings {
  return { commentsDenominator: "expected", expectedComments: 10, dedupeComments: true, takeComments: 10, requireComments: 10, minCaptionTokens: 20 };
}
