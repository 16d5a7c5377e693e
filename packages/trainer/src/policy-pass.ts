import type { Prompt, QwenVl } from "@dramascope/qwen-vl";
import type { GrpoConfig } from "./config.ts";
import { dropoutSeedAt } from "./dropout-seed.ts";
import { checkLogProbs } from "./not-finite.ts";
import type { GradientPart } from "./phases.ts";
import { policyLoss, tallyContents, type PolicyLossResult } from "./policy-loss.ts";
import { addTallies, emptyTally, policyMetrics } from "./policy-metrics.ts";

/** Completions of one generation with everything the policy's passes need; lists go by prompt and completion. */
export interface Generation {
  sampleIds: readonly string[];
  prompts: readonly Prompt[];
  completions: readonly (readonly Int32Array[])[];
  /** False for completions that are left out of the loss. */
  counted: readonly (readonly boolean[])[];
  /** Log-probabilities at sampling. */
  sampled: readonly (readonly Float32Array[])[];
  /** One a completion, prompt by prompt. */
  advantages: Float64Array;
  /** Log-probabilities before the first update; null when there is one update only. */
  old: readonly (readonly Float32Array[])[] | null;
  /** Log-probabilities of the reference; null without a KL term. */
  reference: readonly (readonly Float32Array[])[] | null;
}

/** How many completions the model computes at once, as its option. */
export function chunked({ completionChunk }: Pick<GrpoConfig, "completionChunk">): { completionChunk?: number } {
  return completionChunk === undefined ? {} : { completionChunk };
}

/** Loss of one optimiser step, its gradient being in the trainable set's sums, and what to log. */
export interface PolicyStep {
  loss: number;
  metrics: Record<string, number | null>;
}

/** How a generation is cut: optimiser steps of one pass over it, and prompts of a micro-batch. */
function windowsOf(config: GrpoConfig): { windows: number; microBatches: number; prompts: number } {
  const microBatches = config.stepsPerGeneration ?? config.gradientAccumulationSteps;
  return { windows: microBatches / config.gradientAccumulationSteps, microBatches, prompts: config.promptsPerStep / microBatches };
}

/** Optimiser steps that learn from one generation. */
export function stepsOfGeneration(config: GrpoConfig): number {
  return config.numIterations * windowsOf(config).windows;
}

/** Rows of unequal length as one padded matrix. */
function pad(rows: readonly ArrayLike<number>[], cols: number): Float64Array {
  const out = new Float64Array(rows.length * cols);
  rows.forEach((row, i) => out.set(Array.from(row), i * cols));
  return out;
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function countedTokens({ completions, counted }: Generation, p: number): number {
  return sum(completions[p]!.map(({ length }, i) => (counted[p]![i]! ? length : 0)));
}

/** Loss of one prompt's completions as a part of its micro-batch, which begins at prompt `first`. */
function lossOfPrompt(config: GrpoConfig, generation: Generation, p: number, logProbs: readonly Float32Array[], entropy: readonly Float32Array[]): PolicyLossResult & { dLogProbs: Float64Array[] } {
  const n = config.numGenerations;
  const { microBatches, prompts } = windowsOf(config);
  const first = p - (p % prompts);
  const tokens = generation.prompts.map((_, i) => countedTokens(generation, i));
  const cols = Math.max(...logProbs.map((row) => row.length));
  const result = policyLoss(
    {
      rows: n,
      cols,
      logp: pad(logProbs, cols),
      old: generation.old && pad(generation.old[p]!, cols),
      ref: generation.reference && pad(generation.reference[p]!, cols),
      advantages: generation.advantages.subarray(p * n, (p + 1) * n),
      mask: pad(logProbs.map((row, i) => new Float64Array(row.length).fill(generation.counted[p]![i]! ? 1 : 0)), cols),
      entropy: pad(entropy, cols),
      window: { rows: n * prompts, tokens: sum(tokens.slice(first, first + prompts)) },
    },
    { ...config, stepsPerGeneration: microBatches, numItemsInBatch: sum(tokens) },
  );
  return { ...result, dLogProbs: logProbs.map((row, i) => result.dLogp.slice(i * cols, i * cols + row.length)) };
}

/** Mean and largest distance of the log-probabilities at sampling from those of training, nats a token. */
class SamplingDifference {
  #sum = 0;
  #tokens = 0;
  #max = 0;

  add(sampled: readonly Float32Array[], scored: readonly Float32Array[]): void {
    sampled.forEach((row, i) =>
      row.forEach((value, t) => {
        const distance = Math.abs(value - scored[i]![t]!);
        this.#sum += distance;
        this.#max = Math.max(this.#max, distance);
        this.#tokens++;
      }),
    );
  }

  metrics(): Record<string, number> {
    return this.#tokens === 0 ? {} : { "sampling/sampling_logp_difference/mean": this.#sum / this.#tokens, "sampling/sampling_logp_difference/max": this.#max };
  }
}

/**
 * Adds the gradient of one optimiser step to the trainable set's sums, prompt by prompt, each computed once for all its completions.
 *
 * @param local Step within the generation, from 0: every pass over it takes its micro-batches in order.
 * @param step  Step of the run, from 0.
 * @param lap   Hears at the end of each forward and backward. Default nobody does.
 */
export async function policyStep(config: GrpoConfig, model: QwenVl, generation: Generation, local: number, step: number, lap: (part: GradientPart) => void = () => undefined): Promise<PolicyStep> {
  const { windows } = windowsOf(config);
  const count = config.promptsPerStep / windows;
  const start = (local % windows) * count;
  const isFirstPass = local < windows;
  const difference = new SamplingDifference();
  let loss = 0;
  let tally = emptyTally();
  for (let p = start; p < start + count; p++) {
    const advantages = generation.advantages.subarray(p * config.numGenerations, (p + 1) * config.numGenerations);
    // Such a group has no gradient; its tokens stay in the divisor.
    if (config.skipZeroStd && config.beta === 0 && advantages.every((value) => value === 0)) continue;
    const result = await model.logProbsWithGradient(generation.prompts[p]!, generation.completions[p]!, {
      temperature: config.temperature,
      entropy: true,
      ...chunked(config),
      dropoutSeed: dropoutSeedAt(config.seed, step, p),
      gradient: (logProbs, entropy) => {
        lap("forward");
        checkLogProbs(step + 1, generation.sampleIds[p]!, logProbs);
        const part = lossOfPrompt(config, generation, p, logProbs, entropy!);
        tally = addTallies(tally, part.tally);
        if (isFirstPass) difference.add(generation.sampled[p]!, generation.old?.[p] ?? logProbs);
        return part;
      },
    });
    lap("backward");
    loss += result.loss;
  }
  return { loss, metrics: { ...policyMetrics(tally, tallyContents(config, true)), ...difference.metrics() } };
}

/** Log-probabilities of a generation's completions under an adapter, `none` being the base model; nothing is dropped. */
export async function scoreCompletions(model: QwenVl, prompts: readonly Prompt[], completions: readonly (readonly Int32Array[])[], options: { adapter: string; temperature: number; completionChunk?: number; signal: AbortSignal }): Promise<Float32Array[][]> {
  const out: Float32Array[][] = [];
  for (const [p, prompt] of prompts.entries()) out.push((await model.logProbs(prompt, completions[p]!, options)).logProbs);
  return out;
}
