import type { QwenVlConfig } from "@dramascope/qwen-vl";
import type { TrainingSample } from "@dramascope/schema";
import type { GrpoConfig, SftConfig } from "./config.ts";
import { holdOut } from "./hold-out.ts";
import { stepsOfGeneration } from "./policy-pass.ts";
import { rowsOf, type CallShape } from "./run-plan.ts";
import { epochBatches } from "./sft-batches.ts";
import { callTokens, cutByTokens } from "./token-batches.ts";

/** Tokens of every sample: of prompts, and of targets where there are any. */
export interface SampleTokens {
  prompts: readonly number[];
  targets: readonly number[];
}

/** What a run does, in the terms of the model's calls. */
export interface Work {
  steps: number;
  /** Optimiser steps of one generation; 1 for SFT. */
  stepsPerGeneration: number;
  /** Samples of a generation or step. */
  samples: number;
  /** The largest call with a gradient. */
  gradient: CallShape;
  /** Calls of that shape a generation or step; of SFT as many as have the tokens of its calls, on average. */
  gradientCalls: number;
  /** Scoring calls of that shape. */
  scoreCalls: number;
  rollout: CallShape | undefined;
  /** Forwards of the gradient's shape over samples that are held out, in the whole run. */
  evaluationCalls: number;
  /** The calls with gradient of each step of SFT's first epoch; none for GRPO. */
  calls: readonly (readonly CallShape[])[];
  /** Different shapes that are compiled: of calls with gradient, and of drawing, which goes on with half its rows when the others have ended. */
  shapes: number;
}

/** A call's shape to what the model rounds its lengths to: eighths of a power of two. Calls of one such shape are compiled once. */
function shapeKey({ prompts, promptTokens, completions, completionTokens }: CallShape): string {
  const rounded = (n: number): number => {
    const fine = Math.max(16, 2 ** Math.floor(Math.log2(n)) / 8);
    return Math.ceil(n / fine) * fine;
  };
  return [prompts, rounded(promptTokens), completions, rounded(completionTokens)].join();
}

const countShapes = (calls: readonly CallShape[]): number => new Set(calls.map(shapeKey)).size;

/** For each step how many of its calls have a shape that no earlier one had. */
export function newShapes(calls: readonly (readonly CallShape[])[]): number[] {
  const seen = new Set<string>();
  return calls.map((step) => {
    const before = seen.size;
    step.forEach((call) => seen.add(shapeKey(call)));
    return seen.size - before;
  });
}

/** The calls of an SFT run's first epoch by step, each padded to its longest prompt and answer. */
function sftCalls(model: QwenVlConfig, config: SftConfig, lengths: readonly { prompt: number; answer: number }[]): CallShape[][] {
  return epochBatches(lengths.map(({ prompt, answer }) => prompt + answer), 0, config).map((batch) => {
    const own = batch.map((i) => lengths[i]!);
    return cutByTokens(own, config.maxBatchTokens, callTokens(model)).map((call): CallShape => ({
      prompts: call.length, promptTokens: Math.max(...call.map((i) => own[i]!.prompt)),
      completions: 1, completionTokens: Math.max(...call.map((i) => own[i]!.answer)),
    }));
  });
}

function sftWork(model: QwenVlConfig, config: SftConfig, samples: readonly TrainingSample[], { prompts, targets }: SampleTokens): Work {
  const { training, held } = holdOut(samples, config.evalSamples, config.seed);
  const calls = sftCalls(model, config, training.map((i) => ({ prompt: prompts[i]!, answer: targets[i]! })));
  const steps = calls.length * config.epochs;
  const gradient = calls.flat().reduce((most, call) => (rowsOf(call) > rowsOf(most) ? call : most));
  const rows = calls.flat().reduce((sum, call) => sum + rowsOf(call), 0);
  const heldRows = held.reduce((sum, i) => sum + prompts[i]! + targets[i]!, 0);
  return {
    steps, stepsPerGeneration: 1, samples: Math.min(config.batchSize, training.length), gradient, gradientCalls: rows / rowsOf(gradient) / calls.length, scoreCalls: 0, rollout: undefined,
    evaluationCalls: (Math.ceil(steps / config.evalSteps) * heldRows) / rowsOf(gradient), calls, shapes: countShapes(calls.flat()),
  };
}

/** The work of a run; GRPO is taken to write completions of the greatest length. */
export function workOf(model: QwenVlConfig, config: SftConfig | GrpoConfig, samples: readonly TrainingSample[], tokens: SampleTokens): Work {
  if ("batchSize" in config) return sftWork(model, config, samples, tokens);
  const { prompts } = tokens;
  const perGeneration = stepsOfGeneration(config);
  const promptTokens = Math.ceil(prompts.reduce((a, b) => a + b, 0) / prompts.length);
  const one = { prompts: 1, promptTokens, completions: config.numGenerations, completionTokens: config.maxCompletionLength };
  const scored = (config.beta === 0 ? 0 : 1) + (perGeneration > 1 ? 1 : 0);
  const generations = config.steps ?? Math.ceil(prompts.length / config.promptsPerStep);
  return {
    steps: generations * perGeneration, stepsPerGeneration: perGeneration, samples: config.promptsPerStep, gradient: one, gradientCalls: config.promptsPerStep * config.numIterations,
    scoreCalls: config.promptsPerStep * scored, rollout: { ...one, prompts: config.promptsPerStep }, evaluationCalls: 0, calls: [],
    shapes: countShapes(prompts.map((length) => ({ ...one, promptTokens: length }))) + Math.ceil(Math.log2(config.promptsPerStep * config.numGenerations)),
  };
}
