import { join } from "node:path";
import { readAnswer } from "@dramascope/assessor";
import type { Prompt, QwenVl } from "@dramascope/qwen-vl";
import type { SftSample } from "@dramascope/schema";
import { trainGrpo, trainSft, type GrpoConfigInput, type SampleEncoder, type TrainDeps } from "@dramascope/trainer";
import type { CommandContext } from "../context.ts";
import { judgeStage, summarise, type StageResult } from "./judge.ts";
import { ANSWER_TOKENS, type DemoPlan } from "./plan.ts";
import type { CuratedData } from "./world-data.ts";

/** What every stage of training and judging works with. */
export interface Workshop {
  model: QwenVl;
  /** Hash of the model's files. */
  modelHash: string;
  encoder: SampleEncoder;
  context: CommandContext;
  plan: DemoPlan;
  data: CuratedData;
  /** Prompts of the held-out dramas. */
  prompts: { tags: Prompt[]; json: Prompt[] };
  /** Their true classes. */
  gold: number[];
}

/** The stages of one training seed. */
export interface SeedRun {
  seed: number;
  /** Holds the run directories. */
  folder: string;
  /** Adapter after SFT. */
  sftAdapter: string;
  /** Adapter after GRPO. */
  adapter: string;
  sft: StageResult;
  grpo: StageResult;
  /** The same two adapters, each drama judged by the mean of several sampled answers. */
  sftMean: StageResult;
  grpoMean: StageResult;
  json: StageResult | undefined;
}

/** A seed's stages in the order in which they are shown. */
export const stagesOf = ({ sft, grpo, sftMean, grpoMean, json }: SeedRun): StageResult[] => [sft, grpo, sftMean, grpoMean, ...(json ? [json] : [])];

const ENSEMBLE_PROMPTS = 32;
const ADAM = { beta1: 0.9, beta2: 0.95, maxGradNorm: 1, schedule: "cosine_with_min_lr" as const, minLrRate: 0.1, warmupSteps: 5, lora: { r: 16, alpha: 32, dropout: 0 }, saveSteps: 20 };

const depsOf = ({ model, modelHash, encoder, context }: Workshop): TrainDeps => ({ model, encoder, signal: context.signal, onProgress: context.progress, onWarning: context.say, modelHash });

/** The adapter of a run; none when the run was stopped. */
function finished(adapter: string | undefined, { context }: Workshop): string {
  context.signal.throwIfAborted();
  if (adapter === undefined) throw new Error("a training run ended early");
  return adapter;
}

/** Judges the held-out dramas with an adapter, or with the bare model. */
export async function judgeWith(shop: Workshop, adapter: string | undefined, name: string, seed: number | null, format: "tags" | "json"): Promise<StageResult> {
  const { model, context, prompts, gold } = shop;
  const attached = adapter === undefined ? undefined : await model.attachLora(adapter, { name: `judge ${name}` });
  model.setActiveAdapter(attached?.name ?? "none");
  try {
    return await judgeStage(model, prompts[format], gold, { name, seed, format, maxNewTokens: ANSWER_TOKENS[format], signal: context.signal, onProgress: context.progress });
  } finally {
    attached?.dispose();
  }
}

/** Judges by the mean class of several sampled answers to every drama; an unreadable drama falls back to its greedy answer. */
async function judgeByMean({ model, context, prompts, plan, gold }: Workshop, adapter: string, greedy: StageResult): Promise<StageResult> {
  const name = `${greedy.name}, mean of ${plan.ensemble} answers`;
  const attached = await model.attachLora(adapter, { name });
  model.setActiveAdapter(attached.name);
  try {
    const predictions: number[] = [];
    let readable = 0;
    for (let start = 0; start < prompts.tags.length; start += ENSEMBLE_PROMPTS) {
      context.progress({ phase: `evaluate ${name}`, done: start, total: prompts.tags.length });
      const drawn = await model.generate(prompts.tags.slice(start, start + ENSEMBLE_PROMPTS), { maxNewTokens: ANSWER_TOKENS.tags, n: plan.ensemble, temperature: 1, seed: start, maxRows: ENSEMBLE_PROMPTS * plan.ensemble, signal: context.signal });
      context.signal.throwIfAborted();
      for (const group of drawn) {
        const read = group.map(({ text }) => readAnswer(text, "tags").score).filter((score) => score !== null);
        readable += read.length;
        predictions.push(read.length === 0 ? greedy.predictions[predictions.length]! : read.reduce<number>((sum, score) => sum + score, 0) / read.length);
      }
    }
    context.progress({ phase: `evaluate ${name}`, done: prompts.tags.length, total: prompts.tags.length });
    return summarise({ ...greedy, name, predictions, readable: readable / (plan.ensemble * gold.length) }, gold);
  } finally {
    attached.dispose();
  }
}

async function sftAdapter(shop: Workshop, samples: readonly SftSample[], runDir: string, seed: number): Promise<string> {
  const { epochs, batch, learningRate } = shop.plan.sft;
  const { adapter } = await trainSft({ ...ADAM, seed, learningRate, epochs, batchSize: batch, bucketWindow: 1, runDir }, samples, depsOf(shop));
  return finished(adapter, shop);
}

/** GRPO from an adapter, or from the bare model. */
export async function grpoAdapter(shop: Workshop, run: { runDir: string; seed: number; from?: string; rewards?: Pick<GrpoConfigInput, "rewardWeights" | "nearMissCredit"> }): Promise<string> {
  const { steps, promptsPerStep, completions, learningRate, nearMissCredit } = shop.plan.grpo;
  const { runDir, seed, from, rewards } = run;
  const { adapter } = await trainGrpo(
    {
      ...ADAM, seed, runDir, learningRate, steps, promptsPerStep, numGenerations: completions, maxCompletionLength: ANSWER_TOKENS.tags, lossType: "dapo", beta: 0, advantageConvention: "paper", nearMissCredit,
      ...(from !== undefined && { adapter: from }),
      ...rewards,
    },
    shop.data.grpo,
    depsOf(shop),
  );
  return finished(adapter, shop);
}

/** SFT, GRPO and the JSON row of one seed, each judged on the held-out dramas. */
export async function runSeed(shop: Workshop, folder: string, seed: number): Promise<SeedRun> {
  const { plan, data } = shop;
  const afterSft = await sftAdapter(shop, data.sft, join(folder, "sft"), seed);
  const sft = await judgeWith(shop, afterSft, "SFT", seed, "tags");
  const adapter = await grpoAdapter(shop, { runDir: join(folder, "grpo"), seed, from: afterSft });
  const grpo = await judgeWith(shop, adapter, "SFT + GRPO", seed, "tags");
  const [sftMean, grpoMean] = [await judgeByMean(shop, afterSft, sft), await judgeByMean(shop, adapter, grpo)];
  const json = plan.jsonRow ? await judgeWith(shop, await sftAdapter(shop, data.sftJson, join(folder, "sft-json"), seed), "SFT on JSON, JSON prompt", seed, "json") : undefined;
  return { seed, folder, sftAdapter: afterSft, adapter, sft, grpo, sftMean, grpoMean, json };
}
