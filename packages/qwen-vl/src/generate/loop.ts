import { createRandom } from "@dramascope/schema";
import type { Random } from "@dramascope/schema";
import { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { QwenVlError } from "../errors.ts";
import { Pace } from "../pace.ts";
import { badOption, checkInteger } from "../options.ts";
import type { ParameterView } from "../parameters.ts";
import { checkPrompt } from "../text/check-prompt.ts";
import { Decoder } from "../text/decode-step.ts";
import { embedRows, lastRowsLive, rowTensors, runLayer, runLogits } from "../text/forward.ts";
import { KvCache } from "../text/kvcache.ts";
import { bucketLength, packRows, promptStart } from "../text/packing.ts";
import { placeFeatures } from "../text/vision-rows.ts";
import type { Prompt } from "../prompt-types.ts";
import type { Tensor, Tensor1D } from "../tensor-types.ts";
import { createRowPicker } from "./pick-row.ts";
import type { Choice, RowPicker } from "./pick-row.ts";
import { checkSampling } from "./sampler.ts";
import type { SamplingOptions } from "./sampler.ts";

/** Slots by which a sample's cache grows. */
const CACHE_BLOCK = 64;
/** Prompt rows computed at once, unless a single prompt has more. */
const PREFILL_ROWS = 4096;

/** Options of {@link generateSamples}, defaults already filled in. */
export interface GenerateLoopOptions {
  maxNewTokens: number;
  samples: number;
  sampling: SamplingOptions;
  seed: number;
  stopIds: ReadonlySet<number>;
  /** Ids whose log-probabilities are kept at every step. */
  watchIds: readonly number[];
  /** Rows decoded at once at most. */
  maxRows: number;
  signal?: AbortSignal | undefined;
  /** Called for every token in the order of sampling. */
  onToken?: ((prompt: number, sample: number, ids: readonly number[]) => void) | undefined;
}

/** A finished or aborted sample without its text. */
export interface SampledIds {
  ids: Int32Array;
  logProbs: Float32Array;
  /** [ids, watchIds]; absent without `watchIds`. */
  watched?: Float32Array;
  finishReason: "stop" | "length" | "abort";
}

interface Row {
  prompt: number;
  sample: number;
  random: Random;
  ids: number[];
  logProbs: number[];
  watched: number[];
  finished: SampledIds["finishReason"] | undefined;
}

/** One decoding batch: rows[prompt][sample]; places without work hold undefined. */
interface Batch {
  prompts: { prompt: Prompt; rows: (Row | undefined)[] }[];
}

function checkOptions(core: Core, prompts: readonly Prompt[], options: GenerateLoopOptions): void {
  checkInteger("maxNewTokens", options.maxNewTokens, 1);
  if (!Number.isInteger(options.samples) || options.samples < 1 || options.samples > 2 ** 16) badOption("n", options.samples, "an integer from 1 to 65536");
  checkInteger("maxRows", options.maxRows, 1);
  checkInteger("seed", options.seed, 0);
  checkSampling(options.sampling);
  const { maxPositionEmbeddings: limit, vocabSize } = core.config.text;
  for (const id of options.watchIds) if (!Number.isInteger(id) || id < 0 || id >= vocabSize) badOption("watchIds", id, `ids from 0 to ${vocabSize - 1}`);
  prompts.forEach((prompt, i) => {
    checkPrompt(prompt, vocabSize, `prompt ${i}`);
    if (prompt.ids.length + options.maxNewTokens > limit) {
      throw new QwenVlError(`prompt ${i} has ${prompt.ids.length} tokens; with maxNewTokens ${options.maxNewTokens} it exceeds the ${limit} positions of the model`, {
        code: "TOO_LONG", hint: "Use fewer or smaller frames, or a smaller maxNewTokens.",
      });
    }
  });
}

/** Samples for every prompt; a sample depends on seed, prompt and its own number only, not on the batch. */
export async function generateSamples(core: Core, view: ParameterView, prompts: readonly Prompt[], options: GenerateLoopOptions): Promise<SampledIds[][]> {
  checkOptions(core, prompts, options);
  const rows: Row[][] = prompts.map((_, prompt) =>
    Array.from({ length: options.samples }, (__, sample) => ({
      prompt, sample, random: createRandom(options.seed, { stream: prompt * 2 ** 16 + sample }), ids: [], logProbs: [], watched: [], finished: undefined,
    })),
  );
  const pace = new Pace(options.signal);
  const perPrompt = Math.min(options.samples, options.maxRows);
  const promptsAtOnce = Math.max(1, Math.floor(options.maxRows / perPrompt));
  for (let first = 0; first < options.samples; first += perPrompt) {
    for (let at = 0; at < prompts.length; at += promptsAtOnce) {
      const some = prompts.slice(at, at + promptsAtOnce).map((prompt, i) => ({ prompt, rows: rows[at + i]!.slice(first, first + perPrompt) }));
      try {
        await runBatch(core, view, { prompts: some }, options, pace);
      } catch (error) {
        if (options.signal?.aborted !== true || error !== options.signal.reason) throw error;
      }
    }
  }
  return rows.map((group) =>
    group.map((row) => ({
      ids: Int32Array.from(row.ids), logProbs: Float32Array.from(row.logProbs), ...(options.watchIds.length > 0 ? { watched: Float32Array.from(row.watched) } : {}), finishReason: row.finished ?? "abort",
    })),
  );
}

async function runBatch(core: Core, view: ParameterView, batch: Batch, options: GenerateLoopOptions, pace: Pace): Promise<void> {
  const arena = new Arena();
  try {
    await pace.breathe();
    const vocab = core.config.text.vocabSize;
    const picker = createRowPicker(vocab, options.sampling);
    const started = await prefill(core, arena, view, batch, options, pace);
    let { prefixBias } = started;
    const { cache } = started;
    const decoder = new Decoder(core, arena, view, picker.drawTemperature);
    const first = await readRows(arena, started.logits, "prefill");
    batch.prompts.forEach(({ prompt, rows }, b) => {
      const logits = first.subarray(b * vocab, (b + 1) * vocab);
      for (const row of rows) if (row !== undefined) advance(row, pick(row, prompt, logits, picker, row.random.uniform(), options), options);
    });
    for (let slot = 0; slot + 1 < options.maxNewTokens; slot++) {
      if (batch.prompts.every((p) => p.rows.every((row) => row?.finished !== undefined || row === undefined))) return;
      prefixBias = compact(core, arena, batch, cache, prefixBias);
      const { samples } = cache.shape;
      if (slot === cache.shape.capacity) cache.grow(slot + Math.max(CACHE_BLOCK, Math.floor(slot / 2 / CACHE_BLOCK) * CACHE_BLOCK));
      const n = batch.prompts.length * samples;
      const ids = new Int32Array(n);
      const positions = new Int32Array(n);
      batch.prompts.forEach(({ prompt, rows }, b) => {
        rows.forEach((row, s) => {
          ids[b * samples + s] = row?.ids.at(-1) ?? 0;
          positions[b * samples + s] = prompt.nextPosition + slot;
        });
      });
      const { logits, probabilities } = await decoder.step(cache, prefixBias, { ids, positions, slot }, pace);
      const step = `token ${slot + 1}`;
      const read = await readRows(arena, probabilities ?? logits, step);
      let raw = probabilities === undefined ? read : undefined;
      for (const [b, { prompt, rows }] of batch.prompts.entries()) {
        for (const [s, row] of rows.entries()) {
          if (row === undefined || row.finished !== undefined) continue;
          const place = b * samples + s;
          const u = row.random.uniform();
          const values = read.subarray(place * vocab, (place + 1) * vocab);
          let choice = probabilities === undefined ? undefined : picker.draw(values, u);
          if (choice === undefined) {
            raw ??= await readRows(arena, logits, step);
            choice = pick(row, prompt, raw.subarray(place * vocab, (place + 1) * vocab), picker, u, options);
          } else for (const id of options.watchIds) row.watched.push(Math.log(values[id]!));
          advance(row, choice, options);
        }
      }
      arena.free(logits);
    }
  } finally {
    arena.dispose();
  }
}

interface Prefilled {
  /** Keys and values of every layer. */
  prefixes: { keys: Tensor; values: Tensor }[];
  /** Logits of the last row of every prompt. */
  logits: Tensor;
  prefixBias: Tensor;
}

async function prefillSome(core: Core, arena: Arena, view: ParameterView, prompts: readonly Prompt[], promptRows: number, pace: Pace): Promise<Prefilled> {
  const { runtime, config } = core;
  const packed = packRows(prompts.map((prompt) => ({ prompt, completions: [] })), promptRows);
  const starts = prompts.map((_, i) => promptStart(packed.layout, i));
  const placed = await placeFeatures(core, arena, view, prompts, starts, { train: false, pace });
  const ids = arena.add(runtime.ints(packed.ids, [packed.ids.length]));
  const rows = rowTensors(core, arena, packed);
  let x = embedRows(core, arena, view, ids, placed.features, placed.rows);
  const prefixes: { keys: Tensor; values: Tensor }[] = [];
  for (let i = 0; i < config.text.layers; i++) {
    const out = await runLayer(core, arena, view, i, i === config.text.layers - 1 ? lastRowsLive(rows) : rows, x, ["cache"], pace);
    prefixes.push(out.prefix!);
    arena.free(x);
    x = out.y;
  }
  const logits = await runLogits(core, arena, view, x, Int32Array.from(prompts, (_, i) => i), pace);
  arena.free(x, ids, rows.cos, rows.sin, rows.last, placed.features, placed.rows);
  return { prefixes, logits, prefixBias: rows.prefixBias };
}

/** Computes the prompts of a batch, a bounded number of rows at once. */
async function prefill(core: Core, arena: Arena, view: ParameterView, batch: Batch, options: GenerateLoopOptions, pace: Pace) {
  const prompts = batch.prompts.map(({ prompt }) => prompt);
  const promptRows = bucketLength(Math.max(...prompts.map((prompt) => prompt.ids.length)), 32);
  const atOnce = Math.max(1, Math.floor(PREFILL_ROWS / promptRows));
  const parts: Prefilled[] = [];
  for (let at = 0; at < prompts.length; at += atOnce) parts.push(await prefillSome(core, arena, view, prompts.slice(at, at + atOnce), promptRows, pace));
  const joined = (pick: (part: Prefilled) => Tensor): Tensor => {
    if (parts.length === 1) return pick(parts[0]!);
    const tensors = parts.map(pick);
    const all = arena.add(core.runtime.tf.concat(tensors, 0));
    arena.free(...tensors);
    return all;
  };
  const prefixes = parts[0]!.prefixes.map((_, i) => ({ keys: joined((part) => part.prefixes[i]!.keys), values: joined((part) => part.prefixes[i]!.values) }));
  const capacity = Math.min(CACHE_BLOCK, Math.ceil(options.maxNewTokens / 16) * 16);
  const cache = new KvCache(core, arena, prefixes, { prompts: prompts.length, samples: batch.prompts[0]!.rows.length, promptRows, capacity });
  return { cache, logits: joined((part) => part.logits), prefixBias: joined((part) => part.prefixBias) };
}

async function readRows(arena: Arena, logits: Tensor, step: string): Promise<Float32Array> {
  const values = (await logits.data()) as Float32Array;
  arena.free(logits);
  let sum = 0;
  for (const value of values) sum += value;
  if (!Number.isFinite(sum)) {
    throw new QwenVlError(`logits of ${step} are not finite`, { code: "NOT_FINITE", hint: "Check the weights and the adapter for NaN or infinite values." });
  }
  return values;
}

function pick(row: Row, prompt: Prompt, logits: Float32Array, picker: RowPicker, u: number, { watchIds, sampling: { temperature = 1 } }: GenerateLoopOptions): Choice {
  const choice = picker.pick(logits, () => [...prompt.ids, ...row.ids], u);
  for (const id of watchIds) row.watched.push(choice.logProb + (logits[id]! - logits[choice.id]!) / (temperature || 1));
  return choice;
}

function advance(row: Row, { id, logProb }: Choice, options: GenerateLoopOptions): void {
  row.ids.push(id);
  row.logProbs.push(logProb);
  options.onToken?.(row.prompt, row.sample, row.ids);
  if (options.stopIds.has(id)) row.finished = "stop";
  else if (row.ids.length === options.maxNewTokens) row.finished = "length";
}

function atLeastPowerOfTwo(n: number): number {
  return 2 ** Math.ceil(Math.log2(n));
}

/** Drops finished rows when that halves the batch; counts stay powers of two, so that few signatures occur. */
function compact(core: Core, arena: Arena, batch: Batch, cache: KvCache, prefixBias: Tensor): Tensor {
  const { shape } = cache;
  const active = batch.prompts.map(({ rows }) => rows.flatMap((row, s) => (row !== undefined && row.finished === undefined ? [s] : [])));
  const prompts = active.flatMap((rows, b) => (rows.length > 0 ? [b] : []));
  const samples = Math.min(shape.samples, atLeastPowerOfTwo(Math.max(...active.map((rows) => rows.length))));
  const count = Math.min(shape.prompts, atLeastPowerOfTwo(prompts.length));
  if (count * samples * 2 > shape.prompts * shape.samples) return prefixBias;
  const kept = Array.from({ length: count }, (_, i) => prompts[i] ?? prompts[0]!);
  const chosen = kept.map((b) => Array.from({ length: samples }, (_, s) => active[b]![s] ?? active[b]![0]!));
  cache.keep(kept, chosen);
  batch.prompts = kept.map((b, i) => ({
    prompt: batch.prompts[b]!.prompt,
    rows: Array.from({ length: samples }, (_, s) => (i < prompts.length && s < active[b]!.length ? batch.prompts[b]!.rows[active[b]![s]!] : undefined)),
  }));
  const index = arena.add(core.runtime.ints(Int32Array.from(kept), [count]));
  const bias = arena.add(prefixBias.gather(index as Tensor1D));
  arena.free(index, prefixBias);
  return bias;
}
