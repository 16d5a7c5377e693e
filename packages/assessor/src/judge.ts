import type { Prompt, Sample } from "@dramascope/qwen-vl";
import type { Distribution, Quality } from "@dramascope/schema";
import { readAnswer, type AnswerFormat, type ReadAnswer } from "./answer.ts";
import type { AssessOptions, ScoreMode } from "./assess.ts";
import { digitPlace, probabilitiesAt, probabilitiesIn, toDistribution, type ScoreProbabilities } from "./digits.ts";
import { AssessorError } from "./errors.ts";

/** Modes that look at answers in words. */
type AnswerMode = Exclude<ScoreMode, "direct">;

/** What one mode found. */
export interface Verdict {
  answer: ReadAnswer;
  score: number | null;
  quality: Quality | null;
  distribution: Distribution | null;
  /** Share of the answers that hold a score. */
  readable: number;
  warnings: string[];
}

const NO_ANSWER: ReadAnswer = { score: null, scoreAt: null, caption: null, comments: [], think: null, problem: null };
const LOW_MASS = "The five digits hold little of the probability where the score stands; the distribution is left out.";
const FIRST_WORDS: Record<AnswerFormat, string> = { tags: "<answer>\\boxed{", json: '{"answer": ' };

const nearestQuality = (score: number): Quality => Math.min(5, Math.max(1, Math.floor(score + 0.5))) as Quality;

/** The expectation at once, without an answer in words. */
export async function judgeDirect(prompt: Prompt, options: AssessOptions, format: AnswerFormat, digits: readonly number[]): Promise<Verdict> {
  const before = options.model.tokenizer.encode(FIRST_WORDS[format]);
  const { expected, distribution } = await probabilitiesAt(options.model, prompt, before, digits, options.signal);
  const warnings = expected === null ? [LOW_MASS] : [];
  return { answer: NO_ANSWER, score: expected, quality: expected === null ? null : nearestQuality(expected), distribution, readable: 1, warnings };
}

/** Answers in words, with the probabilities of the digits in every place: several sampled ones for `ensemble`, else the most likely one. */
export async function answersOf(prompt: Prompt, options: AssessOptions, mode: AnswerMode, digits: readonly number[]): Promise<Sample[]> {
  const { model, samples = 8, seed = 0, signal } = options;
  const room = model.config.text.maxPositionEmbeddings - prompt.ids.length;
  if (room < 1) {
    throw new AssessorError(`the prompt has ${prompt.ids.length} tokens, the model reads ${model.config.text.maxPositionEmbeddings} with the answer`, { code: "NO_ROOM", hint: "Give a smaller token budget for the frames." });
  }
  const [answers] = await model.generate([prompt], {
    maxNewTokens: Math.min(options.maxNewTokens ?? 2048, room),
    n: mode === "ensemble" ? samples : 1,
    temperature: mode === "ensemble" ? 1 : 0,
    seed,
    watchIds: digits,
    ...(signal ? { signal } : {}),
  });
  signal?.throwIfAborted(); // what came until then is no answer
  return answers!;
}

/** Reads sampled or greedy answers and, where asked, the probabilities behind the digits that are their scores. */
export function judgeAnswers(answers: readonly Sample[], { model }: AssessOptions, format: AnswerFormat, mode: AnswerMode, digits: readonly number[]): Verdict {
  const read = answers.map((sample) => ({ sample, answer: readAnswer(sample.text, format) }));
  const first = read.find(({ answer }) => answer.score !== null)?.answer ?? read[0]!.answer;
  const readable = read.filter(({ answer }) => answer.score !== null);
  const share = readable.length / read.length;
  const warnings = share < 1 ? [`${read.length - readable.length} of ${read.length} answers hold no score.`] : [];
  if (readable.length === 0) return { answer: first, score: null, quality: null, distribution: null, readable: share, warnings };
  if (mode === "greedy") return { answer: first, score: first.score, quality: first.score, distribution: null, readable: share, warnings };
  const found = readable.flatMap(({ sample, answer }): ScoreProbabilities[] => {
    const place = digitPlace(model, sample, answer.scoreAt!, digits);
    return place === undefined ? [] : [probabilitiesIn(sample, place)];
  });
  if (found.length < readable.length) warnings.push(`${readable.length - found.length} of ${read.length} answers have no single token for their score; their probabilities are unknown.`);
  const usable = found.filter((one) => one.expected !== null && one.distribution !== null);
  if (usable.length < found.length) warnings.push(usable.length === 0 ? LOW_MASS : `${found.length - usable.length} of ${read.length} answers give the five digits little of the probability where the score stands; they are left out of the distribution.`);
  if (usable.length === 0) return { answer: first, score: first.score, quality: first.score, distribution: null, readable: share, warnings };
  const average = (pick: (one: ScoreProbabilities) => number): number => usable.reduce((sum, one) => sum + pick(one), 0) / usable.length;
  const score = average((one) => one.expected!);
  const quality = mode === "logprob" ? first.score! : nearestQuality(score);
  const distanceOf = (answer: ReadAnswer): number => Math.abs(answer.score! - quality);
  const keys = ["p1", "p2", "p3", "p4", "p5"] as const;
  return {
    // Of several answers, the words shown are those of the one that stands nearest to the joint score.
    answer: readable.reduce((best, { answer }) => (distanceOf(answer) < distanceOf(best) ? answer : best), readable[0]!.answer),
    score,
    quality,
    distribution: toDistribution(keys.map((key) => average((one) => one.distribution![key]))),
    readable: share,
    warnings,
  };
}
