import { dramaMessages, episodeVariables, type Template } from "@dramascope/prompts";
import { framesToVisionItem, type Prompt, type QwenVl, type VisionFeatures } from "@dramascope/qwen-vl";
import type { Assessment, Distribution, Message, OnProgress, Quality } from "@dramascope/schema";
import { readAnswer, type AnswerFormat, type ReadAnswer } from "./answer.ts";
import { placeScore, type AssessmentCalibration } from "./calibration.ts";
import { decide, DEFAULT_POLICY, type DecisionPolicy } from "./decision.ts";
import { answerPosition, digitTokens, probabilitiesAt, toDistribution, type ScoreProbabilities } from "./digits.ts";
import { reasonsOf } from "./reasons.ts";

/**
 * How the score is made. `ensemble`: mean over several sampled answers, each by the probabilities of its digit. `greedy`: the class in
 * the most likely answer. `logprob`: that answer, by the probabilities of its digit alone; after reasons in words these hide most of the
 * doubt. `direct`: the expectation at once, without an answer in words.
 */
export type ScoreMode = "greedy" | "logprob" | "ensemble" | "direct";

/** Stamped frames of one episode, as the video package gives them. */
export interface EpisodeFrames {
  /** rgb24, frame after frame, already numbered. */
  frames: Uint8Array;
  frameCount: number;
  width: number;
  height: number;
  /** Seconds that a pair of frames stands for. */
  secondsPerGrid: number;
}

/** One drama, ready to be looked at. */
export interface DramaToAssess {
  dramaId: string;
  episodes: readonly EpisodeFrames[];
  frames: Pick<Assessment["frames"], "strideSeconds" | "clock">;
  warnings?: readonly string[];
}

/** Options of {@link assessFrames}. */
export interface AssessOptions {
  model: QwenVl;
  template: Template;
  /** Form of the answer that the template asks for. Default `tags`. */
  format?: AnswerFormat;
  /** Default `ensemble`. */
  mode?: ScoreMode;
  /** Answers of mode `ensemble`. Default 8. */
  samples?: number;
  /** Seed of mode `ensemble`. Default 0. */
  seed?: number;
  /** Longest answer in tokens. Default 2048, bounded by what the model has room for. */
  maxNewTokens?: number;
  /** Time base of the adapter's training. Default `pinned`. */
  timeBase?: "pinned" | "true-fps";
  policy?: DecisionPolicy;
  calibration?: AssessmentCalibration;
  /** Names and hashes that go into the record. */
  identity: { model: Assessment["model"]; adapter: Assessment["adapter"] };
  signal?: AbortSignal;
  onProgress?: OnProgress;
  /** Seconds from any fixed start; for `timings`. */
  clock?: () => number;
}

/** Prompt of a drama with its encoded episodes; `dispose` frees the features. */
interface DramaPrompt {
  prompt: Prompt;
  dispose: () => void;
}

/** A user message with the frames of its episodes in place. */
async function promptOf(model: QwenVl, messages: readonly Message[], episodes: readonly EpisodeFrames[], options: { timeBase?: "pinned" | "true-fps"; signal?: AbortSignal } = {}): Promise<DramaPrompt> {
  const { patchSize, spatialMergeSize } = model.config.vision;
  const items = episodes.map((episode) => framesToVisionItem(episode, { patch: patchSize, merge: spatialMergeSize }));
  const prompt = model.prepare(
    messages.map(({ role, content }) => ({
      role,
      content: typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part : { type: "video" as const, item: items[part.video]! })),
    })),
    { timeBase: options.timeBase ?? "pinned" },
  );
  const features: VisionFeatures[] = await model.encodeVideos(items, options.signal ? { signal: options.signal } : {});
  return { prompt: { ...prompt, features }, dispose: () => features.forEach((one) => one.dispose()) };
}

/** What one mode found. */
interface Verdict {
  answer: ReadAnswer;
  score: number | null;
  quality: Quality | null;
  distribution: Distribution | null;
  /** Share of the answers that hold a score. */
  readable: number;
  warnings: string[];
}

const NO_ANSWER: ReadAnswer = { score: null, caption: null, comments: [], think: null, problem: null };
const LOW_MASS = "The five digits hold little of the probability where the score stands; the distribution is left out.";
const FIRST_WORDS: Record<AnswerFormat, string> = { tags: "<answer>\\boxed{", json: '{"answer": ' };

const nearestQuality = (score: number): Quality => Math.min(5, Math.max(1, Math.floor(score + 0.5))) as Quality;

async function judgeDirect(prompt: Prompt, options: AssessOptions, format: AnswerFormat, digits: readonly number[]): Promise<Verdict> {
  const before = options.model.tokenizer.encode(FIRST_WORDS[format]);
  const { expected, distribution } = await probabilitiesAt(options.model, prompt, before, digits, options.signal);
  const warnings = expected === null ? [LOW_MASS] : [];
  return { answer: NO_ANSWER, score: expected, quality: expected === null ? null : nearestQuality(expected), distribution, readable: 1, warnings };
}

/** Reads sampled or greedy answers and, where asked, the probabilities behind their digits. */
async function judgeAnswers(prompt: Prompt, options: AssessOptions, format: AnswerFormat, mode: Exclude<ScoreMode, "direct">, digits: readonly number[]): Promise<Verdict> {
  const { model, samples = 8, seed = 0, signal } = options;
  const room = model.config.text.maxPositionEmbeddings - prompt.ids.length;
  const [answers] = await model.generate([prompt], {
    maxNewTokens: Math.min(options.maxNewTokens ?? 2048, room),
    n: mode === "ensemble" ? samples : 1,
    temperature: mode === "ensemble" ? 1 : 0,
    seed,
    ...(signal ? { signal } : {}),
  });
  const read = answers!.map((sample) => ({ sample, answer: readAnswer(sample.text, format) }));
  const first = read.find(({ answer }) => answer.score !== null)?.answer ?? read[0]!.answer;
  const readable = read.filter(({ answer }) => answer.score !== null);
  const share = readable.length / read.length;
  const warnings = share < 1 ? [`${read.length - readable.length} of ${read.length} answers hold no score.`] : [];
  if (readable.length === 0) return { answer: first, score: null, quality: null, distribution: null, readable: share, warnings };
  if (mode === "greedy") return { answer: first, score: first.score, quality: first.score, distribution: null, readable: share, warnings };
  const found: ScoreProbabilities[] = [];
  for (const { sample, answer } of readable) {
    const position = answerPosition(sample, answer.score!, digits);
    found.push(await probabilitiesAt(model, prompt, sample.ids.subarray(0, position), digits, signal));
  }
  const usable = found.filter((one) => one.expected !== null && one.distribution !== null);
  if (usable.length === 0) return { answer: first, score: first.score, quality: first.score, distribution: null, readable: share, warnings: [...warnings, LOW_MASS] };
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

/**
 * Assesses one drama from its stamped frames.
 *
 * @returns A complete record; a drama whose answer holds no score has status `unreadable`, null scores and the reason in `warnings`.
 */
export async function assessFrames(drama: DramaToAssess, options: AssessOptions): Promise<Assessment> {
  const { model, template, format = "tags", mode = "ensemble", calibration, clock = () => performance.now() / 1000 } = options;
  const progress = (done: number, note: string): void => options.onProgress?.({ phase: "assess", done, total: 3, note });
  const started = clock();
  progress(0, "looking at the frames");
  const episodeCount = drama.episodes.length;
  const messages = dramaMessages(template, episodeVariables(template, { episodeCount, clock: drama.frames.clock }), { episodeCount });
  const { prompt, dispose } = await promptOf(model, messages, drama.episodes, {
    ...(options.timeBase ? { timeBase: options.timeBase } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const encoded = clock();
  try {
    progress(1, "thinking");
    const digits = digitTokens(model);
    const verdict = mode === "direct" ? await judgeDirect(prompt, options, format, digits) : await judgeAnswers(prompt, options, format, mode, digits);
    const judged = clock();
    const { answer, score, quality, distribution, readable } = verdict;
    const place = score !== null && calibration ? placeScore(score, calibration) : { interval: null, percentile: null };
    const warnings = [...(drama.warnings ?? []), ...verdict.warnings];
    if (score === null && answer.problem !== null) warnings.push(`No score: ${answer.problem}.`);
    if (calibration === undefined) warnings.push("No calibration was given: interval and percentile are unknown.");
    progress(3, score === null ? "no readable score" : `score ${score.toFixed(2)}`);
    return {
      dramaId: drama.dramaId,
      status: score === null ? "unreadable" : "ok",
      score,
      quality,
      distribution,
      ...place,
      calibrationId: calibration?.calibrationId ?? null,
      caption: answer.caption,
      comments: answer.comments,
      reasons: answer.think === null ? [] : reasonsOf(answer.think),
      decision: decide({ score, quality, distribution, interval: place.interval, readable }, options.policy ?? DEFAULT_POLICY),
      model: options.identity.model,
      adapter: options.identity.adapter,
      promptHash: template.hash,
      frames: {
        episodes: episodeCount,
        frames: drama.episodes.reduce((sum, episode) => sum + episode.frameCount, 0),
        tokens: prompt.features?.reduce((sum, one) => sum + one.tokens, 0) ?? 0,
        ...drama.frames,
      },
      timings: { encodeSeconds: encoded - started, judgeSeconds: judged - encoded },
      warnings,
    };
  } finally {
    dispose();
  }
}
