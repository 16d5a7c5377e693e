import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseConfig, prepare, readAdapter, readChatTemplate, readTokenizer, type ChatPart, type Grid, type LoadOptions, type QwenVlConfig, type Tf } from "@dramascope/qwen-vl";
import type { TrainingSample, VideoReference } from "@dramascope/schema";
import { calibrate, SHELLS, type Calibration } from "./calibration.ts";
import type { GrpoConfig, SftConfig } from "./config.ts";
import { TrainerError } from "./errors.ts";
import { holdOut } from "./hold-out.ts";
import { weightHeaders } from "./model-shell.ts";
import { stepsOfGeneration } from "./policy-pass.ts";
import { adapterParameters, forwardFlops, gradientBytes, layerParameters, rolloutBytes, rowsOf, scoreBytes, type CallShape, type PlannedTime, type RunPlan, type Spread } from "./run-plan.ts";
import { epochBatches } from "./sft-batches.ts";
import { cutByTokens } from "./token-batches.ts";

/** What {@link planRun} needs beside settings and samples. */
export interface PlanDeps {
  /** Folder of the model; of its weights only the headers are read. */
  model: string;
  /** Temporal grids, rows and columns of a video in patches of 14 pixels, without decoding it. */
  gridOf: (video: VideoReference, sample: TrainingSample) => Promise<Grid>;
  /** Back end to measure on; without it the plan has no time. */
  tf?: Tf;
  /** As the model will be loaded. */
  load?: Pick<LoadOptions, "dtype" | "products" | "queryChunk" | "logitsChunk" | "keepBytes">;
  /** Seconds from any fixed start; for measuring. */
  clock?: () => number;
  signal?: AbortSignal;
}

/** Operations that measuring may take a call; larger calls are measured at a smaller shape. */
const CALIBRATION_FLOPS = 4e11;
/** Memory of Node with a loaded TensorFlow and this program, where nothing was measured. */
const BASE_BYTES = 420 * 2 ** 20;

function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: sorted[0]!, median: sorted[Math.floor(sorted.length / 2)]!, max: sorted.at(-1)! };
}

/** Prompt and answer tokens of every sample, as the template renders them. */
async function countTokens(config: QwenVlConfig, samples: readonly TrainingSample[], { model, gridOf }: PlanDeps): Promise<{ prompts: number[]; targets: number[] }> {
  const tokenizer = await readTokenizer(model);
  if (!tokenizer) throw new TrainerError(`${model} has no tokenizer.json`, { code: "NO_TOKENIZER", hint: "Add the checkpoint's tokenizer.json: without it no tokens can be counted." });
  const template = await readChatTemplate(model);
  const prompts: number[] = [];
  const targets: number[] = [];
  for (const sample of samples) {
    const grids = await Promise.all(sample.videos.map((video) => gridOf(video, sample)));
    const part = (one: { type: "text"; text: string } | { type: "video"; video: number }): ChatPart =>
      one.type === "text" ? { type: "text", text: one.text } : { type: "video", item: { kind: "video", grid: grids[one.video]!, patches: new Uint8Array(0) } };
    const messages = sample.messages.map(({ role, content }) => ({ role, content: typeof content === "string" ? content : content.map(part) }));
    prompts.push(prepare({ config, tokenizer, template, mrope: "qwen" }, messages).ids.length);
    if (sample.kind === "sft") targets.push(tokenizer.encode(sample.target).length + 1);
  }
  return { prompts, targets };
}

/** The calls of an SFT run's first epoch, each padded to its longest prompt and answer. */
function sftCalls(config: SftConfig, prompts: readonly number[], targets: readonly number[]): CallShape[] {
  return epochBatches(prompts.map((prompt, i) => prompt + targets[i]!), 0, config).flatMap((batch) => {
    const lengths = batch.map((i) => ({ prompt: prompts[i]!, answer: targets[i]! }));
    return cutByTokens(lengths, config.maxBatchTokens).map((call): CallShape => {
      const own = call.map((i) => lengths[i]!);
      return { prompts: own.length, promptTokens: Math.max(...own.map(({ prompt }) => prompt)), completions: 1, completionTokens: Math.max(...own.map(({ answer }) => answer)) };
    });
  });
}

/** The same call with shorter prompts and completions, so that a forward and backward of the larger shell stays within {@link CALIBRATION_FLOPS}. */
function shortened(config: QwenVlConfig, shape: CallShape): CallShape {
  let share = 1;
  const cut = (): CallShape => ({ ...shape, promptTokens: Math.max(16, Math.round(shape.promptTokens * share)), completionTokens: Math.max(4, Math.round(shape.completionTokens * share)) });
  while (share > 1e-3 && 3 * forwardFlops(config, SHELLS[1], cut()) > CALIBRATION_FLOPS) share *= 0.8;
  return share === 1 ? shape : cut();
}

/** What a run does, in the terms of the model's calls. */
interface Work {
  steps: number;
  /** Optimiser steps of one generation; 1 for SFT. */
  stepsPerGeneration: number;
  /** Calls of the gradient's shape a generation or step; of SFT as many as have the tokens of its calls, on average. */
  gradientCalls: number;
  /** Scoring calls of that shape. */
  scoreCalls: number;
  gradient: CallShape;
  rollout: CallShape | undefined;
  /** Forwards of that shape over samples that are held out, in the whole run. */
  evaluationCalls: number;
}

function sftWork(config: SftConfig, samples: readonly TrainingSample[], prompts: readonly number[], targets: readonly number[]): Work {
  const { training, held } = holdOut(samples, config.evalSamples, config.seed);
  const tokens = (places: readonly number[]): number => places.reduce((sum, i) => sum + prompts[i]! + targets[i]!, 0);
  const stepsPerEpoch = Math.ceil(training.length / config.batchSize);
  const steps = stepsPerEpoch * config.epochs;
  const calls = sftCalls(config, training.map((i) => prompts[i]!), training.map((i) => targets[i]!));
  const gradient = calls.reduce((most, call) => (rowsOf(call) > rowsOf(most) ? call : most));
  const rows = calls.reduce((sum, call) => sum + rowsOf(call), 0);
  return {
    steps, stepsPerGeneration: 1, gradientCalls: rows / rowsOf(gradient) / stepsPerEpoch, scoreCalls: 0, gradient, rollout: undefined,
    evaluationCalls: held.length === 0 ? 0 : (Math.ceil(steps / config.evalSteps) * tokens(held)) / rowsOf(gradient),
  };
}

function workOf(config: SftConfig | GrpoConfig, samples: readonly TrainingSample[], prompts: readonly number[], targets: readonly number[]): Work {
  if ("batchSize" in config) return sftWork(config, samples, prompts, targets);
  const perGeneration = stepsOfGeneration(config);
  const promptTokens = Math.ceil(prompts.reduce((a, b) => a + b, 0) / prompts.length);
  const one = { prompts: 1, promptTokens, completions: config.numGenerations, completionTokens: config.maxCompletionLength };
  const scored = (config.beta === 0 ? 0 : 1) + (perGeneration > 1 ? 1 : 0);
  const generations = config.steps ?? Math.ceil(prompts.length / config.promptsPerStep);
  return {
    steps: generations * perGeneration, stepsPerGeneration: perGeneration, gradientCalls: config.promptsPerStep * config.numIterations, scoreCalls: config.promptsPerStep * scored,
    gradient: one, rollout: { ...one, prompts: config.promptsPerStep }, evaluationCalls: 0,
  };
}

/** Seconds by part out of what was measured at a shorter shape. */
function timeOf(config: QwenVlConfig, work: Work, measured: Calibration, shapes: { gradient: CallShape; rollout: CallShape | undefined }): PlannedTime {
  const { layers } = config.text;
  const growth = (full: CallShape, short: CallShape): number => forwardFlops(config, layers, full) / forwardFlops(config, layers, short);
  const pass = growth(work.gradient, shapes.gradient);
  const gradient = work.gradientCalls * measured.gradient * pass;
  const score = work.scoreCalls * measured.score * pass;
  let rollout = 0;
  if (work.rollout && shapes.rollout) {
    const prompts = (shape: CallShape): CallShape => ({ ...shape, completions: 0, completionTokens: 0 });
    rollout = measured.prefill * growth(prompts(work.rollout), prompts(shapes.rollout)) + measured.token * (work.rollout.completionTokens - 1);
  }
  const step = (gradient + score + rollout) / work.stepsPerGeneration + measured.update;
  return { rollout, score, gradient, step, total: step * work.steps + work.evaluationCalls * measured.score * pass, calibration: measured.seconds };
}

/** Rank of the run's adapter and its number of values. */
async function adapterValues(model: QwenVlConfig, config: SftConfig | GrpoConfig): Promise<number> {
  if (config.adapter === undefined) return adapterParameters(model, config.lora.r);
  const { modules } = await readAdapter(config.adapter);
  return modules.reduce((sum, { a, b }) => sum + a.values.length + b.values.length, 0);
}

/**
 * What a run will take, before it starts: tokens, parameters, operations, memory, disk, and with a back end the time. Nothing is written and no weight
 * is read, only the headers of the model's files. GRPO is planned for completions of the greatest length, which is an upper bound; SFT for its targets. The vision tower,
 * which runs once a sample, is not counted.
 *
 * @throws TrainerError `NO_SAMPLES`; `NO_TOKENIZER` for a model without one; QwenVlError for files that do not belong together.
 */
export async function planRun(config: SftConfig | GrpoConfig, samples: readonly TrainingSample[], deps: PlanDeps): Promise<RunPlan> {
  if (samples.length === 0) throw new TrainerError("there are no samples", { code: "NO_SAMPLES", hint: "Check the exported data set." });
  const model = parseConfig(JSON.parse(await readFile(join(deps.model, "config.json"), "utf8")));
  const { dtype = "float32", queryChunk = 512, keepBytes = 2 ** 28 } = deps.load ?? {};
  const { layers } = model.text;
  const { prompts, targets } = await countTokens(model, samples, deps);
  const work = workOf(config, samples, prompts, targets);
  const headers = await weightHeaders(deps.model);
  const weightBytesOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1) * (dtype === "bfloat16" && shape.length > 1 ? 2 : 4);
  const weights = headers.reduce((sum, { shape }) => sum + weightBytesOf(shape), 0);
  const trained = await adapterValues(model, config);
  const memory = {
    weights,
    adapter: 16 * trained,
    rollout: work.rollout ? rolloutBytes(model, layers, work.rollout, queryChunk) : 0,
    score: work.scoreCalls === 0 ? 0 : scoreBytes(model, work.gradient, queryChunk),
    gradient: gradientBytes(model, layers, work.gradient, keepBytes, queryChunk),
  };
  const shapes = { gradient: shortened(model, work.gradient), rollout: work.rollout && { ...shortened(model, work.rollout), completionTokens: work.rollout.completionTokens } };
  const measured = deps.tf && (await calibrate({ model: deps.model, tf: deps.tf, load: deps.load ?? {}, keepBytes, layers, lora: config.lora, completionChunk: "completionChunk" in config ? config.completionChunk : undefined, ...shapes, clock: deps.clock ?? (() => performance.now() / 1000), signal: deps.signal }));
  const largest = Math.max(memory.rollout, memory.score, memory.gradient);
  const layerBytes = layerParameters(model) * (dtype === "bfloat16" ? 2 : 4);
  // What was measured has two layers and perhaps a shorter call: the rest is added by the formulas.
  const shellWork = Math.max(gradientBytes(model, SHELLS[1], shapes.gradient, (keepBytes * SHELLS[1]) / layers, queryChunk), shapes.rollout ? rolloutBytes(model, SHELLS[1], shapes.rollout, queryChunk) : 0);
  const base = measured ? measured.peakBytes - shellWork - (weights - (layers - SHELLS[1]) * layerBytes) : BASE_BYTES;
  const unshared = work.gradientCalls * rowsOf({ ...work.gradient, prompts: work.gradient.prompts * work.gradient.completions, completions: 1 });
  const forward = forwardFlops(model, layers, work.gradient);
  return {
    kind: "batchSize" in config ? "sft" : "grpo",
    samples: samples.length,
    steps: work.steps,
    tokens: { prompt: spreadOf(prompts), completion: work.rollout ? { min: 1, median: work.gradient.completionTokens, max: work.gradient.completionTokens } : spreadOf(targets) },
    parameters: { total: headers.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0), trained },
    linearTokens: { shared: work.gradientCalls * rowsOf(work.gradient), unshared },
    flops: 3 * work.gradientCalls * forward + work.scoreCalls * forward + (work.rollout ? forwardFlops(model, layers, work.rollout) : 0),
    memory: { ...memory, peak: base + weights + memory.adapter + largest },
    checkpoint: { each: 12 * trained, kept: 12 * trained * (config.keepCheckpoints + 1) },
    time: measured && timeOf(model, work, measured, shapes),
  };
}
