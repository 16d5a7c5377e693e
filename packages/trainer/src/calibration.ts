import { readFile, writeFile } from "node:fs/promises";
import { loadQwenVl, type Grid, type LoadOptions, type Prompt, type QwenVl, type Tf } from "@dramascope/qwen-vl";
import { withModelShell } from "./model-shell.ts";
import { AdamW } from "./optimizer.ts";
import { chunked } from "./policy-pass.ts";
import type { CallShape } from "./run-plan.ts";
import { patchesOf } from "./vision-plan.ts";

/** What {@link calibrate} measures. */
export interface CalibrationOptions {
  /** Folder of the model. */
  model: string;
  tf: Tf;
  load: Pick<LoadOptions, "dtype" | "products" | "queryChunk" | "logitsChunk" | "vocabChunk">;
  /** As in `loadQwenVl`, for all layers of the model. */
  keepBytes: number;
  /** Decoder layers of the model. */
  layers: number;
  lora: { r: number; alpha: number; rslora: boolean; dropout: number };
  /** Rows of one forward and backward. */
  gradient: CallShape;
  /** Completions of one piece of a call; default all. */
  completionChunk: number | undefined;
  /** Rows that are drawn at once; undefined for SFT. */
  rollout: CallShape | undefined;
  /** A video for the tower; undefined for data without any. */
  vision: Grid | undefined;
  /** Seconds from any fixed start. */
  clock: () => number;
  signal?: AbortSignal | undefined;
}

/** Seconds for a number of layers. */
interface PartSeconds {
  /** One call of the gradient's shape. */
  gradient: number;
  /** What the first call of a shape takes longer than the next; it does not depend on the layers. */
  compile: number;
  /** One step of the optimiser. */
  update: number;
  /** One scoring call of that shape. */
  score: number;
  /** Prefill of all prompts of the rollout. */
  prefill: number;
  /** One token of all completions. */
  token: number;
}

/** Seconds of the whole model's calls, and bytes that a process with a shell took at its peak. */
export interface Calibration extends PartSeconds {
  /** The tower over the given video. */
  vision: number;
  /** Peak of the process with a shell of {@link SHELLS}`[1]` layers. */
  peakBytes: number;
  /** Seconds it took. */
  seconds: number;
}

/** Layers of the two shells whose difference is the cost of one layer. */
export const SHELLS = [1, 2] as const;
/** Tokens over which the cost of drawing one is measured. */
const DRAWN = 12;

/** Calls of which the middle counts; an odd number. */
const REPEATS = 3;

/** Peak of the process since {@link forgetPeak}; where the system cannot forget, since its start. Bytes. */
async function peakBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8").catch(() => "");
  const match = /^VmHWM:\s+(\d+) kB$/mu.exec(status);
  return match === null ? process.resourceUsage().maxRSS * 1024 : Number(match[1]) * 1024;
}

async function forgetPeak(): Promise<void> {
  await writeFile("/proc/self/clear_refs", "5").catch(() => undefined);
}

/** Text of so many tokens that means nothing. */
function blankPrompt(tokens: number): Prompt {
  const places = Array.from({ length: tokens }, (_, i) => i);
  return { ids: new Int32Array(tokens).fill(1), positionIds: Int32Array.from([...places, ...places, ...places]), nextPosition: tokens, segments: [{ text: tokens }], vision: [], text: "" };
}

/** Seconds of the first call, which compiles, and the middle of those after it. */
async function timesOf(clock: () => number, call: () => Promise<unknown>): Promise<{ first: number; later: number }> {
  const began = clock();
  await call();
  const first = clock() - began;
  const seconds: number[] = [];
  while (seconds.length < REPEATS) {
    const started = clock();
    await call();
    seconds.push(clock() - started);
  }
  return { first, later: seconds.sort((a, b) => a - b)[(REPEATS - 1) / 2]! };
}

const secondsOf = async (clock: () => number, call: () => Promise<unknown>): Promise<number> => (await timesOf(clock, call)).later;

/** Measures the calls of a step on a model with few layers. */
async function measure(model: QwenVl, { lora, gradient, completionChunk, rollout, clock, signal }: CalibrationOptions): Promise<PartSeconds> {
  const adapter = await model.attachLora({ r: lora.r, alpha: lora.alpha, rslora: lora.rslora }, { name: "calibration", trainable: true, dropout: lora.dropout });
  const trainable = model.trainable("lora");
  try {
    const prompt = blankPrompt(gradient.promptTokens);
    const completions = Array.from({ length: gradient.completions }, () => new Int32Array(gradient.completionTokens).fill(1));
    const given = { ...(signal && { signal }), ...chunked({ completionChunk }) };
    const optimizer = new AdamW({ beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 });
    const values = await trainable.readValues();
    const update = async (): Promise<void> => {
      optimizer.step(values, await trainable.readGradients(), 0);
      trainable.assignAll(values);
    };
    const falling = (rows: readonly Float32Array[]): Float64Array[] => rows.map((row) => new Float64Array(row.length).fill(1e-3));
    if (!rollout) {
      const groups = Array.from({ length: gradient.prompts }, () => ({ prompt, completions }));
      const step = (): Promise<unknown> => model.groupLogProbsWithGradient(groups, { ...given, entropy: true, best: true, dropoutSeed: 0, gradient: (rows) => ({ loss: 0, dLogProbs: rows.map(falling) }) });
      const { first, later } = await timesOf(clock, step);
      return { gradient: later, compile: Math.max(0, first - later), update: await secondsOf(clock, update), score: await secondsOf(clock, () => model.groupLogProbs(groups, { ...given })), prefill: 0, token: 0 };
    }
    const pass = {
      compile: 0,
      gradient: await secondsOf(clock, () => model.logProbsWithGradient(prompt, completions, { ...given, entropy: true, dropoutSeed: 0, gradient: (rows) => ({ loss: 0, dLogProbs: falling(rows) }) })),
      update: await secondsOf(clock, update),
      score: await secondsOf(clock, () => model.logProbs(prompt, completions, { ...given })),
    };
    const prompts = Array.from({ length: rollout.prompts }, () => blankPrompt(rollout.promptTokens));
    const draw = (tokens: number): Promise<number> => secondsOf(clock, () => model.generate(prompts, { ...(signal && { signal }), maxNewTokens: tokens, n: rollout.completions, stopIds: [], maxRows: rollout.prompts * rollout.completions }));
    const [one, several] = [await draw(1), await draw(1 + DRAWN)];
    const token = Math.max(0, several - one) / DRAWN;
    return { ...pass, prefill: Math.max(0, one - token), token };
  } finally {
    trainable.dispose();
    adapter.dispose();
  }
}

/** Seconds of the tower, which is whole in every shell. */
async function measureVision(model: QwenVl, grid: Grid, { clock, signal }: CalibrationOptions): Promise<number> {
  const { inChannels, temporalPatchSize, patchSize } = model.config.vision;
  const item = { kind: "video" as const, grid, patches: new Uint8Array(patchesOf(grid) * inChannels * temporalPatchSize * patchSize ** 2) };
  return secondsOf(clock, async () => {
    const features = await model.encodeVideos([item], { ...(signal && { signal }) });
    features.forEach((one) => one.dispose());
  });
}

/**
 * Measures what the calls of a run will take, on the very code and back end of the run: two models of the same widths with one and two
 * layers and weights of zero are made, and their difference is the cost of each further layer. No weight of the real model is read.
 *
 * @throws QwenVlError when the memory does not do for the shells.
 */
export async function calibrate(options: CalibrationOptions): Promise<Calibration> {
  const { model: folder, tf, load, keepBytes, layers, clock, signal } = options;
  const started = clock();
  await forgetPeak();
  const measured: PartSeconds[] = [];
  let peak = 0;
  let vision = 0;
  for (const count of SHELLS) {
    await withModelShell(folder, count, async (shell) => {
      const model = await loadQwenVl(shell, { tf, ...load, keepBytes: (keepBytes * count) / layers, ...(signal && { signal }) });
      try {
        measured.push(await measure(model, options));
        if (count === SHELLS[1] && options.vision) vision = await measureVision(model, options.vision, options);
        peak = await peakBytes();
      } finally {
        model.dispose();
      }
    });
  }
  const [one, two] = measured as [PartSeconds, PartSeconds];
  const all = (part: Exclude<keyof PartSeconds, "compile">): number => one[part] + (layers - 1) * Math.max(0, two[part] - one[part]);
  return { gradient: all("gradient"), update: all("update"), score: all("score"), compile: two.compile, prefill: all("prefill"), token: all("token"), vision, peakBytes: peak, seconds: clock() - started };
}
