import type { Body } from "@dramascope/tensorflow";
import { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { QwenVlError } from "../errors.ts";
import { Pace } from "../pace.ts";
import { rmsNorm } from "../ops/elementwise.ts";
import { entropyOf, headLogits, logSoftmaxAt, pick } from "../ops/log-prob.ts";
import { isTemperature, LEAST_TEMPERATURE } from "../generate/sampler.ts";
import { badOption } from "../options.ts";
import type { ParameterView } from "../parameters.ts";
import { checkIds, checkPrompt } from "../text/check-prompt.ts";
import { embedRows, headInputs, headValues, lastRowsLive, rowTensors, runLayer } from "../text/forward.ts";
import type { PrefixGradient } from "../text/decoder.ts";
import { bucketLength, packRows, promptStart, rowParts, unpackTokens } from "../text/packing.ts";
import type { PackedRows, PromptGroup } from "../text/packing.ts";
import { rowCount } from "../text/shared-prefix.ts";
import type { RowLayout } from "../text/shared-prefix.ts";
import { placeFeatures } from "../text/vision-rows.ts";
import type { Prompt, Tensor } from "../types.ts";
import { backward } from "./backward.ts";
import { withDropout } from "./dropout.ts";
import type { Dropout } from "./dropout.ts";
import type { ForwardState, HeadChunk } from "./forward-state.ts";
import type { GradientSink } from "./gradients.ts";

/** Host results of scoring, by group and completion. */
export interface Scores {
  logProbs: Float32Array[][];
  entropy?: Float32Array[][];
}

/** What a gradient callback returns. */
interface LossGradient {
  loss: number;
  /** d loss / d log-probability, by group and completion. */
  dLogProbs: readonly (readonly ArrayLike<number>[])[];
}

/** Options of {@link scoreGroups}. */
export interface ScoreGroupsOptions {
  temperature: number;
  entropy: boolean;
  signal?: AbortSignal | undefined;
  /** Back-propagates the callback's loss into the sink. */
  training?: { sink: GradientSink; dropout: Dropout | undefined; prefix: PrefixGradient; gradient(scores: Scores): LossGradient } | undefined;
}

/** Whether the products and probabilities of all layers may be kept. */
function keepsResults(core: Core, layout: RowLayout): boolean {
  const { layers, heads, kvHeads, headDim, hiddenSize, intermediateSize } = core.config.text;
  const { prompts, promptRows, completions, completionRows } = layout;
  const linears = rowCount(layout) * ((heads + 2 * kvHeads) * headDim + 2 * hiddenSize + 2 * intermediateSize);
  const scores = prompts * heads * (promptRows ** 2 + completions * completionRows * (promptRows + completionRows));
  return 4 * layers * (linears + scores) <= core.keepBytes;
}

function headChunks(packed: PackedRows, size: number): HeadChunk[] {
  const out: HeadChunk[] = [];
  for (let at = 0; at < packed.targets.length; at += size) {
    const count = Math.min(size, packed.targets.length - at);
    const padded = Math.min(size, bucketLength(count));
    const rows = new Int32Array(padded);
    const targets = new Int32Array(padded);
    rows.set(packed.predictors.subarray(at, at + count));
    targets.set(packed.targets.subarray(at, at + count));
    out.push({ at, count, rows, targets });
  }
  return out;
}

/** Positions `row · vocab + id` of a chunk's targets. */
function flatTargets(targets: Int32Array, vocab: number): Int32Array {
  return targets.map((id, i) => i * vocab + id);
}

async function readScores(core: Core, arena: Arena, view: ParameterView, state: ForwardState, options: ScoreGroupsOptions, pace: Pace): Promise<Scores> {
  const { runtime, config } = core;
  const x = state.hidden.at(-1)!;
  const { temperature, entropy } = options;
  const body: Body = (ops, v) => {
    const rows = rmsNorm(ops, ops.gather(v["x"]!, v["rows"]!), v["norm"]!, config.text.rmsNormEps);
    const table = logSoftmaxAt(ops, headLogits(ops, rows, headValues(core, v)), temperature);
    return { logProbs: pick(ops, table, v["flat"]!), ...(entropy ? { entropy: entropyOf(ops, table) } : {}) };
  };
  const total = state.packed.targets.length;
  const logProbs = new Float32Array(total);
  const entropies = new Float32Array(total);
  const results: { chunk: HeadChunk; out: Record<string, Tensor> }[] = [];
  for (const chunk of state.chunks) {
    const n = chunk.rows.length;
    const rows = arena.add(runtime.ints(chunk.rows, [n]));
    const flat = arena.add(runtime.ints(flatTargets(chunk.targets, config.text.vocabSize), [n]));
    const out = arena.addAll(await runtime.runPaced(pace, `log_probs:${temperature}:${String(entropy)}`, { x, rows, flat, ...headInputs(core, view) }, body));
    arena.free(rows, flat);
    results.push({ chunk, out });
  }
  for (const { chunk, out } of results) {
    const values = await out["logProbs"]!.data();
    logProbs.set(values.subarray(0, chunk.count), chunk.at);
    if (entropy) entropies.set((await out["entropy"]!.data()).subarray(0, chunk.count), chunk.at);
    arena.free(...Object.values(out));
  }
  const bad = logProbs.findIndex((value, i) => !Number.isFinite(value) || !Number.isFinite(entropies[i]));
  if (bad >= 0) {
    throw new QwenVlError(`scored token ${bad} has log-probability ${logProbs[bad]!}${entropy ? ` and entropy ${entropies[bad]!}` : ""}: the logits are not finite`, {
      code: "NOT_FINITE", hint: "Check the weights and the adapter for NaN or infinite values; a learning rate that is too high makes them.",
    });
  }
  const scores: Scores = { logProbs: unpackTokens(logProbs, state.packed.lengths) };
  if (entropy) scores.entropy = unpackTokens(entropies, state.packed.lengths);
  return scores;
}

function checkCompletions(core: Core, groups: readonly PromptGroup<Prompt>[]): void {
  groups.forEach(({ prompt, completions }, g) => {
    checkPrompt(prompt, core.config.text.vocabSize, `prompt ${g}`);
    completions.forEach((completion, i) => {
      if (prompt.ids.length + completion.length > core.config.text.maxPositionEmbeddings) {
        throw new QwenVlError(
          `prompt ${g} (${prompt.ids.length} tokens) with completion ${i} (${completion.length} tokens) exceeds the ${core.config.text.maxPositionEmbeddings} positions of the model`,
          { code: "TOO_LONG", hint: "Use fewer or smaller frames, or a shorter completion." },
        );
      }
      checkIds(completion, core.config.text.vocabSize, `completion ${i} of prompt ${g}`);
    });
  });
}

/** Log-probabilities of completions after their prompts, every prompt computed once; with `training` also gradients. */
export async function scoreGroups(
  core: Core, view: ParameterView, groups: readonly PromptGroup<Prompt>[], options: ScoreGroupsOptions,
): Promise<{ scores: Scores; loss?: number }> {
  if (!isTemperature(options.temperature)) badOption("temperature", options.temperature, `a finite number from ${LEAST_TEMPERATURE}`);
  checkCompletions(core, groups);
  if (groups.length === 0 || groups.every((g) => g.completions.every((c) => c.length === 0))) {
    const empty: Scores = { logProbs: groups.map((g) => g.completions.map(() => new Float32Array())) };
    return { scores: options.entropy ? { ...empty, entropy: empty.logProbs } : empty };
  }
  const pace = new Pace(options.signal);
  const arena = new Arena();
  try {
    await pace.breathe();
    const { runtime, config } = core;
    const { training } = options;
    const packed = packRows(groups);
    const starts = groups.map((_, i) => promptStart(packed.layout, i));
    const trainsTower = training !== undefined && training.prefix === "flowing" && training.sink.touches("model.visual.");
    const placed = await placeFeatures(core, arena, view, groups.map((g) => g.prompt), starts, { train: trainsTower, dropout: training?.dropout, pace });
    const ids = arena.add(runtime.ints(packed.ids, [packed.ids.length]));
    const rows = rowTensors(core, arena, packed);
    const hidden = [embedRows(core, arena, view, ids, placed.features, placed.rows)];
    const keeps = training?.prefix === "flowing" && keepsResults(core, packed.layout);
    const kept: Tensor[][] = [];
    const dropout = training?.dropout && { ...training.dropout, parts: rowParts(packed.layout) };
    for (let i = 0; i < config.text.layers; i++) {
      const x = hidden.at(-1)!;
      const { y, kept: inner } = await withDropout(runtime, view, dropout, (own) => runLayer(core, arena, own, i, i === config.text.layers - 1 ? lastRowsLive(rows) : rows, x, keeps ? "kept" : "none", pace));
      kept.push(inner);
      if (training === undefined) {
        arena.free(x);
        hidden.length = 0;
      }
      hidden.push(y);
    }
    const state: ForwardState = { packed, rows, placed, ids, hidden, chunks: headChunks(packed, core.logitsChunk), dropout, kept };
    const scores = await readScores(core, arena, view, state, options, pace);
    if (training === undefined) return { scores };
    const { loss, dLogProbs } = training.gradient(scores);
    if (!Number.isFinite(loss)) throw new QwenVlError(`the loss is ${loss}`, { code: "NOT_FINITE", hint: "Look at the log-probabilities and advantages that went into it." });
    options.signal?.throwIfAborted();
    const flat = flatten(packed, dLogProbs);
    await training.sink.collect(() => backward(core, arena, view, state, flat, options.temperature, training.sink, training.prefix, pace));
    return { scores, loss };
  } finally {
    arena.dispose();
  }
}

function flatten(packed: PackedRows, dLogProbs: LossGradient["dLogProbs"]): Float32Array {
  const out = new Float32Array(packed.targets.length);
  let at = 0;
  packed.lengths.forEach((group, g) => {
    group.forEach((length, i) => {
      const given = dLogProbs[g]?.[i];
      if (given?.length !== length) {
        throw new QwenVlError(`gradient of completion ${i} of prompt ${g} has ${given?.length ?? "no"} entries, expected ${length}`, { code: "BAD_GRADIENT" });
      }
      for (let j = 0; j < length; j++) {
        const value = given[j]!;
        if (!Number.isFinite(value)) throw new QwenVlError(`gradient of token ${j} of completion ${i} is ${value}`, { code: "NOT_FINITE" });
        out[at++] = value;
      }
    });
  });
  return out;
}
