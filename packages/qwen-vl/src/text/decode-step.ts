import type { Body, Compiled } from "@dramascope/tensorflow";
import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { MASKED } from "../ops/attention.ts";
import { rmsNorm } from "../ops/elementwise.ts";
import { headLogits } from "../ops/log-prob.ts";
import { decoderLayerNames, EMBEDDING } from "../parameters.ts";
import type { ParameterView } from "../parameters.ts";
import type { Tensor } from "../types.ts";
import { decodeBlock } from "./decoder.ts";
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

/** Decoding with fixed parameters; the view must have no low-rank parts. */
export class Decoder {
  readonly #core: Core;
  readonly #arena: Arena;
  readonly #rope: RopeTable;
  readonly #layers: Record<string, Tensor>[];
  readonly #table: Tensor;
  readonly #head: Record<string, Tensor>;
  #ready: { key: string; embed: Compiled; block: Compiled; logits: Compiled } | undefined;

  constructor(core: Core, arena: Arena, view: ParameterView) {
    const { headDim, ropeTheta, mropeSection, layers } = core.config.text;
    this.#core = core;
    this.#arena = arena;
    this.#rope = decoderRope(headDim, ropeTheta, mropeSection);
    this.#layers = Array.from({ length: layers }, (_, i) => fusedLayer(core, arena, view, i));
    this.#table = view.tensor(EMBEDDING);
    this.#head = headInputs(core, view);
  }

  /** Runs one token of every row, writes the cache and gives the logits [rows, vocab], owned by the arena. */
  step(cache: KvCache, prefixBias: Tensor, rows: DecodeRows): Tensor {
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
    const ids = arena.add(runtime.ints(rows.ids, [n]));
    const { embed, block, logits } = this.#functions(cache, { ids, ...shared, prefixBias });
    let x = arena.add(embed({ table: this.#table, ids })["x"]!);
    cache.layers.forEach((layer, i) => {
      const out = block({ x, ...shared, prefixBias, ...layer, ...this.#layers[i]! });
      cache.update(i, out["ownKeys"]!, out["ownValues"]!);
      arena.free(x);
      x = arena.add(out["y"]!);
    });
    const result = arena.add(logits({ x, ...this.#head })["logits"]!);
    arena.free(x, ids, ...Object.values(shared));
    return result;
  }

  #functions(cache: KvCache, inputs: { ids: Tensor } & Record<string, Tensor>) {
    const { prompts, samples, capacity, promptRows } = cache.shape;
    const key = `${prompts},${samples},${capacity},${promptRows}`;
    if (this.#ready?.key === key) return this.#ready;
    const { runtime, config } = this.#core;
    const { heads, kvHeads, headDim, hiddenSize, rmsNormEps: eps } = config.text;
    const { ids, ...shared } = inputs;
    const x = runtime.tf.zeros([ids.size, hiddenSize]);
    try {
      const shape: DecodeShape = { heads, kvHeads, headDim, eps, prompts, samples, promptRows, capacity };
      const block: Body = (ops, v) => ({ ...decodeBlock(ops, v, shape) });
      const embed: Body = (ops, v) => ({ x: ops.gather(v["table"]!, v["ids"]!) });
      const logits: Body = (ops, v) => ({ logits: headLogits(ops, rmsNorm(ops, v["x"]!, v["norm"]!, eps), headValues(this.#core, v["head"]!)) });
      this.#ready = {
        key,
        embed: runtime.prepare("decode_embed", { table: this.#table, ids }, embed),
        block: runtime.prepare(`decode_block:${key}`, { x, ...shared, ...cache.layers[0]!, ...this.#layers[0]! }, block),
        logits: runtime.prepare("decode_logits", { x, ...this.#head }, logits),
      };
      return this.#ready;
    } finally {
      x.dispose();
    }
  }
}

/** Parameters of a layer with q, k, v and gate, up side by side. */
function fusedLayer(core: Core, arena: Arena, view: ParameterView, index: number): Record<string, Tensor> {
  const { prefix } = decoderLayerNames(index);
  const { tf } = core.runtime;
  const [q, k, v] = ["q_proj", "k_proj", "v_proj"].map((name) => view.module(`${prefix}.self_attn.${name}`));
  const [gate, up] = ["gate_proj", "up_proj"].map((name) => view.module(`${prefix}.mlp.${name}`));
  const biases = [q!.bias, k!.bias, v!.bias].filter((bias) => bias !== undefined);
  return {
    "input_layernorm.weight": view.tensor(`${prefix}.input_layernorm.weight`),
    "post_attention_layernorm.weight": view.tensor(`${prefix}.post_attention_layernorm.weight`),
    "qkv.weight": arena.add(tf.concat([q!.weight, k!.weight, v!.weight], 1)),
    ...(biases.length === 3 ? { "qkv.bias": arena.add(tf.concat(biases, 0)) } : {}),
    "output.weight": view.module(`${prefix}.self_attn.o_proj`).weight,
    "gateUp.weight": arena.add(tf.concat([gate!.weight, up!.weight], 1)),
    "down.weight": view.module(`${prefix}.mlp.down_proj`).weight,
  };
}
