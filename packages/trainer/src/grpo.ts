import { createRandom, type GrpoSample } from "@dramascope/schema";
import type { Prompt, QwenVl, Sample } from "@dramascope/qwen-vl";
import { groupAdvantages } from "./advantages.ts";
import { completionLines } from "./completion-log.ts";
import { parseGrpoConfig, type GrpoConfig, type GrpoConfigInput } from "./config.ts";
import { dropoutSeedAt } from "./dropout-seed.ts";
import { generationMetrics, REWARD_PARTS } from "./metrics.ts";
import { policyLoss } from "./policy-loss.ts";
import { createRewardFn, type RewardFn } from "./reward-function.ts";
import { openSession, type StepOutcome, type TrainDeps, type TrainResult } from "./session.ts";

/** What GRPO needs beside its settings. */
export interface GrpoDeps extends TrainDeps {
  /** Default the four rewards of `@dramascope/rewards` with the settings' weights. */
  reward?: RewardFn;
  /** Default the model's own sampling; replaced in tests. */
  rollout?: (prompts: readonly Prompt[], step: number) => Promise<Sample[][]>;
}

const MAX_SEED_STEPS = 2 ** 20;

/** Completions of one generation with everything the policy passes need. */
interface Generation {
  prompts: Prompt[];
  completions: Int32Array[][];
  advantages: Float64Array;
  old: Float32Array[][] | null;
  reference: Float32Array[][] | null;
  tokens: number;
  metrics: Record<string, number | null>;
}

/** Rows of unequal length as one padded matrix. */
function pad(rows: readonly ArrayLike<number>[], cols: number): Float64Array {
  const out = new Float64Array(rows.length * cols);
  rows.forEach((row, i) => out.set(Array.from(row), i * cols));
  return out;
}

/** Loss and gradient of one prompt's completions as a part of the generation's loss. */
function lossOfGroup(config: GrpoConfig, generation: Generation, p: number, logProbs: Float32Array[]): { loss: number; dLogProbs: Float64Array[]; metrics: Record<string, number> } {
  const n = config.numGenerations;
  const cols = Math.max(...logProbs.map((row) => row.length));
  const result = policyLoss(
    {
      rows: n,
      cols,
      logp: pad(logProbs, cols),
      old: generation.old && pad(generation.old[p]!, cols),
      ref: generation.reference && pad(generation.reference[p]!, cols),
      advantages: generation.advantages.subarray(p * n, (p + 1) * n),
      mask: pad(logProbs.map((row) => new Float64Array(row.length).fill(1)), cols),
      window: { rows: n * generation.prompts.length, tokens: generation.tokens },
    },
    { ...config, gradientAccumulationSteps: 1, stepsPerGeneration: 1, numItemsInBatch: generation.tokens },
  );
  return { loss: result.loss, metrics: result.metrics, dLogProbs: logProbs.map((row, i) => result.dLogp.slice(i * cols, i * cols + row.length)) };
}

async function scoreAll(model: QwenVl, prompts: readonly Prompt[], completions: readonly Int32Array[][], adapter: string, temperature: number): Promise<Float32Array[][]> {
  const out: Float32Array[][] = [];
  for (const [p, prompt] of prompts.entries()) out.push((await model.logProbs(prompt, completions[p]!, { adapter, temperature })).logProbs);
  return out;
}

/**
 * GRPO: for each generation draw completions from one prefill a prompt, score them, normalise inside each group, and move the adapter by
 * the clipped policy loss with the prompt computed once for all its completions.
 *
 * The same call again resumes the run in its folder; a finished run returns at once.
 */
export async function trainGrpo(settings: GrpoConfigInput, samples: readonly GrpoSample[], deps: GrpoDeps): Promise<TrainResult> {
  const config = parseGrpoConfig(settings);
  const { model, encoder } = deps;
  const reward = deps.reward ?? createRewardFn({ weights: config.rewardWeights });
  const session = await openSession("grpo", config, samples, deps);
  const policy = session.adapter.name;
  const wantsStart = (config.reference ?? (config.adapter === undefined ? "base" : "start")) === "start";
  const frozen = config.beta !== 0 && wantsStart && config.adapter !== undefined ? await model.attachLora(config.adapter, { name: "grpo-reference", trainable: false }) : undefined;
  model.setActiveAdapter(policy);
  const generations = config.steps ?? Math.ceil(samples.length / config.promptsPerStep);
  const perEpoch = Math.max(1, Math.floor(samples.length / config.promptsPerStep));

  const rollout = deps.rollout ?? ((prompts: readonly Prompt[], step: number) =>
    model.generate(prompts, {
      maxNewTokens: config.maxCompletionLength,
      n: config.numGenerations,
      temperature: config.temperature,
      seed: config.seed * MAX_SEED_STEPS + step,
      maxRows: config.promptsPerStep * config.numGenerations,
    }));

  const generate = async (index: number): Promise<Generation> => {
    const order = createRandom(config.seed, { stream: Math.floor(index / perEpoch) }).shuffle(samples.map((_, i) => i));
    const start = (index % perEpoch) * config.promptsPerStep;
    const batch = Array.from({ length: config.promptsPerStep }, (_, i) => samples[order[(start + i) % samples.length]!]!);
    const prompts: Prompt[] = [];
    for (const sample of batch) prompts.push(await encoder.encode(sample));
    const drawn = await rollout(prompts, index);
    const items = drawn.flatMap((group, p) => group.map((one) => ({ sample: batch[p]!, completion: one.text })));
    const scores = await reward(items);
    const weights = REWARD_PARTS.map((name) => config.rewardWeights[name]);
    const grouped = groupAdvantages(scores.map((score) => REWARD_PARTS.map((name) => score[name])), weights, {
      numGenerations: config.numGenerations,
      scaleRewards: config.scaleRewards,
      convention: config.advantageConvention,
      std: config.advantageStd,
    });
    const { advantages } = grouped;
    const step = index * config.numIterations + 1;
    await session.directory.append("completions.jsonl", completionLines({ step, samples: batch, groups: drawn, scores, advantages, withIds: config.logTokenIds }));
    const completions = drawn.map((group) => group.map(({ ids }) => ids));
    return {
      prompts,
      completions,
      advantages,
      old: config.numIterations > 1 ? await scoreAll(model, prompts, completions, policy, config.temperature) : null,
      reference: config.beta === 0 ? null : await scoreAll(model, prompts, completions, frozen?.name ?? "none", config.temperature),
      tokens: completions.flat().reduce((sum, ids) => sum + ids.length, 0),
      metrics: generationMetrics(drawn, scores, grouped),
    };
  };

  let current: { index: number; generation: Generation } | undefined;
  const compute = async (step: number): Promise<StepOutcome> => {
    const index = Math.floor(step / config.numIterations);
    const isFresh = current?.index !== index;
    if (isFresh) current = { index, generation: await generate(index) };
    const { generation } = current!;
    let [loss, kl, low, high] = [0, 0, 0, 0];
    for (const [p, prompt] of generation.prompts.entries()) {
      const advantages = generation.advantages.subarray(p * config.numGenerations, (p + 1) * config.numGenerations);
      // Without a KL term a group of equal rewards has no gradient; its tokens stay in the divisor.
      if (config.beta === 0 && advantages.every((value) => value === 0)) continue;
      const result = await model.logProbsWithGradient(prompt, generation.completions[p]!, {
        temperature: config.temperature,
        dropoutSeed: dropoutSeedAt(config.seed, step, p),
        gradient: (logProbs) => {
          const part = lossOfGroup(config, generation, p, logProbs);
          const share = 1 / generation.prompts.length;
          kl += part.metrics["kl"]! * share;
          low += part.metrics["clip_ratio/low_mean"]! * share;
          high += part.metrics["clip_ratio/high_mean"]! * share;
          return part;
        },
      });
      loss += result.loss;
    }
    return { loss, tokens: isFresh ? generation.tokens : 0, metrics: { ...(isFresh ? generation.metrics : {}), epoch: (step + 1) / (perEpoch * config.numIterations), kl: config.beta === 0 ? null : kl, "clip_ratio/low_mean": low, "clip_ratio/high_mean": high } };
  };

  try {
    return await session.run(generations * config.numIterations, compute);
  } finally {
    frozen?.dispose();
    session.dispose();
  }
}
