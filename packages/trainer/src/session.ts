import type { LoraAdapter, QwenVl, TrainableSet } from "@dramascope/qwen-vl";
import { hashJson, type OnProgress, type TrainingSample } from "@dramascope/schema";
import { join } from "node:path";
import { TrainerError } from "./errors.ts";
import { AdamW, clipGradNorm } from "./optimizer.ts";
import { createPreview } from "./preview.ts";
import { RunDirectory, type Progress, type RunManifest } from "./run-directory.ts";
import { learningRateAt } from "./schedule.ts";
import { StepLog } from "./step-log.ts";
import type { GrpoConfig, SftConfig } from "./config.ts";
import type { SampleEncoder } from "./encoder.ts";

/** What training needs beside its settings. */
export interface TrainDeps {
  model: QwenVl;
  encoder: SampleEncoder;
  /** Stops after the current step, with a checkpoint. */
  signal?: AbortSignal;
  onProgress?: OnProgress;
  /** Things a person should know: a damaged checkpoint, groups without spread, cut completions. */
  onWarning?: (text: string) => void;
  /** Hash of the model's files, part of the run's identity. Default its number of weights. */
  modelHash?: string;
  /** Seconds from any fixed start; for step times. */
  clock?: () => number;
  /** Seconds since 1970; for TensorBoard. Default the system's clock. */
  wallClock?: () => number;
  /** Writes contact sheets of what the model sees of a sample, returns their paths. Where it is given, previews are written to `preview/`. */
  sheets?: (sample: TrainingSample) => Promise<string[]>;
}

/** What a run gives. */
export interface TrainResult {
  /** PEFT folder of the trained adapter; undefined when the run was stopped before its end. */
  adapter: string | undefined;
  /** Finished optimiser steps. */
  steps: number;
  /** All steps are done. */
  finished: boolean;
}

/** One optimiser step's gradients, already summed in the trainable set, and what to log of them. */
export interface StepOutcome {
  loss: number;
  tokens: number;
  metrics: Record<string, number | null>;
}

/** Computes the gradients of step `step`, from 0. */
type StepFunction = (step: number) => Promise<StepOutcome>;

/** State of a run between its steps. */
export interface Session {
  directory: RunDirectory;
  manifest: RunManifest;
  adapter: LoraAdapter;
  trainable: TrainableSet;
  progress: Progress;
  /** Runs steps until the end or a stop. */
  run(totalSteps: number, compute: StepFunction): Promise<TrainResult>;
  dispose(): void;
}

/** Tokens of a completion in a preview, at most. */
const PREVIEW_TOKENS = 512;

/** Opens the run folder, attaches the adapter, and goes on from the newest whole checkpoint. */
export async function openSession(kind: "sft" | "grpo", config: SftConfig | GrpoConfig, samples: readonly TrainingSample[], deps: TrainDeps): Promise<Session> {
  const { model, onProgress, onWarning, clock = () => performance.now() / 1000 } = deps;
  if (samples.length === 0) throw new TrainerError("there are no samples", { code: "NO_SAMPLES", hint: "Check the exported data set." });
  const directory = new RunDirectory(config.runDir);
  const inputs = { data: hashJson(samples), model: deps.modelHash ?? `weights:${model.info.parameters}` };
  const manifest = await directory.open(kind, config, inputs);
  const { r, alpha, rslora, dropout } = config.lora;
  const adapter = await model.attachLora(config.adapter ?? { r, alpha, rslora }, { name: `${kind}-policy`, trainable: true, seed: config.seed, dropout });
  model.setActiveAdapter(adapter.name);
  const trainable = model.trainable("lora");
  const optimizer = new AdamW({ beta1: config.beta1, beta2: config.beta2, eps: config.adamEps, weightDecay: config.weightDecay });
  const progress: Progress = { step: 0, tokens: 0 };
  let values = await trainable.readValues();
  const saved = await directory.restore(trainable.names, (name, why) => onWarning?.(`${name} is damaged (${why}); an earlier one is used`));
  if (saved) {
    values = saved.values;
    trainable.assignAll(values);
    optimizer.restore(saved.optimizer);
    Object.assign(progress, saved.progress);
  }
  const log = await StepLog.open(directory, { step: progress.step, now: deps.wallClock ?? (() => Date.now() / 1000), onSign: (text) => onWarning?.(text) });
  const maxTokens = Math.min(PREVIEW_TOKENS, "maxCompletionLength" in config ? config.maxCompletionLength : PREVIEW_TOKENS);
  const preview = deps.sheets && createPreview({ folder: join(config.runDir, "preview"), model, encoder: deps.encoder, sample: samples[0]!, sheets: deps.sheets, everySteps: config.previewSteps, maxTokens, seed: config.seed, signal: deps.signal });
  const look = async (): Promise<void> => {
    const path = await preview?.(progress.step);
    if (path !== undefined) onWarning?.(`what the model says after ${progress.step} steps: ${path}`);
  };
  const save = async (): Promise<void> => {
    const state = optimizer.state();
    if (state) await directory.save({ progress: { ...progress }, names: trainable.names, values, optimizer: state }, config.keepCheckpoints);
  };
  const adapterFolder = join(config.runDir, "adapter");

  const update = async (step: number, totalSteps: number, loss: number): Promise<{ gradNorm: number; rate: number }> => {
    const grads = await trainable.readGradients();
    const gradNorm = clipGradNorm(grads, config.maxGradNorm);
    if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      throw new TrainerError(`step ${step + 1}: loss ${loss}, gradient norm ${gradNorm}; nothing was updated`, { code: "NOT_FINITE", hint: `Lower the learning rate; the last checkpoint in ${config.runDir} is good.` });
    }
    const rate = learningRateAt({ type: config.schedule, warmupSteps: config.warmupSteps, totalSteps, minLrRate: config.minLrRate }, config.learningRate, step);
    optimizer.step(values, grads, rate);
    trainable.assignAll(values);
    return { gradNorm, rate };
  };

  const run = async (totalSteps: number, compute: StepFunction): Promise<TrainResult> => {
    if (manifest.finished) return { adapter: adapterFolder, steps: totalSteps, finished: true };
    while (progress.step < totalSteps) {
      if (deps.signal?.aborted) {
        await save();
        return { adapter: undefined, steps: progress.step, finished: false };
      }
      await look();
      const started = clock();
      trainable.zeroGradients();
      const { loss, tokens, metrics } = await compute(progress.step);
      const { gradNorm, rate } = await update(progress.step, totalSteps, loss);
      progress.step++;
      progress.tokens += tokens;
      await log.add({ step: progress.step, loss, grad_norm: gradNorm, learning_rate: rate, num_tokens: progress.tokens, ...metrics, step_time: clock() - started, "dramascope/memory/peak": process.resourceUsage().maxRSS * 1024 });
      const reward = metrics["reward"];
      onProgress?.({ phase: kind, done: progress.step, total: totalSteps, note: typeof reward === "number" ? `reward ${reward.toFixed(3)}, format ${(metrics["rewards/format/mean"] ?? 0).toFixed(2)}, gradient ${gradNorm.toFixed(3)}` : `loss ${loss.toFixed(4)}` });
      if (progress.step % config.saveSteps === 0 && progress.step < totalSteps) await save();
    }
    await look();
    await save();
    await model.saveLora(adapterFolder, adapter.name);
    await directory.finish(manifest);
    return { adapter: adapterFolder, steps: progress.step, finished: true };
  };

  return {
    directory,
    manifest,
    adapter,
    trainable,
    progress,
    run,
    dispose: () => {
      trainable.dispose();
      adapter.dispose();
    },
  };
}
