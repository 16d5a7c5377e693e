import { readAnswer, type AnswerFormat } from "@dramascope/assessor";
import { bootstrapCi, computeMetrics, pairedBootstrap } from "@dramascope/evaluation";
import type { Prompt, QwenVl, Sample } from "@dramascope/qwen-vl";
import type { OnProgress } from "@dramascope/schema";

/** An estimate with its 95 % interval. */
export interface Estimate {
  value: number;
  low: number;
  high: number;
}

/** How one stage of training judges the held-out dramas. */
export interface StageResult {
  name: string;
  /** Seed of the training run; null for the base. */
  seed: number | null;
  format: AnswerFormat;
  /** Predicted class of each held-out drama, or a mean of classes; an unreadable answer counts as 3. */
  predictions: number[];
  answers: Sample[];
  /** Share of answers with a readable score. */
  readable: number;
  accuracy: Estimate;
  mse: Estimate;
  pcc: Estimate;
}

/** Options of {@link judgeStage}. */
export interface JudgeOptions {
  name: string;
  seed: number | null;
  format: AnswerFormat;
  maxNewTokens: number;
  signal: AbortSignal;
  onProgress: OnProgress;
}

const BATCH = 64;
const UNREADABLE_COUNTS_AS = 3;
/** How differences of stages are resampled, so that every table of the report gives the same interval. */
export const RESAMPLING = { replicates: 2000, seed: 2 };

/** Greedy answers to every prompt, read and compared with the true classes. */
export async function judgeStage(model: QwenVl, prompts: readonly Prompt[], gold: readonly number[], options: JudgeOptions): Promise<StageResult> {
  const answers: Sample[] = [];
  for (let start = 0; start < prompts.length; start += BATCH) {
    options.onProgress({ phase: `evaluate ${options.name}`, done: start, total: prompts.length });
    const drawn = await model.generate(prompts.slice(start, start + BATCH), { maxNewTokens: options.maxNewTokens, temperature: 0, maxRows: BATCH, signal: options.signal });
    options.signal.throwIfAborted();
    answers.push(...drawn.map(([first]) => first!));
  }
  options.onProgress({ phase: `evaluate ${options.name}`, done: prompts.length, total: prompts.length });
  const scores = answers.map(({ text }) => readAnswer(text, options.format).score);
  return summarise({ ...options, answers, predictions: scores.map((score) => score ?? UNREADABLE_COUNTS_AS), readable: scores.filter((score) => score !== null).length / scores.length }, gold);
}

/** Metrics and intervals of predictions. */
export function summarise(stage: Pick<StageResult, "name" | "seed" | "format" | "answers" | "predictions" | "readable">, gold: readonly number[]): StageResult {
  const { name, seed, format, answers, predictions, readable } = stage;
  const intervals = bootstrapCi(gold, predictions, { ...RESAMPLING, seed: 1 });
  const metrics = computeMetrics(gold, predictions);
  const estimate = (name: "accuracy" | "mse" | "pcc"): Estimate => ({ value: metrics[name] ?? Number.NaN, low: intervals[name].low ?? Number.NaN, high: intervals[name].high ?? Number.NaN });
  return { name, seed, format, answers, predictions, readable, accuracy: estimate("accuracy"), mse: estimate("mse"), pcc: estimate("pcc") };
}

/** Paired difference of two stages on the same dramas: `b` minus `a`. */
export function stageGain(gold: readonly number[], a: StageResult, b: StageResult, metric: "pcc" | "accuracy" | "mse"): Estimate {
  const { difference, low, high } = pairedBootstrap({ gold, a: a.predictions, b: b.predictions }, { metric, ...RESAMPLING });
  return { value: difference ?? Number.NaN, low: low ?? Number.NaN, high: high ?? Number.NaN };
}

/** Words of a true caption that the model's caption has at the same place, as a share. */
export function wordsRight(truth: string, caption: string | null): number {
  const words = truth.split(" ");
  const given = (caption ?? "").split(" ");
  return words.filter((word, i) => word === given[i]).length / words.length;
}
