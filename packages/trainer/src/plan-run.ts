import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseConfig, prepare, readAdapter, readChatTemplate, readTokenizer, type ChatPart, type Grid, type LoadOptions, type QwenVlConfig, type Tf } from "@dramascope/qwen-vl";
import type { TrainingSample, VideoReference } from "@dramascope/schema";
import { calibrate, SHELLS, type Calibration } from "./calibration.ts";
import type { GrpoConfig, SftConfig } from "./config.ts";
import type { EncoderOptions } from "./encoder.ts";
import { TrainerError } from "./errors.ts";
import { weightHeaders } from "./model-shell.ts";
import { adapterParameters, forwardFlops, gradientBytes, layerParameters, rolloutBytes, rowsOf, scoreBytes, type CallShape, type PlannedTime, type RunPlan, type Spread } from "./run-plan.ts";
import { newShapes, workOf, type Work } from "./run-work.ts";
import { looksOf, visionBytes, visionFlops, type Looks } from "./vision-plan.ts";

/** What {@link planRun} needs beside settings and samples. */
export interface PlanDeps {
  /** Folder of the model; of its weights only the headers are read. */
  model: string;
  /** Temporal grids, rows and columns of a video in patches of 14 pixels, without decoding it. */
  gridOf: (video: VideoReference, sample: TrainingSample) => Promise<Grid>;
  /** Reads the frames of a video, to measure what that takes; without it reading is not counted. */
  loadFrames?: EncoderOptions["loadFrames"];
  /** Back end to measure on; without it the plan has no time. */
  tf?: Tf;
  /** Vision tokens whose features the encoder will keep, as in {@link EncoderOptions}. Default 200000. */
  maxCachedTokens?: number;
  /** As the model will be loaded. */
  load?: Pick<LoadOptions, "dtype" | "products" | "queryChunk" | "logitsChunk" | "vocabChunk" | "keepBytes">;
  /** Seconds from any fixed start; for measuring. */
  clock?: () => number;
  signal?: AbortSignal;
}

/** Operations that measuring may take a call; larger calls are measured at a smaller shape. */
const CALIBRATION_FLOPS = 4e11;
/** First and last but one of the steps that a plan is held against, from 0. */
const EARLY_STEPS = [1, 3] as const;
/** What calls of one shape leave in the process: compiled functions, and memory that its allocator does not join again. Measured with models of 1 and 20 million weights. */
const SHAPE_BYTES = 28 * 2 ** 20;
/** Shapes whose functions a model keeps. */
const KEPT_SHAPES = 25;
/** Memory of Node with a loaded TensorFlow and this program, where nothing was measured. */
const BASE_BYTES = 420 * 2 ** 20;

const monotonic = (): number => performance.now() / 1000;

function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: sorted[0]!, median: sorted[Math.floor(sorted.length / 2)]!, max: sorted.at(-1)! };
}

/** Prompt and answer tokens of every sample, as the template renders them, and the grids of its videos; samples whose videos cannot be found are left out, as they are in a run. */
async function countTokens(config: QwenVlConfig, given: readonly TrainingSample[], { model, gridOf }: PlanDeps): Promise<{ samples: TrainingSample[]; prompts: number[]; targets: number[]; videos: Grid[][]; firstFault: string | undefined }> {
  const tokenizer = await readTokenizer(model);
  if (!tokenizer) throw new TrainerError(`${model} has no tokenizer.json`, { code: "NO_TOKENIZER", hint: "Add the checkpoint's tokenizer.json: without it no tokens can be counted." });
  const template = await readChatTemplate(model);
  const prompts: number[] = [];
  const targets: number[] = [];
  const videos: Grid[][] = [];
  const samples: TrainingSample[] = [];
  let [fault, firstFault]: [unknown, string | undefined] = [undefined, undefined];
  for (const sample of given) {
    let grids: Grid[];
    try {
      grids = await Promise.all(sample.videos.map((video) => gridOf(video, sample)));
    } catch (error) {
      fault = error;
      firstFault ??= `${sample.sampleId}: ${(error as Error).message}`;
      continue;
    }
    samples.push(sample);
    videos.push(grids);
    const part = (one: { type: "text"; text: string } | { type: "video"; video: number }): ChatPart =>
      one.type === "text" ? { type: "text", text: one.text } : { type: "video", item: { kind: "video", grid: grids[one.video]!, patches: new Uint8Array(0) } };
    const messages = sample.messages.map(({ role, content }) => ({ role, content: typeof content === "string" ? content : content.map(part) }));
    prompts.push(prepare({ config, tokenizer, template, mrope: "qwen" }, messages).ids.length);
    if (sample.kind === "sft") targets.push(tokenizer.encode(sample.target).length + 1);
  }
  if (samples.length === 0) throw new TrainerError(`the videos of none of ${given.length} samples are there; the last: ${(fault as Error).message}`, { code: "NO_SAMPLES", cause: fault, hint: "Check the exported data set and where its frames are." });
  return { samples, prompts, targets, videos, firstFault };
}

/** The same call with shorter prompts and completions, so that a forward and backward of the larger shell stays within {@link CALIBRATION_FLOPS}. */
function shortened(config: QwenVlConfig, shape: CallShape): CallShape {
  let share = 1;
  const cut = (): CallShape => ({ ...shape, promptTokens: Math.max(16, Math.round(shape.promptTokens * share)), completionTokens: Math.max(4, Math.round(shape.completionTokens * share)) });
  while (share > 1e-3 && 3 * forwardFlops(config, SHELLS[1], cut()) > CALIBRATION_FLOPS) share *= 0.8;
  return share === 1 ? shape : cut();
}

/** Shapes that were measured. */
interface MeasuredShapes {
  gradient: CallShape;
  rollout: CallShape | undefined;
}

/** Seconds by part out of what was measured at a shorter shape. */
function timeOf(config: QwenVlConfig, work: Work, looks: Looks & { firstLooks: number; reading: number }, measured: Calibration, shapes: MeasuredShapes): PlannedTime {
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
  const vision = looks.measured === undefined ? 0 : work.samples * (looks.reading + (measured.vision * looks.flops) / visionFlops(config, looks.measured));
  const later = (gradient + score + rollout) / work.stepsPerGeneration + measured.update;
  const step = later + vision / work.stepsPerGeneration;
  // Steps differ in length, and calls of a new shape are compiled first: what comes first is known call by call.
  const fresh = newShapes(work.calls);
  const early = work.calls.map((calls, i) => calls.reduce((sum, call) => sum + measured.gradient * growth(call, shapes.gradient), 0) + measured.compile * fresh[i]! + measured.update + vision).slice(...EARLY_STEPS);
  return {
    vision, rollout, score, gradient, step, early: early.length === 0 ? step : early.reduce((a, b) => a + b, 0) / early.length,
    total: later * work.steps + vision * looks.firstLooks + work.evaluationCalls * measured.score * pass, calibration: measured.seconds,
  };
}

/** Seconds to read the frames of a sample, on average: those of the sample with the most, measured, by their share. */
async function secondsOfReading(samples: readonly TrainingSample[], videos: readonly (readonly Grid[])[], looks: Looks, { loadFrames, clock = monotonic }: PlanDeps): Promise<number> {
  const sample = samples[videos.indexOf(looks.largest)];
  if (!loadFrames || !sample) return 0;
  const started = clock();
  try {
    for (const video of sample.videos) await loadFrames(video, sample);
  } catch {
    // A run names samples that cannot be read, and leaves them out.
    return 0;
  }
  return ((clock() - started) * looks.share) / samples.length;
}

/** Rank of the run's adapter and its number of values. */
async function adapterValues(model: QwenVlConfig, config: SftConfig | GrpoConfig): Promise<number> {
  if (config.adapter === undefined) return adapterParameters(model, config.lora.r);
  const { modules } = await readAdapter(config.adapter);
  return modules.reduce((sum, { a, b }) => sum + a.values.length + b.values.length, 0);
}

/**
 * What a run will take, before it starts: tokens, parameters, operations, memory, disk, and with a back end the time. Nothing is written and no weight
 * is read, only the headers of the model's files. GRPO is planned for completions of the greatest length, which is an upper bound; SFT for its targets.
 *
 * @throws TrainerError `NO_SAMPLES`; `NO_TOKENIZER` for a model without one; QwenVlError for files that do not belong together.
 */
export async function planRun(config: SftConfig | GrpoConfig, given: readonly TrainingSample[], deps: PlanDeps): Promise<RunPlan> {
  if (given.length === 0) throw new TrainerError("there are no samples", { code: "NO_SAMPLES", hint: "Check the exported data set." });
  const model = parseConfig(JSON.parse(await readFile(join(deps.model, "config.json"), "utf8")));
  const { dtype = "float32", queryChunk = 512, keepBytes = 2 ** 30 } = deps.load ?? {};
  const { layers } = model.text;
  const { samples, prompts, targets, videos, firstFault } = await countTokens(model, given, deps);
  const work = workOf(model, config, samples, { prompts, targets });
  const looks = looksOf(model, [...new Map(samples.map((sample, i) => [JSON.stringify(sample.videos), videos[i]!])).values()], samples.length, CALIBRATION_FLOPS);
  const { maxCachedTokens = 200_000 } = deps;
  const headers = await weightHeaders(deps.model);
  const weightBytesOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1) * (dtype === "bfloat16" && shape.length > 1 ? 2 : 4);
  const weights = headers.reduce((sum, { shape }) => sum + weightBytesOf(shape), 0);
  const trained = await adapterValues(model, config);
  const memory = {
    weights,
    adapter: 16 * trained,
    features: 4 * model.text.hiddenSize * Math.min(looks.tokens, maxCachedTokens),
    vision: visionBytes(model, looks.largest, queryChunk),
    rollout: work.rollout ? rolloutBytes(model, layers, work.rollout, queryChunk) : 0,
    score: work.scoreCalls === 0 ? 0 : scoreBytes(model, work.gradient, queryChunk),
    gradient: gradientBytes(model, layers, work.gradient, keepBytes, queryChunk),
  };
  const shapes = { gradient: shortened(model, work.gradient), rollout: work.rollout && { ...shortened(model, work.rollout), completionTokens: work.rollout.completionTokens } };
  const generations = work.steps / work.stepsPerGeneration;
  const firstLooks = looks.tokens <= maxCachedTokens ? Math.min(generations, Math.ceil(samples.length / work.samples)) : generations;
  const measured = deps.tf && (await calibrate({ model: deps.model, tf: deps.tf, load: deps.load ?? {}, keepBytes, layers, lora: config.lora, completionChunk: "completionChunk" in config ? config.completionChunk : undefined, ...shapes, vision: looks.measured, clock: deps.clock ?? monotonic, signal: deps.signal }));
  const largest = (Math.min(KEPT_SHAPES, work.shapes) - 1) * SHAPE_BYTES + Math.max(memory.vision, memory.rollout, memory.score, memory.gradient);
  const layerBytes = layerParameters(model) * (dtype === "bfloat16" ? 2 : 4);
  // What was measured has two layers and perhaps a shorter call: the rest is added by the formulas.
  const shellWork = Math.max(gradientBytes(model, SHELLS[1], shapes.gradient, (keepBytes * SHELLS[1]) / layers, queryChunk), shapes.rollout ? rolloutBytes(model, SHELLS[1], shapes.rollout, queryChunk) : 0, looks.measured ? visionBytes(model, [looks.measured], queryChunk) : 0);
  const base = measured ? measured.peakBytes - shellWork - (weights - (layers - SHELLS[1]) * layerBytes) : BASE_BYTES;
  const unshared = work.gradientCalls * rowsOf({ ...work.gradient, prompts: work.gradient.prompts * work.gradient.completions, completions: 1 });
  const forward = forwardFlops(model, layers, work.gradient);
  return {
    kind: "batchSize" in config ? "sft" : "grpo",
    samples: samples.length,
    leftOut: firstFault === undefined ? undefined : { samples: given.length - samples.length, first: firstFault, endsRun: config.onBadRecord === "stop" },
    steps: work.steps,
    tokens: { prompt: spreadOf(prompts), completion: work.rollout ? { min: 1, median: work.gradient.completionTokens, max: work.gradient.completionTokens } : spreadOf(targets) },
    parameters: { total: headers.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0), trained },
    linearTokens: { shared: work.gradientCalls * rowsOf(work.gradient), unshared },
    flops: 3 * work.gradientCalls * forward + work.scoreCalls * forward + (work.rollout ? forwardFlops(model, layers, work.rollout) : 0) + work.samples * looks.flops,
    memory: { ...memory, peak: base + weights + memory.adapter + memory.features + largest },
    checkpoint: { each: 12 * trained, kept: 12 * trained * (config.keepCheckpoints + 1) },
    time: measured && timeOf(model, work, { ...looks, firstLooks, reading: await secondsOfReading(samples, videos, looks, deps) }, measured, shapes),
  };
}
