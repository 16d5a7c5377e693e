import type { LoraAdapter, TrainableSet } from "@dramascope/qwen-vl";
import type { TrainingSample } from "@dramascope/schema";
import { join } from "node:path";
import { loggedSteps, type CheckpointOwner, type Progress } from "./checkpoint.ts";
import { TrainerError } from "./errors.ts";
import { exportAdapter } from "./export-adapter.ts";
import type { Metrics } from "./metrics.ts";
import { checkUpdate, NotFiniteError } from "./not-finite.ts";
import { AdamW, clipGradNorm } from "./optimizer.ts";
import { PhaseWatch } from "./phases.ts";
import { preflight } from "./preflight.ts";
import { createPreview } from "./preview.ts";
import { RunDirectory } from "./run-directory.ts";
import { makeRunManifest, type RunManifest } from "./run-manifest.ts";
import { learningRateAt, WARMUP_SHARE } from "./schedule.ts";
import { StepLog } from "./step-log.ts";
import type { GrpoConfig, SftConfig } from "./config.ts";
import type { TrainDeps, TrainResult } from "./train-deps.ts";

/** One optimiser step's gradients, already summed in the trainable set, and what to log of them. */
export interface StepOutcome {
  loss: number;
  tokens: number;
  metrics: Record<string, number | null>;
}

/** Computes the gradients of step `step`, from 0. */
type StepFunction = (step: number) => Promise<StepOutcome>;

/** What an evaluation found. */
export interface Evaluation {
  /** The higher the better. */
  score: number;
  metrics: Record<string, number>;
}

/** What a run does beside its steps. */
interface RunOptions {
  /** What the step to come, from 0, needs of the ones before; for the checkpoint. Default nothing. */
  carry?: (nextStep: number) => unknown;
  /** Looks at the policy after so many steps; undefined when that is not due. Default never. */
  evaluate?: (steps: number) => Promise<Evaluation | undefined>;
}

/** State of a run between its steps. */
export interface Session<S extends TrainingSample> {
  directory: RunDirectory;
  /** Samples that passed the look before the run. */
  samples: readonly S[];
  /** Their tokens, prompt and answer together; see {@link preflight}. */
  lengths: readonly number[];
  manifest: RunManifest;
  adapter: LoraAdapter;
  trainable: TrainableSet;
  progress: Progress;
  phases: PhaseWatch;
  /** What the checkpoint that the run goes on from had to carry over; undefined when nothing. */
  carried: unknown;
  /** Runs steps until the end or a stop. */
  run(totalSteps: number, compute: StepFunction, options?: RunOptions): Promise<TrainResult>;
  dispose(): void;
}

/** Tokens of a completion in a preview, at most. */
const PREVIEW_TOKENS = 512;

/** Opens the run folder, attaches the adapter, and goes on from the newest whole checkpoint. */
export async function openSession<S extends TrainingSample>(kind: "sft" | "grpo", config: SftConfig | GrpoConfig, given: readonly S[], deps: TrainDeps): Promise<Session<S>> {
  if (given.length === 0) throw new TrainerError("there are no samples", { code: "NO_SAMPLES", hint: "Check the exported data set." });
  const directory = new RunDirectory(config.runDir);
  await directory.lock();
  try {
    return await startSession(directory, kind, config, given, deps);
  } catch (error) {
    directory.unlock();
    throw error;
  }
}

async function startSession<S extends TrainingSample>(directory: RunDirectory, kind: "sft" | "grpo", config: SftConfig | GrpoConfig, given: readonly S[], deps: TrainDeps): Promise<Session<S>> {
  const { model, onProgress, onWarning, clock = () => performance.now() / 1000 } = deps;
  const phases = new PhaseWatch({ clock, timeoutSeconds: config.phaseTimeoutSeconds, onWarning });
  const manifest = await directory.open(
    await makeRunManifest({
      kind, config, samples: given, backend: deps.backend,
      modelHash: deps.modelHash ?? `weights:${model.info.parameters}`,
      timeBase: deps.encoder.timeBase ?? "pinned",
    }),
    deps.onDrift ?? "refuse",
  );
  const { samples, lengths } = await preflight(given, {
    directory, onProgress, onWarning,
    measure: deps.encoder.measure?.bind(deps.encoder),
    answerTokens: (sample) => (sample.kind === "sft" ? model.tokenizer.encode(sample.target).length + 1 : (config as GrpoConfig).maxCompletionLength),
    maxLength: config.maxLength ?? model.config.text.maxPositionEmbeddings,
    onBadRecord: config.onBadRecord,
    isResumed: manifest.former.length === 0,
    signal: deps.signal,
  });
  const { r, alpha, rslora, dropout } = config.lora;
  const adapter = await model.attachLora(config.adapter ?? { r, alpha, rslora }, { name: `${kind}-policy`, trainable: true, seed: config.seed, dropout });
  model.setActiveAdapter(adapter.name);
  const trainable = model.trainable("lora");
  const optimizer = new AdamW({ beta1: config.beta1, beta2: config.beta2, eps: config.adamEps, weightDecay: config.weightDecay });
  const progress: Progress = { step: 0, tokens: 0, skipped: 0, rewardVersion: null, rewards: [], best: null, unlogged: null };
  let values = await trainable.readValues();
  const owner: CheckpointOwner = { manifest, seed: config.seed, names: trainable.names };
  const saved = await directory.restore(owner, (text) => onWarning?.(text));
  if (saved) {
    values = saved.values;
    trainable.assignAll(values);
    if (saved.optimizer) optimizer.restore(saved.optimizer);
    Object.assign(progress, saved.progress);
  }
  let epoch = saved?.epoch ?? 0;
  const log = await StepLog.open(directory, { step: loggedSteps(progress), now: deps.wallClock ?? (() => Date.now() / 1000), onSign: (text) => onWarning?.(text), plan: deps.plan });
  const maxTokens = Math.min(PREVIEW_TOKENS, "maxCompletionLength" in config ? config.maxCompletionLength : PREVIEW_TOKENS);
  const preview = deps.sheets && createPreview({ folder: join(config.runDir, "preview"), model, encoder: deps.encoder, sample: samples[0]!, sheets: deps.sheets, everySteps: config.previewSteps, maxTokens, seed: config.seed, signal: deps.signal });
  const look = async (): Promise<void> => {
    const path = await preview?.(progress.step);
    if (path !== undefined) onWarning?.(`what the model says after ${progress.step} steps: ${path}`);
  };
  const adapterFolder = join(config.runDir, "adapter");

  let savedStep = saved?.progress.step;
  /** Writes a checkpoint of this step unless there is one; returns its folder. */
  const save = async (carried: unknown): Promise<string> => {
    if (savedStep !== progress.step) await write(carried);
    savedStep = progress.step;
    return directory.checkpointAt(progress.step);
  };
  const write = (carried: unknown): Promise<void> =>
    phases.run("save", `step ${progress.step}`, async () => {
      const { rewards, best } = progress;
      const reward = rewards.reduce((a, b) => a + b, 0) / rewards.length;
      if (rewards.length > 0 && (best === null || reward > best.score)) progress.best = { step: progress.step, score: reward };
      progress.rewards = [];
      await directory.save(owner, { progress, epoch, optimizer: optimizer.state(), carried }, (folder) => model.saveLora(folder, adapter.name), config.keepCheckpoints);
    });

  const rateAt = (step: number, totalSteps: number): number =>
    learningRateAt({ type: config.schedule, warmupSteps: config.warmupSteps ?? Math.ceil(WARMUP_SHARE * totalSteps), totalSteps, minLrRate: config.minLrRate }, config.learningRate, step);

  /** Moves the adapter by the gradients; checks everything before anything moves. */
  const update = async (step: number, loss: number, rate: number): Promise<number> => {
    const grads = await trainable.readGradients();
    const norm = clipGradNorm(grads, config.maxGradNorm);
    checkUpdate(step + 1, { loss, norm, grads, names: trainable.names });
    optimizer.step(values, grads, rate);
    trainable.assignAll(values);
    return norm;
  };

  /** One step; undefined when it was left out because something was not finite. */
  const advance = async (step: number, rate: number, compute: StepFunction): Promise<(StepOutcome & { gradNorm: number }) | undefined> => {
    try {
      trainable.zeroGradients();
      const outcome = await compute(step);
      return { ...outcome, gradNorm: await update(step, outcome.loss, rate) };
    } catch (error) {
      if (!(error instanceof NotFiniteError)) throw error;
      await directory.write("nan-report.json", error.report);
      if (config.nanPolicy === "stop" || progress.skipped >= config.maxSkips) throw error;
      onWarning?.(`${error.message}; the step is left out`);
      return undefined;
    }
  };

  const wasStopped = (error: unknown): boolean => deps.signal?.aborted === true && (error === deps.signal.reason || (error instanceof Error && error.name === "AbortError"));

  const run = async (totalSteps: number, compute: StepFunction, { carry, evaluate }: RunOptions = {}): Promise<TrainResult> => {
    if (manifest.finished) return { adapter: adapterFolder, steps: totalSteps, finished: true };
    let carried: unknown = saved?.carried;
    const stop = async (): Promise<TrainResult> => {
      await save(carried);
      return { adapter: undefined, steps: progress.step, finished: false };
    };
    /** Looks at the policy where that is due, then writes the step's line; a stop meanwhile leaves the line to the checkpoint. */
    const conclude = async (line: Metrics): Promise<Evaluation | undefined> => {
      progress.unlogged = line;
      const evaluation = await evaluate?.(progress.step);
      progress.unlogged = null;
      if (evaluation && (progress.best === null || evaluation.score > progress.best.score)) progress.best = { step: progress.step, score: evaluation.score };
      await log.add({
        ...line, ...evaluation?.metrics, step: progress.step, "dramascope/memory/peak": process.resourceUsage().maxRSS * 1024,
        ...Object.fromEntries([...phases.takeSeconds()].map(([name, seconds]) => [`dramascope/time/${name}`, seconds])),
      });
      return evaluation;
    };
    if (progress.unlogged) {
      if (deps.signal?.aborted) return stop();
      try {
        await conclude(progress.unlogged);
      } catch (error) {
        if (wasStopped(error)) return stop();
        throw error;
      }
      savedStep = undefined;
    }
    while (progress.step < totalSteps) {
      if (deps.signal?.aborted) return stop();
      await look();
      const started = clock();
      const rate = rateAt(progress.step, totalSteps);
      let outcome: Awaited<ReturnType<typeof advance>>;
      try {
        outcome = await advance(progress.step, rate, compute);
      } catch (error) {
        if (wasStopped(error)) return stop();
        throw error;
      }
      const stepTime = clock() - started;
      progress.step++;
      carried = carry?.(progress.step);
      progress.skipped = outcome ? 0 : progress.skipped + 1;
      progress.tokens += outcome?.tokens ?? 0;
      const { loss = null, gradNorm = null, metrics = {} } = outcome ?? {};
      epoch = metrics["epoch"] ?? epoch;
      const { reward } = metrics;
      if (typeof reward === "number") progress.rewards.push(reward);
      let evaluation: Evaluation | undefined;
      try {
        evaluation = await conclude({ step: progress.step, loss, grad_norm: gradNorm, learning_rate: rate, num_tokens: progress.tokens, ...metrics, step_time: stepTime });
      } catch (error) {
        if (wasStopped(error)) return stop();
        throw error;
      }
      const isBest = evaluation !== undefined && progress.best?.step === progress.step;
      if (outcome) onProgress?.({ phase: kind, done: progress.step, total: totalSteps, note: typeof reward === "number" ? `reward ${reward.toFixed(3)}, format ${(metrics["rewards/format/mean"] ?? 0).toFixed(2)}, gradient ${outcome.gradNorm.toFixed(3)}` : `loss ${outcome.loss.toFixed(4)}${evaluation ? `, held out ${(-evaluation.score).toFixed(4)}` : ""}` });
      if ((isBest || progress.step % config.saveSteps === 0) && progress.step < totalSteps) await save(carried);
    }
    await look();
    const { hasEffect } = await exportAdapter(await save(undefined), adapterFolder);
    if (!hasEffect) onWarning?.("the adapter changes nothing: all its B matrices are zero; look at learning_rate and grad_norm in metrics.jsonl");
    if (evaluate && progress.best && progress.best.step < progress.step) onWarning?.(`the loss on samples that are held out was the lowest after ${progress.best.step} steps: ${directory.checkpointAt(progress.best.step)}; ${adapterFolder} is that of the last step`);
    await directory.writeManifest({ ...manifest, lineage: { ...manifest.lineage, rewardVersion: progress.rewardVersion }, finished: true });
    return { adapter: adapterFolder, steps: progress.step, finished: true };
  };

  return {
    directory,
    samples,
    lengths,
    manifest,
    adapter,
    trainable,
    progress,
    phases,
    carried: saved?.carried,
    run,
    dispose: () => {
      trainable.dispose();
      adapter.dispose();
      directory.unlock();
    },
  };
}
