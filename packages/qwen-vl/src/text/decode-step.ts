import type { Body, Compiled, TensorLike } from "@dramascope/tensorflow";
import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { MASKED } from "../ops/attention.ts";
import type { Pace } from "../pace.ts";
import { rmsNorm } from "../ops/elementwise.ts";
import { embed } from "../ops/embed.ts";
import { headLogits } from "../ops/log-prob.ts";
import { blockedInputs, blockedValues, blockInputs, decoderLayerNames, EMBEDDING } from "../parameters.ts";
import type { ParameterView } from "../parameters.ts";
import type { Tensor } from "../tensor-types.ts";
import { decodeBlock, FUSED_LINEARS } from "./decoder.ts";
import type { DecodeShape } from "./decoder.ts";
import { headInputs, headValues } from "./forward.ts";
import type { KvCache } from "./kvcache.ts";
import { decoderRope, ropeAngles } from "./rope.ts";
import type { RopeTable } from "./rope.ts";

/** One token for every row (prompt, sample). */
export interface DecodeRows {
  ids: Int32Array;
  /** Position on all axes. */
  positions: Int32Array;
  /** Slot of the own cache, the same for all rows. */
  slot: number;
}

/** Values of one decoded token. */
export interface DecodeResult {
  logits: Tensor;
  /** Softmax of logits / temperature, when a temperature was given. */
  probabilities: Tensor | undefined;
}

/** Fused layers that go into one compiled call; a call costs about as much as the smallest layer. */
const FUSED_LAYERS_PER_CALL = 4;

/** Consecutive layers of one call; the first call also embeds, the last one also gives logits. */
interface Segment {
  layers: number[];
  embeds: boolean;
  ends: boolean;
  /** Parameters by input name, `i/name` for the i-th layer of the segment. */
  parameters: Record<string, TensorLike>;
  /** Factors of the low-rank parts by layer of the segment and linear. */
  loraScales: Readonly<Record<string, number>>[];
}

/** Bytes of the decoder's linears up to which decoding works on fused copies of them. */
const FUSED_BYTES = 2 ** 28;

/**
 * Whether decoding takes copies of the linears, q, k, v and gate, up side by side and low-rank parts added in: small models wait for the
 * number of products, large ones for memory. Matrices in bfloat16 are never copied so: a low-rank part would be rounded away in them.
 */
export function decodesFused({ config: { text }, dtype }: Pick<Core, "config" | "dtype">): boolean {
  const { layers, hiddenSize, intermediateSize, heads, kvHeads, headDim } = text;
  const linears = hiddenSize * ((2 * heads + 2 * kvHeads) * headDim + 3 * intermediateSize);
  return dtype === "float32" && 4 * layers * linears <= FUSED_BYTES;
}

/** Decoding with fixed parameters; where {@link decodesFused} holds the view must have no low-rank parts. */
export class Decoder {
  readonly #core: Core;
  readonly #arena: Arena;
  readonly #rope: RopeTable;
  readonly #segments: Segment[] = [];
  readonly #temperature: number | undefined;
  #ready: { key: string; calls: Compiled[] } | undefined;

  /** @param temperature Gives probabilities of logits / temperature as well. */
  constructor(core: Core, arena: Arena, view: ParameterView, temperature?: number) {
    const { headDim, ropeTheta, mropeSection, layers } = core.config.text;
    this.#core = core;
    this.#arena = arena;
    this.#temperature = temperature;
    this.#rope = decoderRope(headDim, ropeTheta, mropeSection);
    const fused = decodesFused(core);
    const perCall = fused ? FUSED_LAYERS_PER_CALL : 1;
    for (let first = 0; first < layers; first += perCall) {
      const own = Array.from({ length: Math.min(perCall, layers - first) }, (_, i) => first + i);
      const embeds = first === 0;
      const ends = first + own.length === layers;
      const parameters: Record<string, TensorLike> = {};
      const loraScales = own.map((layer, i) => {
        const { tensors, loraScales: scales } = fused ? { tensors: fusedLayer(core, arena, view, layer), loraScales: {} } : blockInputs(view, decoderLayerNames(layer));
        for (const [name, tensor] of Object.entries(tensors)) parameters[`${i}/${name}`] = tensor;
        return scales;
      });
      if (embeds) Object.assign(parameters, blockedInputs("table", view.blocks(EMBEDDING)));
      if (ends) Object.assign(parameters, headInputs(core, view));
      this.#segments.push({ layers: own, embeds, ends, parameters, loraScales });
    }
  }

  /** Runs one token of every row and writes the cache; the results [rows, vocab] are owned by the arena. */
  async step(cache: KvCache, prefixBias: Tensor, rows: DecodeRows, pace: Pace): Promise<DecodeResult> {
    const arena = this.#arena;
    const { runtime, config } = this.#core;
    const { kvHeads, headDim } = config.text;
    const { prompts, samples, capacity } = cache.shape;
    const n = rows.ids.length;
    const three = new Int32Array(3 * n);
    for (let axis = 0; axis < 3; axis++) three.set(rows.positions, axis * n);
    const angles = ropeAngles(this.#rope, three, n);
    const owners = prompts * kvHeads * samples;
    const shared = arena.addAll({
      cos: runtime.floats(angles.cos, [n, headDim / 2]),
      sin: runtime.floats(angles.sin, [n, headDim / 2]),
      slots: runtime.ints(Int32Array.from({ length: owners }, (_, i) => i * capacity + rows.slot), [owners]),
      ownBias: runtime.floats(new Float32Array(capacity).fill(MASKED, rows.slot + 1), [capacity]),
    });
    let x = arena.add(runtime.ints(rows.ids, [n]));
    let probabilities: Tensor | undefined;
    for (const [s, segment] of this.#segments.entries()) {
      await pace.breathe();
      const inputs: Record<string, TensorLike> = { x, ...shared, prefixBias, ...segment.parameters };
      segment.layers.forEach((layer, i) => {
        for (const [name, tensor] of Object.entries(cache.layers[layer]!)) inputs[`${i}/${name}`] = tensor as Tensor;
      });
      const out = this.#call(cache, s, inputs)(inputs);
      segment.layers.forEach((layer, i) => {
        cache.update(layer, out[`${i}/ownKeys`]!, out[`${i}/ownValues`]!);
      });
      arena.free(x);
      x = arena.add(out["x"]!);
      probabilities = out["probabilities"];
    }
    arena.free(...Object.values(shared));
    return { logits: x, probabilities: probabilities === undefined ? undefined : arena.add(probabilities) };
  }

  #call(cache: KvCache, index: number, inputs: Record<string, TensorLike>): Compiled {
    const { prompts, samples, capacity, promptRows } = cache.shape;
    const key = `${prompts},${samples},${capacity},${promptRows}`;
    if (this.#ready?.key !== key) this.#ready = { key, calls: [] };
    const known = this.#ready.calls[index];
    if (known !== undefined) return known;
    const { layers, embeds, ends, loraScales } = this.#segments[index]!;
    const temperature = this.#temperature;
    const { heads, kvHeads, headDim, rmsNormEps: eps } = this.#core.config.text;
    const shape: Omit<DecodeShape, "loraScales"> = { heads, kvHeads, headDim, eps, prompts, samples, promptRows, capacity };
    const body: Body = (ops, v) => {
      let x = embeds ? embed(ops, blockedValues("table", v), v["x"]!) : v["x"]!;
      const out: Record<string, typeof x> = {};
      const common = Object.fromEntries(["cos", "sin", "slots", "ownBias", "prefixBias"].map((name) => [name, v[name]!]));
      layers.forEach((_, i) => {
        const own = Object.fromEntries(Object.entries(v).flatMap(([name, value]) => (name.startsWith(`${i}/`) ? [[name.slice(name.indexOf("/") + 1), value]] : [])));
        const { y, ownKeys, ownValues } = decodeBlock(ops.scope(`layer${i}`), { ...common, ...own, x }, { ...shape, loraScales: loraScales[i]! });
        x = y;
        out[`${i}/ownKeys`] = ownKeys;
        out[`${i}/ownValues`] = ownValues;
      });
      if (ends) x = headLogits(ops, rmsNorm(ops, x, v["norm"]!, eps), headValues(this.#core, v));
      if (ends && temperature !== undefined) out["probabilities"] = ops.softmax(ops.mul(x, ops.scalar(1 / temperature)));
      out["x"] = x;
      return out;
    };
    const made = this.#core.runtime.prepare(`decode:${key}:${layers.length}${embeds ? "e" : ""}${ends ? `h${temperature ?? ""}` : ""}:${JSON.stringify(loraScales)}`, inputs, body);
    this.#ready.calls[index] = made;
    return made;
  }
}

/** Parameters of a layer with q, k, v and gate, up side by side. */
function fusedLayer(core: Core, arena: Arena, view: ParameterView, index: number): Record<string, TensorLike> {
  const { tensors } = blockInputs(view, decoderLayerNames(index));
  const joined = (parts: readonly (TensorLike | undefined)[], axis: number): TensorLike => arena.add(core.runtime.tf.concat(parts as Tensor[], axis));
  const parts = new Set<string>(Object.values(FUSED_LINEARS).flat());
  const out = Object.fromEntries(Object.entries(tensors).filter(([name]) => !parts.has(name.slice(0, name.lastIndexOf(".")))));
  for (const [fused, names] of Object.entries(FUSED_LINEARS)) {
    out[`${fused}.weight`] = joined(names.map((name) => tensors[`${name}.weight`]), 1);
    const biases = names.map((name) => tensors[`${name}.bias`]);
    if (!biases.includes(undefined)) out[`${fused}.bias`] = joined(biases, 0);
  }
  return out;
}
