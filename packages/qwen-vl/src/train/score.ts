import type { Body } from "@dramascope/tensorflow";
import { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { QwenVlError } from "../errors.ts";
import { Pace } from "../pace.ts";
import { rmsNorm } from "../ops/elementwise.ts";
import { scoreRows } from "../ops/log-prob.ts";
import { isTemperature, LEAST_TEMPERATURE } from "../generate/sampler.ts";
import { badOption, checkInteger } from "../options.ts";
import type { ParameterView } from "../parameters.ts";
import { checkIds, checkPrompt } from "../text/check-prompt.ts";
import type { PrefixGradient } from "../text/decoder.ts";
import { scoringInputs } from "../text/forward.ts";
import { completionsAlone, packRows, promptStart, rowParts, unpackTokens } from "../text/packing.ts";
import type { PackedRows, PromptGroup } from "../text/packing.ts";
import { placeFeatures } from "../text/vision-rows.ts";
import type { PlacedFeatures } from "../text/vision-rows.ts";
import type { Prompt } from "../prompt-types.ts";
import type { Tensor } from "../tensor-types.ts";
import { backward, headBackward, layersBackward } from "./backward.ts";
import type { BackwardPass } from "./backward.ts";
import type { Dropout, RowDropout, RowPart } from "./dropout.ts";
import { forwardLayers, freeState } from "./forward-pass.ts";
import type { ForwardPass } from "./forward-pass.ts";
import type { ForwardState, HeadChunk } from "./forward-state.ts";
import type { GradientSink } from "./gradients.ts";

/** Host results of scoring, by group and completion. */
export interface Scores {
  logProbs: Float32Array[][];
  entropy?: Float32Array[][];
  best?: Float32Array[][];
}

/** What a gradient callback returns. */
interface LossGradient {
  loss: number;
  /** d loss / d log-probability, by group and completion. */
  dLogProbs: readonly (readonly ArrayLike<number>[])[];
}

/** Back-propagates the callback's loss into the sink. */
interface Training {
  sink: GradientSink;
  dropout: Dropout | undefined;
  prefix: PrefixGradient;
  gradient(scores: Scores): LossGradient;
}

/** Options of {@link scoreGroups}. */
export interface ScoreGroupsOptions {
  temperature: number;
  entropy: boolean;
  /** Whether the log-probabilities of the most likely tokens are wanted. */
  best: boolean;
  signal?: AbortSignal | undefined;
  /** Completions of every prompt that are computed at once. */
  completionChunk: number;
  training?: Training | undefined;
}

/** Scores, and by chunk of rows the logarithms that their backward starts from. */
async function readScores({ core, arena, view, pace }: ForwardPass, state: ForwardState, options: ScoreGroupsOptions): Promise<{ scores: Scores; logZ: Tensor[] }> {
  const { runtime, config } = core;
  const x = state.hidden.at(-1)!;
  const { temperature, entropy, best } = options;
  const total = state.packed.targets.length;
  const logProbs = new Float32Array(total);
  const entropies = new Float32Array(total);
  const bests = new Float32Array(total);
  const results: { chunk: HeadChunk; out: Record<string, Tensor> }[] = [];
  for (const chunk of state.chunks) {
    const rows = arena.add(runtime.ints(chunk.rows, [chunk.rows.length]));
    const { inputs, scoring, free } = scoringInputs(core, arena, view, chunk.targets, temperature);
    const body: Body = (ops, v) => {
      const normed = rmsNorm(ops, ops.gather(v["x"]!, v["rows"]!), v["norm"]!, config.text.rmsNormEps);
      const scored = scoreRows(ops, normed, scoring(v), { entropy });
      return { logProbs: scored.logProbs, logZ: scored.logZ, ...(entropy ? { entropy: scored.entropy() } : {}), ...(best ? { best: scored.best() } : {}) };
    };
    const out = arena.addAll(await runtime.runPaced(pace, `log_probs:${temperature}:${String(entropy)}:${String(best)}`, { x, rows, ...inputs }, body));
    arena.free(rows);
    free();
    results.push({ chunk, out });
  }
  for (const { chunk, out } of results) {
    const values = await out["logProbs"]!.data();
    logProbs.set(values.subarray(0, chunk.count), chunk.at);
    if (entropy) entropies.set((await out["entropy"]!.data()).subarray(0, chunk.count), chunk.at);
    if (best) bests.set((await out["best"]!.data()).subarray(0, chunk.count), chunk.at);
    arena.free(out["logProbs"], out["entropy"], out["best"]);
  }
  const bad = logProbs.findIndex((value, i) => !Number.isFinite(value) || !Number.isFinite(entropies[i]));
  if (bad >= 0) {
    throw new QwenVlError(`scored token ${bad} has log-probability ${logProbs[bad]!}${entropy ? ` and entropy ${entropies[bad]!}` : ""}: the logits are not finite`, {
      code: "NOT_FINITE", hint: "Check the weights and the adapter for NaN or infinite values; a learning rate that is too high makes them.",
    });
  }
  const scores: Scores = { logProbs: unpackTokens(logProbs, state.packed.lengths) };
  if (entropy) scores.entropy = unpackTokens(entropies, state.packed.lengths);
  if (best) scores.best = unpackTokens(bests, state.packed.lengths);
  return { scores, logZ: results.map(({ out }) => out["logZ"]!) };
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
  if (options.completionChunk !== Number.POSITIVE_INFINITY) checkInteger("completionChunk", options.completionChunk, 1);
  checkCompletions(core, groups);
  if (groups.length === 0 || groups.every((g) => g.completions.every((c) => c.length === 0))) {
    const empty: Scores = { logProbs: groups.map((g) => g.completions.map(() => new Float32Array())) };
    return { scores: { ...empty, ...(options.entropy ? { entropy: empty.logProbs } : {}), ...(options.best ? { best: empty.logProbs } : {}) } };
  }
  const arena = new Arena();
  const pass: ForwardPass = { core, arena, view, pace: new Pace(options.signal) };
  try {
    await pass.pace.breathe();
    const most = Math.max(...groups.map(({ completions }) => completions.length));
    return await (options.completionChunk < most ? inChunks(pass, groups, options) : atOnce(pass, groups, options));
  } finally {
    arena.dispose();
  }
}

/** Vision features of the prompts where packed rows have them. */
function features({ core, arena, view, pace }: ForwardPass, groups: readonly PromptGroup<Prompt>[], packed: PackedRows, { training }: ScoreGroupsOptions): Promise<PlacedFeatures> {
  const trainsTower = training !== undefined && training.prefix === "flowing" && training.sink.touches("model.visual.");
  const starts = groups.map((_, i) => promptStart(packed.layout, i));
  return placeFeatures(core, arena, view, groups.map((g) => g.prompt), starts, { train: trainsTower, dropout: training?.dropout, pace });
}

/** Loss and its derivative by every completion token, in the order of the rows. */
function lossOf(training: Training, scores: Scores, signal: AbortSignal | undefined): LossGradient {
  const result = training.gradient(scores);
  if (!Number.isFinite(result.loss)) throw new QwenVlError(`the loss is ${result.loss}`, { code: "NOT_FINITE", hint: "Look at the log-probabilities and advantages that went into it." });
  signal?.throwIfAborted();
  return result;
}

async function atOnce(pass: ForwardPass, groups: readonly PromptGroup<Prompt>[], options: ScoreGroupsOptions): Promise<{ scores: Scores; loss?: number }> {
  const { core } = pass;
  const { training, temperature } = options;
  const packed = packRows(groups);
  const placed = await features(pass, groups, packed, options);
  const dropout = training?.dropout && { ...training.dropout, parts: rowParts(packed.layout) };
  const keepBytes = training?.prefix === "flowing" ? core.keepBytes : 0;
  const state = await forwardLayers(pass, packed, { placed, dropout, keepBytes, holds: training === undefined ? "nothing" : "inputs" });
  const { scores, logZ } = await readScores(pass, state, options);
  if (training === undefined) return { scores };
  const { loss, dLogProbs } = lossOf(training, scores, options.signal);
  const flat = flatten(packed, dLogProbs);
  await training.sink.collect(() => backward({ ...pass, sink: training.sink, prefix: training.prefix, temperature }, state, { dLogProbs: flat, logZ }));
  return { scores, loss };
}

/**
 * The same for so few completions at a time. The prompts' keys and values stay, and so do the sums of their gradients, from which the prompts' backward runs once at the
 * end; completions whose gradients are wanted are computed twice, those of the last chunk once.
 */
async function inChunks(pass: ForwardPass, groups: readonly PromptGroup<Prompt>[], options: ScoreGroupsOptions): Promise<{ scores: Scores; loss?: number }> {
  const { core, arena } = pass;
  const { training, temperature } = options;
  const size = options.completionChunk;
  const most = Math.max(...groups.map(({ completions }) => completions.length));
  const firsts = Array.from({ length: Math.ceil(most / size) }, (_, i) => i * size);
  const promptGroups = groups.map(({ prompt }) => ({ prompt, completions: [] }));
  const packed = packRows(promptGroups);
  const dropoutOver = (parts: RowPart[]): RowDropout | undefined => training?.dropout && { ...training.dropout, parts };
  const prompts = await forwardLayers(pass, packed, {
    placed: await features(pass, groups, packed, options), dropout: dropoutOver(rowParts(packed.layout)), keepBytes: 0, holds: training === undefined ? "nothing" : "inputs", cache: true,
  });
  const prefixes = prompts.caches;
  const last = prompts.hidden.at(-1)!;
  const forward = (first: number, holds: "inputs" | "nothing"): Promise<ForwardState> => {
    const own = completionsAlone(packRows(groups.map(({ prompt, completions }) => ({ prompt, completions: completions.slice(first, first + size) })), packed.layout.promptRows));
    return forwardLayers(pass, own, { dropout: dropoutOver(rowParts(own.layout, first)), keepBytes: holds === "inputs" ? core.keepBytes : 0, holds, prefixes, last });
  };
  const parts: Scores[] = [];
  const logZs = new Map<number, Tensor[]>();
  let kept: ForwardState | undefined;
  for (const first of firsts) {
    const isLast = first === firsts.at(-1);
    const state = await forward(first, isLast && training !== undefined ? "inputs" : "nothing");
    const { scores: own, logZ } = await readScores(pass, state, options);
    parts.push(own);
    logZs.set(first, logZ);
    if (isLast) kept = state;
    else freeState(arena, state);
  }
  const joined = (pick: (scores: Scores) => Float32Array[][]): Float32Array[][] => groups.map((_, g) => parts.flatMap((part) => pick(part)[g]!));
  const scores: Scores = { logProbs: joined(({ logProbs }) => logProbs), ...(options.entropy ? { entropy: joined(({ entropy }) => entropy!) } : {}), ...(options.best ? { best: joined(({ best }) => best!) } : {}) };
  if (training === undefined) return { scores };
  const { loss, dLogProbs } = lossOf(training, scores, options.signal);
  checkGradient(groups.map(({ completions }) => completions.map(({ length }) => length)), dLogProbs);
  const back: BackwardPass = { ...pass, sink: training.sink, prefix: training.prefix, temperature };
  await training.sink.collect(async () => {
    const dPrefixes = prefixes.map(({ keys, values }) => ({ keys: arena.add(core.runtime.tf.zerosLike(keys)), values: arena.add(core.runtime.tf.zerosLike(values)) }));
    let dLast = arena.add(core.runtime.tf.zerosLike(last));
    for (const first of [...firsts].reverse()) {
      const state = kept ?? (await forward(first, "inputs"));
      kept = undefined;
      if (state.chunks.length === 0) {
        freeState(arena, state);
        continue;
      }
      state.dPrefixes = dPrefixes;
      const dx = await headBackward(back, state, { dLogProbs: flatten(state.packed, dLogProbs.map((group) => group.slice(first, first + size))), logZ: logZs.get(first)! });
      const [ofLast, ofOwn] = core.runtime.tf.split(dx, [groups.length, dx.shape[0] - groups.length]).map((part) => arena.add(part)) as [Tensor, Tensor];
      const before = dLast;
      dLast = arena.add(before.add(ofLast));
      arena.free(before, ofLast, dx);
      await layersBackward(back, state, ofOwn);
      freeState(arena, state);
    }
    for (const { keys, values } of prefixes) arena.free(keys, values);
    await layersBackward(back, { ...prompts, dPrefixes }, dLast);
  });
  return { scores, loss };
}

/** Refuses a gradient that does not fit the completions. */
function checkGradient(lengths: readonly (readonly number[])[], dLogProbs: LossGradient["dLogProbs"]): void {
  lengths.forEach((group, g) => {
    group.forEach((length, i) => {
      const given = dLogProbs[g]?.[i];
      if (given?.length !== length) {
        throw new QwenVlError(`gradient of completion ${i} of prompt ${g} has ${given?.length ?? "no"} entries, expected ${length}`, { code: "BAD_GRADIENT" });
      }
      const bad = Array.from(given).findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) throw new QwenVlError(`gradient of token ${bad} of completion ${i} is ${given[bad]!}`, { code: "NOT_FINITE" });
    });
  });
}

/** A gradient that fits as one value per token. */
function flatten({ targets, lengths }: PackedRows, dLogProbs: LossGradient["dLogProbs"]): Float32Array {
  checkGradient(lengths, dLogProbs);
  const out = new Float32Array(targets.length);
  let at = 0;
  for (const one of dLogProbs.flat()) {
    out.set(one, at);
    at += one.length;
  }
  return out;
}
