import { createRandom, type GrpoSample } from "@dramascope/schema";
import type { LoraAdapter, Prompt, Sample } from "@dramascope/qwen-vl";
import { groupAdvantages } from "./advantages.ts";
import { completionLines } from "./completion-log.ts";
import { parseGrpoConfig, type GrpoConfigInput } from "./config.ts";
import { generationMetrics, REWARD_PARTS } from "./metrics.ts";
import { chunked, policyStep, scoreCompletions, stepsOfGeneration, type Generation } from "./policy-pass.ts";
import { createRewardClient } from "./reward-client.ts";
import { checkRewards, createRewardFn, createRewardWorkers, type RewardFn } from "./reward-function.ts";
import { openSession, type StepOutcome } from "./session.ts";
import type { TrainDeps, TrainResult } from "./train-deps.ts";

/** What GRPO needs beside its settings. */
export interface GrpoDeps extends TrainDeps {
  /** Default the settings' `rewardServer`, else the four rewards of `@dramascope/rewards` in this process or its `rewardWorkers`. */
  reward?: RewardFn;
  /** Default the model's own sampling; replaced in tests. */
  rollout?: (prompts: readonly Prompt[], step: number) => Promise<Sample[][]>;
}

const MAX_SEED_STEPS = 2 ** 20;

/** Both results. A failure of one ends the other by its signal, and is told when both have ended: nothing is left at work. */
async function bothOf<A, B>(first: (signal: AbortSignal) => Promise<A>, second: (signal: AbortSignal) => Promise<B>, outer: AbortSignal | undefined): Promise<[A, B]> {
  const stop = new AbortController();
  const signal = outer ? AbortSignal.any([outer, stop.signal]) : stop.signal;
  const watched = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      stop.abort(error);
      throw stop.signal.reason;
    });
  const both = [watched(first(signal)), watched(second(signal))] as const;
  await Promise.allSettled(both);
  return Promise.all(both);
}

/** A generation and what to log of it. */
interface LoggedGeneration extends Generation {
  tokens: number;
  metrics: Record<string, number | null>;
}

/** What the next step on a generation needs after a restart. */
interface CarriedGeneration {
  index: number;
  generation: Omit<LoggedGeneration, "prompts">;
}

/**
 * GRPO: for each generation draw completions from one prefill a prompt, score them, normalise inside each group, and move the adapter by
 * the clipped policy loss with the prompt computed once for all its completions.
 *
 * The same call again resumes the run in its folder; a finished run returns at once.
 */
export async function trainGrpo(settings: GrpoConfigInput, given: readonly GrpoSample[], deps: GrpoDeps): Promise<TrainResult> {
  const config = parseGrpoConfig(settings);
  const { model, encoder } = deps;
  const server = deps.reward === undefined && config.rewardServer ? createRewardClient({ ...config.rewardServer, onWarning: deps.onWarning }) : undefined;
  const session = await openSession("grpo", config, given, deps);
  const { samples } = session;
  const policy = session.adapter.name;
  const wantsStart = (config.reference ?? (config.adapter === undefined ? "base" : "start")) === "start";
  const attachReference = (folder: string): Promise<LoraAdapter> =>
    model.attachLora(folder, { name: "grpo-reference", trainable: false }).catch((error: unknown) => {
      session.dispose();
      throw error;
    });
  const frozen = config.beta !== 0 && wantsStart && config.adapter !== undefined ? await attachReference(config.adapter) : undefined;
  model.setActiveAdapter(policy);
  const rewardSettings = { weights: config.rewardWeights, nearMissCredit: config.nearMissCredit };
  const workers = deps.reward === undefined && !server && config.rewardWorkers > 0 ? createRewardWorkers(config.rewardWorkers, rewardSettings) : undefined;
  const reward = deps.reward ?? server?.reward ?? workers?.reward ?? createRewardFn(rewardSettings);
  const generations = config.steps ?? Math.ceil(samples.length / config.promptsPerStep);

  const rollout = deps.rollout ?? ((prompts: readonly Prompt[], step: number) =>
    model.generate(prompts, {
      maxNewTokens: config.maxCompletionLength,
      n: config.numGenerations,
      temperature: config.temperature,
      topP: config.topP,
      topK: config.topK,
      seed: config.seed * MAX_SEED_STEPS + step,
      maxRows: config.promptsPerStep * config.numGenerations,
    }));

  if (config.topP < 1 || config.topK > 0) deps.onWarning?.(`topP ${config.topP} and topK ${config.topK} leave tokens out of sampling that training counts: its log-probabilities and ratios are those of the whole distribution. Take topP 1 and topK 0 unless completions break down.`);

  const steps = stepsOfGeneration(config);
  // Epochs follow one another without a gap, each in an order of its own: no sample is passed over where generations do not divide them.
  const batchOf = (index: number): GrpoSample[] => {
    const orders = new Map<number, GrpoSample[]>();
    return Array.from({ length: config.promptsPerStep }, (_, i) => {
      const at = index * config.promptsPerStep + i;
      const epoch = Math.floor(at / samples.length);
      const order = orders.get(epoch) ?? createRandom(config.seed, { stream: epoch }).shuffle([...samples]);
      orders.set(epoch, order);
      return order[at % samples.length]!;
    });
  };
  const promptsOf = async (batch: readonly GrpoSample[]): Promise<Prompt[]> => {
    encoder.trim?.();
    const prompts: Prompt[] = [];
    for (const sample of batch) prompts.push(await session.phases.run("load", `sample ${sample.sampleId}`, () => encoder.encode(sample)));
    return prompts;
  };
  const generate = async (index: number): Promise<LoggedGeneration> => {
    const batch = batchOf(index);
    const prompts = await promptsOf(batch);
    encoder.prefetch?.(index + 1 < generations ? batchOf(index + 1) : []);
    const drawn = await session.phases.run("rollout", `generation ${index + 1}`, () => rollout(prompts, index));
    const items = drawn.flatMap((group, p) => group.map((one) => ({ sample: batch[p]!, completion: one.text })));
    const completions = drawn.map((group) => group.map(({ ids }) => ids));
    const score = (adapter: string, signal: AbortSignal): Promise<Float32Array[][]> => session.phases.run("score", `generation ${index + 1}`, () => scoreCompletions(model, prompts, completions, { adapter, temperature: config.temperature, signal, ...chunked(config) }));
    // Neither needs the rewards: the model computes them while a server or threads score.
    const scoreBoth = async (signal: AbortSignal): Promise<Pick<Generation, "old" | "reference">> => ({ old: steps > 1 ? await score(policy, signal) : null, reference: config.beta === 0 ? null : await score(frozen?.name ?? "none", signal) });
    const [scores, logProbs] = await bothOf((signal) => session.phases.run("reward", `generation ${index + 1}`, () => reward(items, { step: session.progress.step + 1, signal })), scoreBoth, deps.signal);
    session.progress.rewardVersion = checkRewards(items, scores, session.progress.rewardVersion);
    const weights = REWARD_PARTS.map((name) => config.rewardWeights[name]);
    const grouped = groupAdvantages(scores.map((score) => REWARD_PARTS.map((name) => score[name])), weights, {
      numGenerations: config.numGenerations,
      scaleRewards: config.scaleRewards,
      convention: config.advantageConvention,
      std: config.advantageStd,
      aggregation: config.advantageAggregation,
    });
    const { advantages } = grouped;
    const step = index * steps + 1;
    await session.directory.append("completions.jsonl", completionLines({ step, samples: batch, groups: drawn, scores, advantages, withIds: config.logTokenIds }));
    return {
      sampleIds: batch.map(({ sampleId }) => sampleId),
      prompts,
      completions,
      advantages,
      counted: drawn.map((group) => group.map(({ finishReason }) => !config.maskTruncated || finishReason === "stop")),
      sampled: drawn.map((group) => group.map(({ logProbs }) => logProbs)),
      ...logProbs,
      tokens: completions.flat().reduce((sum, ids) => sum + ids.length, 0),
      metrics: generationMetrics(drawn, scores, grouped),
    };
  };

  // A checkpoint between two steps on one generation holds the generation, but not what its samples give again.
  const saved = session.carried as CarriedGeneration | undefined;
  let current: { index: number; generation: LoggedGeneration } | undefined;
  const carry = (nextStep: number): CarriedGeneration | undefined => {
    if (!current || nextStep % steps === 0) return undefined;
    const { prompts: _prompts, ...generation } = current.generation;
    return { index: current.index, generation };
  };
  const compute = async (step: number): Promise<StepOutcome> => {
    const index = Math.floor(step / steps);
    if (!current && saved?.index === index) current = { index, generation: { ...saved.generation, prompts: await promptsOf(batchOf(index)) } };
    const isFresh = current?.index !== index;
    if (isFresh) current = { index, generation: await generate(index) };
    const { generation } = current!;
    const { loss, metrics } = await session.phases.run("gradient", `step ${step + 1}`, () => policyStep(config, model, generation, step % steps, step, session.phases.lap));
    return { loss, tokens: isFresh ? generation.tokens : 0, metrics: { ...(isFresh ? generation.metrics : {}), epoch: ((step + 1) * config.promptsPerStep) / (steps * samples.length), ...metrics } };
  };

  try {
    if (server && !session.manifest.finished) await server.check(deps.signal);
    return await session.run(generations * steps, compute, { carry });
  } finally {
    await workers?.close();
    frozen?.dispose();
    session.dispose();
  }
}
