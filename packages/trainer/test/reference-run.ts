import { mkdtemp, readFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openSafetensors, positionIds, readAdapter, type Prompt, type QwenVl, type Sample, type Segment, type TrainableSet, type VisionItem } from "@dramascope/qwen-vl";
import type { GrpoSample, RewardBreakdown, SftSample } from "@dramascope/schema";
import { trainGrpo, trainSft, type GrpoConfigInput, type SampleEncoder } from "@dramascope/trainer";
import { expect } from "vitest";

/** Path below the trainer's reference data. */
export const reference = (name: string): string => fileURLToPath(new URL(`../../../test-fixtures/goldens/trainer/${name}`, import.meta.url));
const json = <T>(name: string): T => JSON.parse(readFileSync(reference(name), "utf8")) as T;

/** Tensors of one moment by PEFT name. */
export type Tensors = Map<string, Float32Array>;

/** Tensors of a file. */
export async function readTensors(name: string): Promise<Tensors> {
  const file = await openSafetensors(reference(name));
  const out: Tensors = new Map();
  for (const one of file.names) out.set(one, (await file.read(one)).values as Float32Array);
  await file.close();
  return out;
}

/** Norm of the difference of all tensors over the norm of the expected ones' distance from `start`, or of themselves. */
export function relativeError(actual: Tensors, expected: Tensors, start?: Tensors): number {
  expect([...actual.keys()].sort()).toEqual([...expected.keys()].sort());
  let [difference, size] = [0, 0];
  for (const [name, values] of expected) {
    values.forEach((value, i) => {
      difference += (actual.get(name)![i]! - value) ** 2;
      size += (value - (start?.get(name)![i] ?? 0)) ** 2;
    });
  }
  return Math.sqrt(difference / size);
}

/** What a model was asked for in a run. */
export interface Watched {
  model: QwenVl;
  /** Gradients of each optimiser step before clipping. */
  gradients: Tensors[];
  /** Adapter after each optimiser step. */
  values: Tensors[];
  /** Log-probabilities and entropies of each policy pass. */
  passes: { logProbs: Float32Array[]; entropy?: Float32Array[] }[];
  /** Log-probabilities of each call without gradient. */
  scores: Float32Array[][];
}

/** An object with some of its members replaced. */
export function overlay<T extends object>(target: T, own: Partial<T>): T {
  return new Proxy(target, {
    get: (_target, key) => {
      if (key in own) return Reflect.get(own, key) as unknown;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

/** The model with a look at its calls, and with other values for some of its members. */
export function watch(model: QwenVl, members: Partial<QwenVl> = {}): Watched {
  const watched: Watched = { model, gradients: [], values: [], passes: [], scores: [] };
  const named = (names: readonly string[], arrays: readonly Float32Array[]): Tensors => new Map(names.map((name, i) => [`base_model.model.${name}`, arrays[i]!.slice()]));
  const watchSet = (set: TrainableSet): TrainableSet =>
    overlay(set, {
      readGradients: async () => {
        const read = await set.readGradients();
        watched.gradients.push(named(set.names, read));
        return read;
      },
      assignAll: (given) => {
        watched.values.push(named(set.names, given));
        set.assignAll(given);
      },
    });
  watched.model = overlay(model, {
    ...members,
    trainable: (select) => watchSet(model.trainable(select)),
    logProbs: async (...args) => {
      const scored = await model.logProbs(...args);
      watched.scores.push(scored.logProbs);
      return scored;
    },
    logProbsWithGradient: async (...args) => {
      const pass = await model.logProbsWithGradient(...args);
      watched.passes.push(pass);
      return pass;
    },
  });
  return watched;
}

/** A prompt of token ids, with videos where pads of theirs stand; positions by the rule of transformers 5, which made the reference. */
export function promptOf({ config }: QwenVl, ids: readonly number[], videos: readonly VisionItem[] = []): Prompt {
  const segments: Segment[] = [];
  let [next, at, text] = [0, 0, 0];
  const endText = (): void => {
    if (text > 0) segments.push({ text });
    text = 0;
  };
  while (at < ids.length) {
    if (ids[at] === config.videoTokenId) {
      endText();
      const [t, h, w] = videos[next++]!.grid;
      segments.push({ video: [t, h, w], secondsPerGrid: 1 });
      at += (t * h * w) / config.vision.spatialMergeSize ** 2;
    } else {
      text++;
      at++;
    }
  }
  endText();
  const positions = positionIds(segments, { rule: "hf5", spatialMerge: config.vision.spatialMergeSize, tokensPerSecond: config.vision.tokensPerSecond });
  return { ids: Int32Array.from(ids), ...positions, segments, vision: [...videos], text: "" };
}

async function videosOf(name: string, grids: readonly (readonly [number, number, number])[] | undefined): Promise<VisionItem[]> {
  if (!grids) return [];
  const pixels = (await readTensors(`e2e/${name}/pixels.safetensors`)).get("pixel_values_videos")!;
  const width = pixels.length / grids.reduce((sum, [t, h, w]) => sum + t * h * w, 0);
  let row = 0;
  return grids.map((grid): VisionItem => {
    const rows = grid[0] * grid[1] * grid[2];
    const patches = pixels.slice(row * width, (row + rows) * width);
    row += rows;
    return { kind: "video", grid, patches, secondsPerGrid: 1 };
  });
}

interface Step { loss: number; gradNorm: number; learningRate: number; entropy: number; tokens: number }
type Line = Record<string, number | null>;

const linesOf = async (runDir: string, file: string): Promise<Line[]> => (await readFile(join(runDir, file), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Line);

const near = (actual: number | null | undefined, expected: number, tolerance: number, where: string): void => expect(Math.abs((actual ?? Number.NaN) - expected), `${where}: ${String(actual)} for ${expected}`).toBeLessThanOrEqual(tolerance * (1 + Math.abs(expected)));

/** What both kinds of run are held against: loss, norm and rate of every step, the first gradients, and the adapter after some steps. */
async function compare(name: string, watched: Watched, lines: readonly Line[], steps: readonly Step[], adapter: string): Promise<void> {
  expect(lines).toHaveLength(steps.length);
  for (const [i, step] of steps.entries()) {
    near(lines[i]!["loss"], step.loss, 2e-5, `loss of step ${i + 1}`);
    near(lines[i]!["grad_norm"], step.gradNorm, 1e-4, `norm of step ${i + 1}`);
    near(lines[i]!["learning_rate"], step.learningRate, 1e-8, `rate of step ${i + 1}`);
    near(lines[i]!["entropy"], step.entropy, 2e-5, `entropy of step ${i + 1}`);
  }
  expect(relativeError(watched.gradients[0]!, await readTensors(`e2e/${name}/grad-step1.safetensors`))).toBeLessThan(1e-4);
  const start: Tensors = new Map((await readAdapter(reference(`adapters/${adapter}`))).modules.flatMap(({ module, a, b }) => [[`base_model.model.${module}.lora_A.weight`, a.values], [`base_model.model.${module}.lora_B.weight`, b.values]]));
  const kept = [1, 2, 3, 4].filter((step) => step <= steps.length && lines[step - 1]!["learning_rate"] !== 0 && savedSteps(name).includes(step));
  expect(kept).toContain(steps.length);
  for (const step of kept) expect(relativeError(watched.values[step - 1]!, await readTensors(`e2e/${name}/adapter-step${step}.safetensors`), start), `adapter after step ${step}`).toBeLessThan(1e-3);
}

/** Steps after which the reference kept its adapter. */
function savedSteps(name: string): number[] {
  return name === "sft-text" ? [1, 2, 4] : name.includes("mu2") ? [1, 3, 4] : [1, 3];
}

interface GrpoRun {
  config: GrpoSettings & {
    promptsPerGeneration: number;
    adapter: "fresh" | "sft";
    reference: "base" | "sft";
  };
  table: { promptIds: number[]; completions: { ids: number[]; rewards: [number, number, number, number] }[] }[];
  videoGridThw?: [number, number, number][];
  promptPositionIds?: number[][];
  steps: (Step & { kl: number; clipLowMean: number; clipHighMean: number; reward: number; rewardStd: number; advantages: number[] })[];
  first: { logps: number[][]; refLogps: number[][]; entropies: number[][] };
  trlLog?: Record<string, number>[];
}

const SETTINGS = ["numGenerations", "numIterations", "gradientAccumulationSteps", "temperature", "beta", "biasCorrectionKl", "epsilon", "epsilonHigh", "lossType", "importanceSamplingLevel", "maxCompletionLength", "learningRate", "schedule", "warmupSteps", "weightDecay", "maxGradNorm"] as const;
type GrpoSettings = { [Name in (typeof SETTINGS)[number]]: NonNullable<GrpoConfigInput[Name]> };

/** Values that TRL logs in another sense: prompts count as tokens, and a rate is that of the next step. */
const OTHER_SENSE = new Set(["num_tokens", "learning_rate"]);

/** Trains with the reference's prompts, completions and rewards, and compares all it tells with what TRL and the reference loop told. */
export async function checkGrpoRun(model: QwenVl, name: string): Promise<void> {
  const { config, table, videoGridThw, promptPositionIds, steps, first, trlLog } = json<GrpoRun>(`e2e/${name}/run.json`);
  const { promptsPerGeneration, adapter, reference: kind } = config;
  const settings = Object.fromEntries(SETTINGS.map((key) => [key, config[key]])) as unknown as GrpoSettings;
  const videos = await videosOf(name, videoGridThw);
  const rowsOf = (generation: number): GrpoRun["table"] => table.slice(generation * promptsPerGeneration, (generation + 1) * promptsPerGeneration);
  const prompts = (generation: number): Prompt[] => rowsOf(generation).map(({ promptIds }) => promptOf(model, promptIds, videos));
  if (promptPositionIds) expect([...prompts(0)[0]!.positionIds]).toEqual(promptPositionIds.flat());
  const runDir = await mkdtemp(join(tmpdir(), "dramascope-grpo-"));
  const samples = Array.from({ length: promptsPerGeneration }, (_sample, i): GrpoSample => ({ kind: "grpo", sampleId: String(i), messages: [{ role: "user", content: "x" }], videos: [], quality: 3, caption: "x", comments: [] }));
  const watched = watch(model);
  let generation = 0;
  const pending = prompts(0);
  const encoder: SampleEncoder = { encode: () => Promise.resolve(pending.shift()!), warm: () => Promise.resolve(), dispose: () => undefined };
  const { finished } = await trainGrpo(
    { ...settings, runDir, adapter: reference(`adapters/${adapter}`), steps: table.length / promptsPerGeneration, promptsPerStep: promptsPerGeneration, reference: kind === "base" ? "base" : "start" },
    samples,
    {
      model: watched.model,
      encoder,
      rollout: (_prompts, index) => {
        generation = index;
        pending.push(...prompts(index + 1));
        return Promise.resolve(rowsOf(index).map(({ completions }) => completions.map(({ ids }): Sample => ({ ids: Int32Array.from(ids), text: ids.join(" "), logProbs: new Float32Array(ids.length), finishReason: ids.at(-1) === 2 ? "stop" : "length" }))));
      },
      reward: () => Promise.resolve(rowsOf(generation).flatMap(({ completions }) => completions.map(({ rewards: [caption, comments, accuracy, format] }): RewardBreakdown => ({ caption, comments, accuracy, format, total: 0, reasons: [], version: "x" })))),
    },
  );
  expect(finished).toBe(true);
  const lines = await linesOf(runDir, "metrics.jsonl");
  await compare(name, watched, lines, steps, adapter);
  steps.forEach((step, i) => {
    near(lines[i]!["kl"], step.kl, 2e-5, `KL of step ${i + 1}`);
    near(lines[i]!["clip_ratio/low_mean"], step.clipLowMean, 1e-6, `low clips of step ${i + 1}`);
    near(lines[i]!["clip_ratio/high_mean"], step.clipHighMean, 1e-6, `high clips of step ${i + 1}`);
  });
  const logged = (await linesOf(runDir, "completions.jsonl")).map(({ advantage }) => advantage);
  steps.filter((_step, i) => i % config.numIterations === 0).flatMap(({ advantages }) => advantages).forEach((value, i) => near(logged[i], value, 1e-6, `advantage ${i}`));
  // Of the first generation, token by token.
  const flat = (rows: readonly ArrayLike<number>[][]): number[] => rows.flat().flatMap((row) => Array.from(row));
  const firstPasses = watched.passes.slice(0, promptsPerGeneration);
  const scores = watched.scores.slice(0, watched.scores.length / (table.length / promptsPerGeneration));
  first.logps.flat().forEach((value, i) => near(flat(firstPasses.map(({ logProbs }) => logProbs))[i], value, 2e-5, `log-probability ${i}`));
  first.entropies.flat().forEach((value, i) => near(flat(firstPasses.map(({ entropy }) => entropy!))[i], value, 2e-5, `entropy ${i}`));
  first.refLogps.flat().forEach((value, i) => near(flat(scores.slice(-promptsPerGeneration))[i], value, 2e-5, `reference log-probability ${i}`));
  // TRL's means of clipping and KL over micro-batches are not those over tokens.
  if (config.gradientAccumulationSteps === 1) {
    trlLog?.forEach((line, i) => {
      for (const [key, value] of Object.entries(line)) if (!OTHER_SENSE.has(key)) near(lines[i]![key], value, 1e-4, `${key} of step ${i + 1}`);
    });
  }
}

interface SftRun {
  config: { learningRate: number; schedule: "cosine" | "linear"; warmupSteps: number; weightDecay: number; maxGradNorm: number; epochs: number; adapter: "fresh" };
  samples: { promptIds: number[]; completionIds: number[]; grids?: [number, number, number][] }[];
  videoGridThw?: [number, number, number][];
  steps: (Step & { meanTokenAccuracy: number })[];
}

/** Trains with the reference's samples, all of them in every step, and compares. */
export async function checkSftRun(model: QwenVl, name: string): Promise<void> {
  const { config, samples, videoGridThw, steps } = json<SftRun>(`e2e/${name}/run.json`);
  const { adapter, ...settings } = config;
  const videos = await videosOf(name, videoGridThw);
  const runDir = await mkdtemp(join(tmpdir(), "dramascope-sft-"));
  const records = samples.map((_sample, i): SftSample => ({ kind: "sft", sampleId: String(i), messages: [{ role: "user", content: "x" }], videos: [], target: String(i) }));
  // The reference has token ids only: a tokenizer that looks them up stands in.
  const tokenizer = { ...model.tokenizer, encode: (text: string) => samples[Number(text)]!.completionIds.slice(0, -1) };
  const watched = watch(model, { tokenizer, generationConfig: { eosTokenIds: [2] } });
  await trainSft({ ...settings, runDir, adapter: reference(`adapters/${adapter}`), lora: { dropout: 0 }, batchSize: samples.length }, records, {
    model: watched.model,
    encoder: { encode: ({ sampleId }) => Promise.resolve(promptOf(model, samples[Number(sampleId)]!.promptIds, samples[Number(sampleId)]!.grids ? videos : [])), warm: () => Promise.resolve(), dispose: () => undefined },
  });
  const lines = await linesOf(runDir, "metrics.jsonl");
  await compare(name, watched, lines, steps, adapter);
  steps.forEach(({ meanTokenAccuracy }, i) => near(lines[i]!["mean_token_accuracy"], meanTokenAccuracy, 1e-6, `accuracy of step ${i + 1}`));
}
