import { dramaMessages, episodeVariables, type Template } from "@dramascope/prompts";
import { framesToVisionItem, type Prompt, type QwenVl, type Sample, type VisionFeatures } from "@dramascope/qwen-vl";
import type { Assessment, Message, OnProgress } from "@dramascope/schema";
import type { AnswerFormat } from "./answer.ts";
import { checkOptions } from "./assess-options.ts";
import { placeScore, type AssessmentCalibration } from "./calibration.ts";
import { decide, DEFAULT_POLICY, type DecisionPolicy } from "./decision.ts";
import { digitTokens } from "./digits.ts";
import { answersOf, judgeAnswers, judgeDirect, type Verdict } from "./judge.ts";
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
  /** Answers of mode `ensemble`, 1 … 65,536. Default 8. */
  samples?: number;
  /** Seed of mode `ensemble`, 0 … 2⁵³ − 1. Default 0. */
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

/** One verdict as a record. */
function recordOf(drama: DramaToAssess, options: AssessOptions, verdict: Verdict, work: { tokens: number; timings: Assessment["timings"] }): Assessment {
  const { template, calibration, identity } = options;
  const { answer, score, quality, distribution, readable } = verdict;
  const place = score !== null && calibration ? placeScore(score, calibration) : { interval: null, percentile: null };
  const warnings = [...(drama.warnings ?? []), ...verdict.warnings];
  if (score === null && answer.problem !== null) warnings.push(`No score: ${answer.problem}.`);
  if (calibration === undefined) warnings.push("No calibration was given: interval and percentile are unknown.");
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
    model: identity.model,
    adapter: identity.adapter,
    promptHash: template.hash,
    frames: {
      episodes: drama.episodes.length,
      frames: drama.episodes.reduce((sum, episode) => sum + episode.frameCount, 0),
      tokens: work.tokens,
      ...drama.frames,
    },
    timings: work.timings,
    warnings,
  };
}

/**
 * Assesses one drama from its stamped frames in several modes. The frames are encoded once, `greedy` and `logprob` read the same answer;
 * each record is the one that {@link assessFrames} gives in its mode, timings apart: shared work counts for the first mode that needs it.
 *
 * @param modes At least one; each is judged once, in this order.
 * @returns     One record a mode.
 * @throws AssessorError `NO_MODE` when `modes` is empty, `BAD_OPTION` and `BAD_POLICY` for options, `NO_ROOM` when the prompt leaves none for an
 *         answer, `DIGIT_TOKENS` when the model writes digits in pieces; what the model throws; the signal's reason.
 */
export async function assessModes(drama: DramaToAssess, modes: readonly ScoreMode[], options: Omit<AssessOptions, "mode">): Promise<Map<ScoreMode, Assessment>> {
  checkOptions(modes, options);
  const { model, template, format = "tags", clock = () => performance.now() / 1000 } = options;
  const wanted = [...new Set(modes)];
  const progress = (done: number, note: string): void => options.onProgress?.({ phase: "assess", done, total: 1 + 2 * wanted.length, note });
  let since = clock();
  /** Seconds since it was last asked. */
  const lap = (): number => {
    const before = since;
    since = clock();
    return since - before;
  };
  progress(0, "looking at the frames");
  const episodeCount = drama.episodes.length;
  const messages = dramaMessages(template, episodeVariables(template, { episodeCount, clock: drama.frames.clock }), { episodeCount });
  const { prompt, dispose } = await promptOf(model, messages, drama.episodes, {
    ...(options.timeBase ? { timeBase: options.timeBase } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
  });
  try {
    const encodeSeconds = lap();
    const tokens = prompt.features?.reduce((sum, one) => sum + one.tokens, 0) ?? 0;
    const digits = digitTokens(model);
    let likeliest: Sample[] | undefined;
    const assessments = new Map<ScoreMode, Assessment>();
    for (const [i, mode] of wanted.entries()) {
      progress(1 + 2 * i, "thinking");
      let verdict: Verdict;
      if (mode === "direct") verdict = await judgeDirect(prompt, options, format, digits);
      else {
        const answers = mode === "ensemble" ? await answersOf(prompt, options, mode, digits) : (likeliest ??= await answersOf(prompt, options, mode, digits));
        verdict = judgeAnswers(answers, options, format, mode, digits);
      }
      assessments.set(mode, recordOf(drama, options, verdict, { tokens, timings: { encodeSeconds, judgeSeconds: lap() } }));
      progress(3 + 2 * i, verdict.score === null ? "no readable score" : `score ${verdict.score.toFixed(2)}`);
    }
    return assessments;
  } finally {
    dispose();
  }
}

/**
 * Assesses one drama from its stamped frames.
 *
 * @returns A complete record; a drama whose answer holds no score has status `unreadable`, null scores and the reason in `warnings`.
 */
export async function assessFrames(drama: DramaToAssess, options: AssessOptions): Promise<Assessment> {
  const { mode = "ensemble" } = options;
  return (await assessModes(drama, [mode], options)).get(mode)!;
}
