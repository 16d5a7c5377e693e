import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeAdapter, type AdapterModule } from "@dramascope/qwen-vl";
import { createRandom } from "@dramascope/schema";
import { checkpointOf, decoderLinears, type ModelName } from "./model-checkpoint.ts";
import { startSide, type Dtype, type Side } from "./model-side.ts";

const CACHE = fileURLToPath(new URL("../../.cache/bench/", import.meta.url));
const RANK = 16;
const ALPHA = 32;

/** One optimisation step: whether the prompt is computed once for all completions, or again in every one. */
export type Way = "shared" | "unshared";

/** Work of one step. */
export interface StepShape {
  /** Tokens of the prompt. */
  prompt: number;
  completions: number;
  /** Tokens of every completion. */
  tokens: number;
  /** Completions that `unshared` computes at once. */
  micro: number;
  /** Completions that our `shared` computes at once; default all. */
  chunk?: number;
}

/** A step: `step` moves the adapter, on policy; `gradients` leaves it as it is and has ratios off 1, so that clipping acts. */
export interface StepRequest {
  task: "step" | "gradients";
  way: Way;
  ids: number[];
  completions: number[][];
  advantages: number[];
  micro: number;
  chunk: number | null;
}

/** What a side says of a step. */
export interface StepAnswer {
  seconds: number;
  /** Processor seconds of all its threads. */
  cpuSeconds: number;
  /** Resident memory before the step, MiB. */
  startMiB: number;
  /** Highest resident memory during the step, MiB. */
  peakMiB: number;
  loss: number;
  gradNorm: number;
  /** Completion tokens that went into the loss. */
  tokens: number;
  /** Largest change of an entry of the adapter. */
  moved: number;
  /** Gradient of every matrix by its name in the adapter file, row-major; only of `gradients`. */
  gradients?: Record<string, number[]>;
}

/** A process that does steps. */
export type StepSide = Side<StepRequest, StepAnswer>;

/** A step's data, the same every time. */
export function requestOf(task: StepRequest["task"], way: Way, { prompt, completions, tokens, micro, chunk = completions }: StepShape): StepRequest {
  const random = createRandom(5, { stream: prompt });
  const ids = (length: number): number[] => Array.from({ length }, () => 100 + Math.floor(random.uniform() * 1900));
  const raw = Array.from({ length: completions }, () => random.normal());
  const centre = raw.reduce((a, b) => a + b, 0) / completions;
  return { task, way, ids: ids(prompt), completions: Array.from({ length: completions }, () => ids(tokens)), advantages: raw.map((value) => value - centre), micro, chunk: chunk === completions ? null : chunk };
}

/** Makes, or finds, an adapter on the seven linears of every layer: B is not zero, which would hide errors in the gradients of A. */
export async function adapterOf(model: ModelName, say: (text: string) => void): Promise<string> {
  const folder = join(CACHE, `adapter-${model}`);
  if (existsSync(folder)) return folder;
  await checkpointOf(model, say);
  const random = createRandom(21);
  const filled = (shape: [number, number], next: () => number): { shape: number[]; values: Float32Array } => ({ shape, values: Float32Array.from({ length: shape[0] * shape[1] }, next) });
  const modules = decoderLinears(model).map(({ module, out, input }): AdapterModule => ({
    module,
    a: filled([RANK, input], () => (2 * random.uniform() - 1) / Math.sqrt(input)),
    b: filled([out, RANK], () => 0.02 * random.normal()),
  }));
  await writeAdapter(folder, { config: { r: RANK, alpha: ALPHA }, modules });
  return folder;
}

/** How our side is loaded. */
export interface OurSetting {
  threads: number;
  dtype: Dtype;
  /** How bfloat16 matrices are multiplied. */
  products: "bfloat16" | "float32";
}

/** Our side. */
export function startOurStep(model: string, adapter: string, { threads, dtype, products }: OurSetting): Promise<StepSide> {
  return startSide(process.execPath, ["--conditions=@dramascope/source", fileURLToPath(new URL("grpo-run.ts", import.meta.url)), model, adapter, String(threads), dtype, products], threads);
}

/** The peer: torch with PEFT in a Python. */
export function startTorchStep(python: string, model: string, adapter: string, threads: number): Promise<StepSide> {
  return startSide(python, [fileURLToPath(new URL("peers/grpo/torch_peer.py", import.meta.url)), model, adapter, String(threads)], threads);
}
