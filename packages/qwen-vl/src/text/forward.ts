import type { Body, Inputs, TensorLike } from "@dramascope/tensorflow";
import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { blockedInputs, blockedValues, blockInputs, decoderLayerNames, EMBEDDING, FINAL_NORM, LM_HEAD } from "../parameters.ts";
import type { ParameterView } from "../parameters.ts";
import type { Pace } from "../pace.ts";
import { rmsNorm } from "../ops/elementwise.ts";
import { embed } from "../ops/embed.ts";
import { headLogits, placeTargets, vocabParts } from "../ops/log-prob.ts";
import type { HeadValues, VocabPart, VocabScoring } from "../ops/log-prob.ts";
import type { Tensor } from "../tensor-types.ts";
import { decoderBlock, KEPT } from "./decoder.ts";
import type { DecoderShape } from "./decoder.ts";
import { bucketLength } from "./packing.ts";
import type { PackedRows } from "./packing.ts";
import { decoderRope, ropeAngles } from "./rope.ts";
import type { PrefixValues, RowLayout } from "./shared-prefix.ts";

/** Constant parts of a decoder body. */
export function decoderShape(core: Core, loraScales: Readonly<Record<string, number>>): DecoderShape {
  const { heads, kvHeads, headDim, rmsNormEps } = core.config.text;
  return { heads, kvHeads, headDim, eps: rmsNormEps, loraScales, queryChunk: core.queryChunk };
}

/** Text of a layout for keys of bodies. */
export function layoutKey(core: Core, layout: RowLayout): string {
  return `${layout.prompts},${layout.promptRows},${layout.completions},${layout.completionRows},${layout.live ?? "all"},${layout.prefix ?? "computed"},${core.queryChunk}`;
}

/** Decoder inputs of a call besides `x` and the parameters. */
export interface RowTensors {
  layout: RowLayout;
  cos: Tensor;
  sin: Tensor;
  /** [prompts, promptRows]. */
  prefixBias: Tensor;
  /** int32 [prompts]. */
  last: Tensor;
  /** The prompts' keys and values in the layer, where the layout says that they are given. */
  prefix?: PrefixValues<Tensor>;
}

/** The same rows where of each prompt only the last one goes on after attention, as in the last layer when nothing is asked of the others. */
export function lastRowsLive(rows: RowTensors): RowTensors {
  return { ...rows, layout: { ...rows.layout, live: "last" } };
}

/** Uploads rope angles, padding masks and last rows of packed rows. */
export function rowTensors(core: Core, arena: Arena, packed: PackedRows): RowTensors {
  const { headDim, ropeTheta, mropeSection } = core.config.text;
  const rows = packed.ids.length;
  const angles = ropeAngles(decoderRope(headDim, ropeTheta, mropeSection), packed.positions, rows);
  return {
    layout: packed.layout,
    cos: arena.add(core.runtime.floats(angles.cos, [rows, headDim / 2])),
    sin: arena.add(core.runtime.floats(angles.sin, [rows, headDim / 2])),
    prefixBias: arena.add(core.runtime.floats(packed.prefixBias, [packed.layout.prompts, packed.layout.promptRows])),
    last: arena.add(core.runtime.ints(packed.last, [packed.last.length])),
  };
}

/** Inputs of a decoder layer besides its parameters. */
export function layerRowInputs({ layout, cos, sin, prefixBias, last, prefix }: RowTensors, x: Tensor): Record<string, Tensor> {
  const isLast = layout.live === "last";
  return {
    x, cos, sin, ...(isLast || layout.completions > 0 ? { prefixBias } : {}), ...(isLast ? { last } : {}),
    ...(prefix === undefined ? {} : { prefixKeys: prefix.keys, prefixValues: prefix.values }),
  };
}

/** Embedded rows [rows, hidden]; `features` [n, hidden] replace the rows `visionRows`. */
export function embedRows(core: Core, arena: Arena, view: ParameterView, ids: Tensor, features: Tensor | undefined, visionRows: Tensor | undefined): Tensor {
  const inputs: Record<string, TensorLike> = { ...blockedInputs("table", view.blocks(EMBEDDING)), ids };
  if (features !== undefined && visionRows !== undefined) Object.assign(inputs, { features, visionRows });
  const body: Body = (ops, v) => {
    const rows = embed(ops, blockedValues("table", v), v["ids"]!);
    return { x: v["features"] === undefined ? rows : ops.updateRows(rows, v["visionRows"]!, v["features"]) };
  };
  return arena.add(core.runtime.run("embed", inputs, body)["x"]!);
}

/** What a layer gives besides its output: the prompts' keys and values, and inner results for its backward. */
export type LayerExtra = "cache" | "kept";

/** Results of {@link runLayer}. */
export interface LayerResult {
  y: Tensor;
  /** With `cache`. */
  prefix: PrefixValues<Tensor> | undefined;
  /** With `kept`, else empty: values in the order of {@link KEPT}. */
  kept: Tensor[];
}

/** One decoder layer; it starts before this returns. */
export async function runLayer(core: Core, arena: Arena, view: ParameterView, index: number, rows: RowTensors, x: Tensor, extras: readonly LayerExtra[], pace: Pace): Promise<LayerResult> {
  const { tensors, loraScales } = blockInputs(view, decoderLayerNames(index));
  const shape = decoderShape(core, loraScales);
  const body: Body = (ops, v) => {
    const { y, prefix, kept } = decoderBlock(ops, v, shape, rows.layout);
    return {
      y, ...(extras.includes("cache") ? prefix : {}),
      ...(extras.includes("kept") ? Object.fromEntries(KEPT.map((name, i) => [`kept${i}`, kept[name]])) : {}),
    };
  };
  const key = `decoder_block:${layoutKey(core, rows.layout)}:${extras.join("+")}:${JSON.stringify(loraScales)}`;
  const { y, keys, values, ...rest } = arena.addAll(await core.runtime.runPaced(pace, key, { ...layerRowInputs(rows, x), ...tensors }, body));
  return { y: y!, prefix: keys === undefined ? undefined : { keys, values: values! }, kept: Object.values(rest) };
}

/** Inputs of the head: `norm` and the blocks of `head`. */
export function headInputs(core: Core, view: ParameterView): Record<string, TensorLike> {
  return { norm: view.tensor(FINAL_NORM), ...blockedInputs("head", view.blocks(core.config.tieWordEmbeddings ? EMBEDDING : LM_HEAD)) };
}

/** The head among a body's values. */
export function headValues<V>(core: Core, values: Inputs<V>): HeadValues<V> {
  return { blocks: blockedValues("head", values), tied: core.config.tieWordEmbeddings };
}

/** Parts in which the vocabulary is scored. */
function scoredParts(core: Core, view: ParameterView): VocabPart[] {
  const { tieWordEmbeddings } = core.config;
  return vocabParts(view.blocks(tieWordEmbeddings ? EMBEDDING : LM_HEAD).map(({ shape }) => shape[tieWordEmbeddings ? 0 : 1]!), core.vocabChunk);
}

/** Inputs of a body that scores rows: the head's, and by part of the vocabulary `columns.N` and, of several, `inside.N`; and how the body finds them. */
export function scoringInputs(core: Core, arena: Arena, view: ParameterView, targets: Int32Array, temperature: number) {
  const parts = scoredParts(core, view);
  const placed = parts.flatMap((part, i) => {
    const { columns, inside } = placeTargets(targets, part);
    const at: [string, Tensor] = [`columns.${i}`, arena.add(core.runtime.ints(columns, [columns.length]))];
    return parts.length === 1 ? [at] : [at, [`inside.${i}`, arena.add(core.runtime.floats(inside, [inside.length]))] satisfies [string, Tensor]];
  });
  return {
    inputs: { ...Object.fromEntries(placed), ...headInputs(core, view) },
    scoring: <V>(values: Inputs<V>): VocabScoring<V> => ({ head: headValues(core, values), parts, targets: parts.map((_, i) => ({ columns: values[`columns.${i}`]!, inside: values[`inside.${i}`] })), temperature }),
    free: (): void => arena.free(...placed.map(([, tensor]) => tensor)),
  };
}

/** Logits [chosen, vocab] of chosen rows of `x`. */
export async function runLogits(core: Core, arena: Arena, view: ParameterView, x: Tensor, chosen: Int32Array, pace: Pace): Promise<Tensor> {
  const { runtime } = core;
  const eps = core.config.text.rmsNormEps;
  const body: Body = (ops, v) => {
    const rows = rmsNorm(ops, ops.gather(v["x"]!, v["rows"]!), v["norm"]!, eps);
    return { logits: headLogits(ops, rows, headValues(core, v)) };
  };
  const parts: Tensor[] = [];
  for (let at = 0; at < chosen.length; at += core.logitsChunk) {
    const count = Math.min(core.logitsChunk, chosen.length - at);
    const padded = count === 1 ? 1 : Math.min(core.logitsChunk, bucketLength(count));
    const index = new Int32Array(padded);
    index.set(chosen.subarray(at, at + count));
    const rows = arena.add(runtime.ints(index, [padded]));
    const logits = arena.add((await runtime.runPaced(pace, "logits", { x, rows, ...headInputs(core, view) }, body))["logits"]!);
    arena.free(rows);
    if (padded === count) parts.push(logits);
    else {
      parts.push(arena.add(logits.slice([0, 0], [count, logits.shape[1]!])));
      arena.free(logits);
    }
  }
  if (parts.length === 1) return parts[0]!;
  const all = arena.add(runtime.tf.concat(parts, 0));
  arena.free(...parts);
  return all;
}
