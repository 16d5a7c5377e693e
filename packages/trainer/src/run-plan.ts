import type { QwenVlConfig } from "@dramascope/qwen-vl";

/** Least, middle and most of some counts. */
export interface Spread {
  /** The least. */
  min: number;
  /** The upper middle one. */
  median: number;
  /** The most. */
  max: number;
}

/** Seconds of one generation (GRPO) or optimiser step (SFT) by part, measured on the back end. */
export interface PlannedTime {
  /** Reading frames and the vision tower, for samples that the run has not looked at before or cannot keep the features of. */
  vision: number;
  /** Drawing completions; 0 for SFT. */
  rollout: number;
  /** Log-probabilities of the reference and of several iterations; 0 for SFT. */
  score: number;
  /** Forward and backward. */
  gradient: number;
  /** One optimiser step with its share of all that, looks at frames included. */
  step: number;
  /** Steps 2 and 3, on average: their own lengths, and calls of a new shape that are compiled first. */
  early: number;
  /** The whole run, without loading the model; frames are looked at once a sample where the features fit into the encoder's cache. */
  total: number;
  /** What measuring took. */
  calibration: number;
}

/** What a run will need; tokens and operations are of one generation (GRPO) or one optimiser step (SFT). */
export interface RunPlan {
  /** What is planned. */
  kind: "sft" | "grpo";
  /** Samples of the data whose videos are there. */
  samples: number;
  /** Samples whose videos cannot be found: their number, the first with the reason, and whether the run will not start for them (`onBadRecord: stop`). Undefined without any. */
  leftOut: { samples: number; first: string; endsRun: boolean } | undefined;
  /** Optimiser steps. */
  steps: number;
  /** Tokens of prompts, and of answers: the targets of SFT; for GRPO the longest that is allowed, which is the assumption of all else here. */
  tokens: { prompt: Spread; completion: Spread };
  /** Values in the model's weights, and in the adapter under training. */
  parameters: { total: number; trained: number };
  /** Tokens that pass the linears in the forwards of training, the prompt once a group or once a completion. */
  linearTokens: { shared: number; unshared: number };
  /** Floating-point operations. */
  flops: number;
  /** Bytes. `features` are those that the encoder keeps; `vision`, `rollout`, `score` and `gradient` are what each part takes beside weights, adapter and features; `peak` is that of the process. */
  memory: { weights: number; adapter: number; features: number; vision: number; rollout: number; score: number; gradient: number; peak: number };
  /** Bytes of one checkpoint, and of all that are kept. */
  checkpoint: { each: number; kept: number };
  /** Undefined when nothing was measured. */
  time: PlannedTime | undefined;
}

/** Rows of one call: prompts with their completions, all of one length. */
export interface CallShape {
  prompts: number;
  promptTokens: number;
  completions: number;
  completionTokens: number;
}

/** Tokens of a call that pass the linears. */
export const rowsOf = ({ prompts, promptTokens, completions, completionTokens }: CallShape): number => prompts * (promptTokens + completions * completionTokens);

/** Values in the linears of one decoder layer. */
export function layerParameters({ text }: QwenVlConfig): number {
  const { hiddenSize: h, intermediateSize, heads, kvHeads, headDim } = text;
  return h * (2 * heads + 2 * kvHeads) * headDim + 3 * h * intermediateSize;
}

/** Values of an adapter on the decoder's seven linears. */
export function adapterParameters({ text }: QwenVlConfig, rank: number): number {
  const { hiddenSize: h, intermediateSize, heads, kvHeads, headDim, layers } = text;
  const widths = [h + heads * headDim, h + kvHeads * headDim, h + kvHeads * headDim, heads * headDim + h, h + intermediateSize, h + intermediateSize, intermediateSize + h];
  return layers * rank * widths.reduce((a, b) => a + b, 0);
}

/** Operations of one forward over a call: linears, attention over what each row sees, and the output matrix for completions. */
export function forwardFlops(config: QwenVlConfig, layers: number, shape: CallShape): number {
  const { heads, headDim, hiddenSize, vocabSize } = config.text;
  const { prompts, promptTokens: p, completions: n, completionTokens: c } = shape;
  const seen = prompts * (p * p * 0.5 + n * c * (p + 0.5 * c));
  return layers * (2 * layerParameters(config) * rowsOf(shape) + 4 * heads * headDim * seen) + 2 * prompts * n * c * hiddenSize * vocabSize;
}

/** Bytes that a forward without gradient takes: the residual stream, and one block's widest moment. */
export function scoreBytes({ text }: QwenVlConfig, shape: CallShape, queryChunk: number): number {
  const { hiddenSize: h, intermediateSize, heads } = text;
  const seen = shape.promptTokens + shape.completionTokens;
  return 4 * (rowsOf(shape) * (3 * h + 3 * intermediateSize) + 2 * heads * Math.min(queryChunk, rowsOf(shape)) * seen);
}

/**
 * Bytes that a forward and backward takes: every block's input, the inner results of as many blocks as `keepBytes` hold, and one block's working set with attention
 * scores of a piece of queries.
 */
export function gradientBytes({ text }: QwenVlConfig, layers: number, shape: CallShape, keepBytes: number, queryChunk: number): number {
  const { hiddenSize: h, intermediateSize, heads, kvHeads, headDim } = text;
  const rows = rowsOf(shape);
  const results = 4 * rows * ((2 * heads + 2 * kvHeads) * headDim + h + 2 * intermediateSize);
  const scores = 4 * heads * Math.min(queryChunk, rows) * (shape.promptTokens + shape.completionTokens);
  return 4 * layers * rows * h + Math.min(layers, Math.floor(keepBytes / results)) * results + results + 3 * scores + 4 * rows * (6 * h + 3 * intermediateSize);
}

/** Bytes that drawing completions takes: keys and values, and the prefill. */
export function rolloutBytes(config: QwenVlConfig, layers: number, shape: CallShape, queryChunk: number): number {
  const { kvHeads, headDim, vocabSize } = config.text;
  const cache = 4 * 2 * layers * kvHeads * headDim * rowsOf(shape);
  return cache + scoreBytes(config, { ...shape, prompts: 1, completions: 0, completionTokens: 0 }, queryChunk) + 4 * shape.prompts * shape.completions * vocabSize;
}

const size = (bytes: number): string => (bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`);
const spread = ({ min, median, max }: Spread): string => `${min} · ${median} · ${max}`;

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds.toPrecision(3)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function leftOutText({ samples, leftOut }: RunPlan): string[] {
  if (leftOut === undefined) return [];
  const all = samples + leftOut.samples;
  if (leftOut.endsRun) return [`THE RUN WILL NOT START: ${leftOut.samples} of ${all} samples cannot be used and onBadRecord is stop; the first is ${leftOut.first}`];
  return [`${leftOut.samples} of ${all} samples are left out; the first is ${leftOut.first}`];
}

/** A plan as lines for people. */
export function describePlan(plan: RunPlan): string {
  const { memory, tokens, linearTokens, parameters, time } = plan;
  const unit = plan.kind === "sft" ? "step" : "generation";
  return [
    ...leftOutText(plan),
    `${plan.samples} samples, ${plan.steps} optimiser steps`,
    `tokens (least · median · most): prompts ${spread(tokens.prompt)}, ${plan.kind === "sft" ? "answers" : "completions up to"} ${plan.kind === "sft" ? spread(tokens.completion) : tokens.completion.max}`,
    `parameters: ${(parameters.trained / 1e6).toFixed(2)} of ${(parameters.total / 1e6).toFixed(1)} million are trained`,
    `tokens through the linears a ${unit}: ${Math.round(linearTokens.shared)}${plan.kind === "sft" ? "" : `, ${linearTokens.unshared} if each completion had its own prompt (${(linearTokens.unshared / linearTokens.shared).toFixed(1)} times)`}`,
    `operations a ${unit}: ${plan.flops.toExponential(2)}`,
    `memory: weights ${size(memory.weights)}, adapter with optimiser ${size(memory.adapter)}, features of frames ${size(memory.features)}, beside them vision tower ${size(memory.vision)}, ${plan.kind === "sft" ? "" : `rollout ${size(memory.rollout)}, scoring ${size(memory.score)}, `}gradient ${size(memory.gradient)}`,
    `peak of the process: ${size(memory.peak)}`,
    `disk: ${size(plan.checkpoint.each)} a checkpoint, ${size(plan.checkpoint.kept)} for those that are kept`,
    time === undefined
      ? "time: not measured"
      : `time a ${unit}: frames ${duration(time.vision)}, ${plan.kind === "sft" ? "" : `rollout ${duration(time.rollout)}, scoring ${duration(time.score)}, `}gradient ${duration(time.gradient)}; a step ${duration(time.step)}, the run ${duration(time.total)} (measured in ${duration(time.calibration)})`,
  ].join("\n");
}

/**
 * One sentence on how a plan fits what was measured.
 *
 * @param stepSeconds Mean seconds of steps 2 and 3.
 * @param peakBytes   Peak of the process.
 */
export function comparePlan(plan: RunPlan, stepSeconds: number, peakBytes: number): string {
  const against = (planned: number, real: number): string => `${real > planned ? "+" : ""}${Math.round(100 * (real / planned - 1))} %`;
  const time = plan.time === undefined ? "" : `a step takes ${duration(stepSeconds)}, planned ${duration(plan.time.early)} (${against(plan.time.early, stepSeconds)}); `;
  return `${time}peak memory ${size(peakBytes)}, planned ${size(plan.memory.peak)} (${against(plan.memory.peak, peakBytes)})`;
}
