import { join } from "node:path";
import { readAnswer } from "@dramascope/assessor";
import type { Prompt, QwenVl } from "@dramascope/qwen-vl";
import type { RewardWeights } from "@dramascope/rewards";
import type { SftSample } from "@dramascope/schema";
import { trainGrpo, trainSft, type SampleEncoder, type TrainDeps } from "@dramascope/trainer";
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
  /** Mean of several sampled answers to every drama. */
  ensemble: StageResult;
  json: StageResult | undefined;
}

const ENSEMBLE_PROMPTS = 16;
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

/** Mean class of several sampled answers to every prompt; an unreadable drama falls back to its greedy answer. */
async function ensembleScores({ model, context, prompts }: Workshop, adapter: string, samples: number, greedy: StageResult): Promise<number[]> {
  const attached = await model.attachLora(adapter, { name: "ensemble" });
  model.setActiveAdapter(attached.name);
  try {
    const scores: number[] = [];
    for (let start = 0; start < prompts.tags.length; start += ENSEMBLE_PROMPTS) {
      context.progress({ phase: "several answers each", done: start, total: prompts.tags.length });
      const drawn = await model.generate(prompts.tags.slice(start, start + ENSEMBLE_PROMPTS), { maxNewTokens: ANSWER_TOKENS.tags, n: samples, temperature: 1, seed: start, maxRows: ENSEMBLE_PROMPTS * samples, signal: context.signal });
      context.signal.throwIfAborted();
      for (const group of drawn) {
        const read = group.map(({ text }) => readAnswer(text, "tags").score).filter((score) => score !== null);
        scores.push(read.length === 0 ? greedy.predictions[scores.length]! : read.reduce<number>((sum, score) => sum + score, 0) / read.length);
      }
    }
    context.progress({ phase: "several answers each", done: prompts.tags.length, total: prompts.tags.length });
    return scores;
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
export async function grpoAdapter(shop: Workshop, run: { runDir: string; seed: number; from?: string; rewardWeights?: RewardWeights }): Promise<string> {
  const { steps, promptsPerStep, completions, learningRate } = shop.plan.grpo;
  const { runDir, seed, from, rewardWeights } = run;
  const { adapter } = await trainGrpo(
    {
      ...ADAM, seed, runDir, learningRate, steps, promptsPerStep, numGenerations: completions, maxCompletionLength: ANSWER_TOKENS.tags, lossType: "dapo", beta: 0, advantageConvention: "paper",
      ...(from !== undefined && { adapter: from }),
      ...(rewardWeights && { rewardWeights }),
    },
    shop.data.grpo,
    depsOf(shop),
  );
  return finished(adapter, shop);
}

/** SFT, GRPO and the JSON row of one seed, each judged on the held-out dramas. */
export async function runSeed(shop: Workshop, folder: string, seed: number): Promise<SeedRun> {
  const { plan, data, gold } = shop;
  const afterSft = await sftAdapter(shop, data.sft, join(folder, "sft"), seed);
  const sft = await judgeWith(shop, afterSft, "SFT", seed, "tags");
  const adapter = await grpoAdapter(shop, { runDir: join(folder, "grpo"), seed, from: afterSft });
  const grpo = await judgeWith(shop, adapter, "SFT + GRPO", seed, "tags");
  const predictions = await ensembleScores(shop, adapter, plan.ensemble, grpo);
  const ensemble = summarise({ ...grpo, name: `SFT + GRPO, mean of ${plan.ensemble} answers`, predictions }, gold);
  const json = plan.jsonRow ? await judgeWith(shop, await sftAdapter(shop, data.sftJson, join(folder, "sft-json"), seed), "SFT on JSON, JSON prompt", seed, "json") : undefined;
  return { seed, folder, sftAdapter: afterSft, adapter, sft, grpo, ensemble, json };
}
