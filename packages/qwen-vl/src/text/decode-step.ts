import type { Body } from "@dramascope/tensorflow";
import { MASKED } from "../ops/attention.ts";
import { rmsNorm } from "../ops/elementwise.ts";
import { headLogits } from "../ops/log-prob.ts";
import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { blockInputs, decoderLayerNames } from "../parameters.ts";
import type { ParameterView } from "../parameters.ts";
import type { Tensor } from "../types.ts";
import { decodeBlock } from "./decoder.ts";
import { decoderShape, embedRows, headInputs, headValues } from "./forward.ts";
import type { KvCache } from "./kvcache.ts";
import { decoderRope, ropeAngles } from "./rope.ts";

/** One token for every row (prompt, sample). */
export interface DecodeRows {
  ids: Int32Array;
  /** Position on all axes. */
  positions: Int32Array;
  /** Slot of the own cache, the same for all rows. */
  slot: number;
}

/** Runs one token of every row through the decoder, writes the cache and gives the logits [rows, vocab], owned by the arena. */
export function decodeStep(core: Core, arena: Arena, view: ParameterView, cache: KvCache, prefixBias: Tensor, rows: DecodeRows): Tensor {
  const { runtime, config } = core;
  const { heads: _heads, kvHeads, headDim, ropeTheta, mropeSection, rmsNormEps } = config.text;
  const { prompts, samples, promptRows, capacity } = cache.shape;
  const n = rows.ids.length;
  const three = new Int32Array(3 * n);
  for (let axis = 0; axis < 3; axis++) three.set(rows.positions, axis * n);
  const angles = ropeAngles(decoderRope(headDim, ropeTheta, mropeSection), three, n);
  const ids = arena.add(runtime.ints(rows.ids, [n]));
  const cos = arena.add(runtime.floats(angles.cos, [n, headDim / 2]));
  const sin = arena.add(runtime.floats(angles.sin, [n, headDim / 2]));
  const owners = prompts * kvHeads * samples;
  const slots = arena.add(runtime.ints(Int32Array.from({ length: owners }, (_, i) => i * capacity + rows.slot), [owners]));
  const ownBias = arena.add(runtime.floats(new Float32Array(capacity).fill(MASKED, rows.slot + 1), [capacity]));
  let x = embedRows(core, arena, view, ids, undefined, undefined);
  cache.layers.forEach((layer, i) => {
    const { tensors, loraScales } = blockInputs(view, decoderLayerNames(i));
    const shape = { ...decoderShape(core, loraScales), prompts, samples, promptRows, capacity };
    const body: Body = (ops, v) => decodeBlock(ops, v, shape) as unknown as Record<string, never>;
    const key = `decode_block:${prompts},${samples},${capacity}:${JSON.stringify(loraScales)}`;
    const out = runtime.run(key, { x, cos, sin, slots, ownBias, prefixBias, ...layer, ...tensors }, body);
    cache.update(i, out["ownKeys"]!, out["ownValues"]!);
    arena.free(x);
    x = arena.add(out["y"]!);
  });
  const body: Body = (ops, v) => ({ logits: headLogits(ops, rmsNorm(ops, v["x"]!, v["norm"]!, rmsNormEps), headValues(core, v["head"]!)) });
  const logits = arena.add(runtime.run("decode_logits", { x, ...headInputs(core, view) }, body)["logits"]!);
  arena.free(x, ids, cos, sin, slots, ownBias);
  return logits;
}
