import type { Inputs, Ops } from "@dramascope/tensorflow";
import { rmsNorm, rmsNormVjp, rotate, swiglu, swigluVjp } from "../ops/elementwise.ts";
import { linear, linearsVjp } from "../ops/linear.ts";
import type { LinearValues } from "../ops/linear.ts";
import type { HeadShape } from "./heads.ts";
import { completionRows, liveInputs, liveRows, spreadRows } from "./live-rows.ts";
import { sharedPrefixAttention, sharedPrefixAttentionVjp } from "./shared-prefix.ts";
import type { PrefixValues, RowLayout } from "./shared-prefix.ts";

/** What is fixed in a decoder body. */
export interface DecoderShape extends HeadShape {
  /** Epsilon of both norms. */
  eps: number;
  /** Factors of the low-rank parts by linear; a linear without entry has none. */
  loraScales: Readonly<Record<string, number>>;
  /** Query rows attended at once. */
  queryChunk: number;
}

/** A linear's values among the inputs of a body: `NAME.weight`, `NAME.bias`, `NAME.lora_A`, `NAME.lora_B`, `NAME.lora_kept`. */
export function linearInputs<V>(inputs: Inputs<V>, name: string, loraScales: Readonly<Record<string, number>>): LinearValues<V> {
  const a = inputs[`${name}.lora_A`];
  const b = inputs[`${name}.lora_B`];
  return {
    weight: inputs[`${name}.weight`]!,
    bias: inputs[`${name}.bias`],
    lora: a === undefined || b === undefined ? undefined : { a, b, scale: loraScales[name]!, kept: inputs[`${name}.lora_kept`] },
  };
}

/** A linear of a block in its backward. */
export interface NamedLinear<V> {
  name: string;
  values: LinearValues<V>;
  /** Gradient of its result. */
  dy: V;
}

/** Gradients of linears that read the same rows `x`, under the names of {@link linearInputs} and for the wanted names only; the result is the gradient of `x`. */
export function collectLinearsVjp<V>(ops: Ops<V>, x: V, linears: readonly NamedLinear<V>[], wants: ReadonlySet<string>, wantsX: boolean, out: Record<string, V>): V | undefined {
  const grads = linearsVjp(ops, x, linears.map(({ name, values, dy }) => ({
    values, dy, wants: { weight: wants.has(`${name}.weight`), bias: wants.has(`${name}.bias`), lora: wants.has(`${name}.lora_A`) },
  })), wantsX);
  grads.parts.forEach(({ weight, bias, a, b }, i) => {
    const { name } = linears[i]!;
    if (weight !== undefined) out[`${name}.weight`] = weight;
    if (bias !== undefined) out[`${name}.bias`] = bias;
    if (a !== undefined) out[`${name}.lora_A`] = a;
    if (b !== undefined) out[`${name}.lora_B`] = b;
  });
  return grads.x;
}

/** Rotates projected rows [n, heads·d]. */
export function rotateRows<V>(ops: Ops<V>, x: V, heads: number, cos: V, sin: V, inverse = false): V {
  const [rows, width] = ops.shape(x) as [number, number];
  const d = width / heads;
  const angle = (a: V): V => ops.reshape(a, [rows, 1, d / 2]);
  return ops.reshape(rotate(ops, ops.reshape(x, [rows, heads, d]), angle(cos), angle(sin), inverse), [rows, width]);
}

/** {@link rotateRows} of queries, which are scaled by 1/√d: the angles' few values are, not the rows. */
function rotateQueries<V>(ops: Ops<V>, x: V, { heads, headDim }: HeadShape, cos: V, sin: V, inverse = false): V {
  const scale = ops.scalar(1 / Math.sqrt(headDim));
  return rotateRows(ops, x, heads, ops.mul(cos, scale), ops.mul(sin, scale), inverse);
}

/** Inner results of a layer that its backward need not compute again where they are kept, in this order. */
export const KEPT = ["q", "k", "v", "attended", "middle", "gate", "up"] as const;
/** Values of {@link KEPT}: queries rotated and scaled, keys rotated, the result of attention, the rows before the second norm, and both results of the first linears behind it. */
export type Kept<V> = Record<(typeof KEPT)[number], V>;

/** Values of {@link KEPT} in floats a row. */
export function keptWidth({ heads, kvHeads, headDim }: HeadShape, hidden: number, intermediate: number): number {
  return (2 * heads + 2 * kvHeads) * headDim + hidden + 2 * intermediate;
}

/**
 * The part of a layer that follows attention, for input rows `x` [n, hidden] and `attended` [n, heads·d]: what its backward needs, and its output, which is computed when it is
 * asked for.
 */
export function feedForward<V>(ops: Ops<V>, inputs: Inputs<V>, { eps, loraScales }: Pick<DecoderShape, "eps" | "loraScales">, x: V, attended: V, known?: Kept<V>) {
  const project = (name: string, value: V): V => linear(ops.scope(name), value, linearInputs(inputs, name, loraScales));
  const middle = known?.middle ?? ops.add(x, project("o_proj", attended));
  const norm2 = rmsNorm(ops, middle, inputs["post_attention_layernorm.weight"]!, eps);
  const gate = known?.gate ?? project("gate_proj", norm2);
  const up = known?.up ?? project("up_proj", norm2);
  const activated = swiglu(ops, gate, up);
  return { y: (): V => ops.add(middle, project("down_proj", activated)), middle, norm2, gate, up, activated };
}

/** A layer but for its output: what that and its backward need. */
function innerResults<V>(ops: Ops<V>, inputs: Inputs<V>, shape: DecoderShape, layout: RowLayout, known: Kept<V> | undefined) {
  const { kvHeads, eps, loraScales } = shape;
  const live = (rows: V): V => liveRows(ops, rows, inputs["last"], layout);
  const own = liveInputs(ops, inputs, layout);
  const x = inputs["x"]!;
  const cos = inputs["cos"]!;
  const sin = inputs["sin"]!;
  const project = (name: string, value: V, from: Inputs<V>): V => linear(ops.scope(name), value, linearInputs(from, name, loraScales));
  const norm1 = rmsNorm(ops, x, inputs["input_layernorm.weight"]!, eps);
  const q = known?.q ?? rotateQueries(ops, project("q_proj", live(norm1), own), shape, live(cos), live(sin));
  const k = known?.k ?? rotateRows(ops, project("k_proj", norm1, inputs), kvHeads, cos, sin);
  const v = known?.v ?? project("v_proj", norm1, inputs);
  const prefix = layout.prefix === "given" ? { keys: inputs["prefixKeys"]!, values: inputs["prefixValues"]! } : undefined;
  const attention = sharedPrefixAttention(ops.scope("attention"), { q, k, v, prefixBias: inputs["prefixBias"], prefix, output: known?.attended }, shape, layout, shape.queryChunk);
  const { y, norm2, activated, middle, gate, up } = feedForward(ops, own, shape, live(x), attention.output, known);
  return { y, attention, norm1, norm2, activated, kept: { q, k, v, attended: attention.output, middle, gate, up } };
}

/**
 * One decoder layer over the rows of a layout. Inputs: `x` [rows, hidden], `cos` and `sin` [rows, d/2], `prefixBias` when the
 * layout has completions or only last rows live, `last` (int32 [prompts]) in the latter case, `prefixKeys` and `prefixValues` where these are given, the linears,
 * `input_layernorm.weight`, `post_attention_layernorm.weight`. Its output has the live rows.
 */
export function decoderBlock<V>(ops: Ops<V>, inputs: Inputs<V>, shape: DecoderShape, layout: RowLayout): { y: V; prefix: PrefixValues<V>; kept: Kept<V> } {
  const { y, attention, kept } = innerResults(ops, inputs, shape, layout, undefined);
  return { y: y(), prefix: attention.prefix, kept };
}

/** What the backward of a layer is asked for. */
export interface BlockWants {
  /** Gradient of the layer's input. */
  x: boolean;
  /** Local parameter names; a linear's low-rank pair is asked for by its `lora_A`. */
  parameters: ReadonlySet<string>;
}

/** Whether gradients flow into the prompts' keys and values, or take these as constants; the latter only where of the prompts the last rows alone are live. */
export type PrefixGradient = "flowing" | "constant";

/** How {@link decoderBlockVjp} goes back. */
export interface BlockVjpOptions<V> {
  /** Default `flowing`. */
  prefix?: PrefixGradient;
  /** Inner results that were kept; default none: all is computed again. */
  kept?: Kept<V> | undefined;
}

/**
 * Gradients of one layer for `dy`: `x` and the wanted parameters under their local names, weights in PyTorch's shapes, and `prefixKeys` and `prefixValues` where these are
 * given. Inputs as in {@link decoderBlock}, `dy` [live rows, hidden], and `dPrefixKeys` and `dPrefixValues` where completions elsewhere add to the prompts' keys and values;
 * `x` has all rows, or with a constant prefix the live ones.
 */
export function decoderBlockVjp<V>(
  ops: Ops<V>, inputs: Inputs<V>, shape: DecoderShape, layout: RowLayout, wants: BlockWants, { prefix = "flowing", kept: known }: BlockVjpOptions<V> = {},
): Record<string, V> {
  const { kvHeads, eps, loraScales } = shape;
  const forward = innerResults(ops.scope("forward"), inputs, shape, layout, known);
  const out: Record<string, V> = {};
  const cos = inputs["cos"]!;
  const sin = inputs["sin"]!;
  const live = (rows: V): V => liveRows(ops, rows, inputs["last"], layout);
  const own = liveInputs(ops, inputs, layout);
  const back = (x: V, linears: Readonly<Record<string, V>>): V =>
    collectLinearsVjp(ops, x, Object.entries(linears).map(([name, dy]) => ({ name, values: linearInputs(own, name, loraScales), dy })), wants.parameters, true, out)!;
  const norm = (name: string, x: V, dy: V): V => {
    const grads = rmsNormVjp(ops.scope(name), x, inputs[`${name}.weight`]!, eps, dy, wants.parameters.has(`${name}.weight`));
    if (grads.weight !== undefined) out[`${name}.weight`] = grads.weight;
    return grads.x;
  };

  const dy = inputs["dy"]!;
  const { gate, up, middle, attended } = forward.kept;
  const gates = swigluVjp(ops, gate, up, back(forward.activated, { down_proj: dy }));
  const dNorm2 = back(forward.norm2, { gate_proj: gates.gate, up_proj: gates.up });
  const dMiddle = ops.add(dy, norm("post_attention_layernorm", middle, dNorm2));
  const dAttention = back(attended, { o_proj: dMiddle });
  const more = inputs["dPrefixKeys"] === undefined ? undefined : { keys: inputs["dPrefixKeys"], values: inputs["dPrefixValues"]! };
  const heads3 = sharedPrefixAttentionVjp(ops.scope("attention_vjp"), forward.attention.saved, attended, dAttention, shape, layout, more);
  if (heads3.prefix !== undefined && prefix === "flowing") Object.assign(out, { prefixKeys: heads3.prefix.keys, prefixValues: heads3.prefix.values });
  const dq = rotateQueries(ops, heads3.q, shape, live(cos), live(sin), true);
  const dk = rotateRows(ops, heads3.k, kvHeads, cos, sin, true);
  const needsNorm1 = wants.x || wants.parameters.has("input_layernorm.weight");
  // Rows whose keys and values take gradients, and how gradients of live rows come among them.
  const isConstant = prefix === "constant" && layout.prefix !== "given";
  const reached = (rows: V): V => (isConstant ? completionRows(ops, rows, layout) : rows);
  const keyed = (name: string): LinearValues<V> => {
    const values = linearInputs(inputs, name, loraScales);
    return values.lora?.kept === undefined ? values : { ...values, lora: { ...values.lora, kept: reached(values.lora.kept) } };
  };
  const project = (x: V, linears: readonly NamedLinear<V>[]): V | undefined => collectLinearsVjp(ops, x, linears, wants.parameters, needsNorm1, out);
  const ofKeys = (): NamedLinear<V>[] => [{ name: "k_proj", values: keyed("k_proj"), dy: reached(dk) }, { name: "v_proj", values: keyed("v_proj"), dy: reached(heads3.v) }];
  const ofQueries = { name: "q_proj", values: linearInputs(own, "q_proj", loraScales), dy: dq };
  let dNorm1: V | undefined;
  if (layout.live === "last") {
    const fromQueries = project(live(forward.norm1), [ofQueries]);
    const fromBoth = isConstant && layout.completions === 0 ? undefined : project(reached(forward.norm1), ofKeys());
    if (fromBoth === undefined) dNorm1 = fromQueries;
    else dNorm1 = isConstant ? ops.add(fromQueries!, ops.pad(fromBoth, [[layout.prompts, 0], [0, 0]])) : ops.add(spreadRows(ops, fromQueries!, inputs["last"], layout), fromBoth);
  } else dNorm1 = project(forward.norm1, [ofQueries, ...ofKeys()]);
  if (dNorm1 !== undefined) {
    const x = isConstant ? live(inputs["x"]!) : inputs["x"]!;
    const dx = ops.add(isConstant ? dMiddle : spreadRows(ops, dMiddle, inputs["last"], layout), norm("input_layernorm", x, dNorm1));
    if (wants.x) out["x"] = dx;
  }
  return out;
}

/** Linears that a decode step may find side by side as one. */
export const FUSED_LINEARS = { qkv_proj: ["q_proj", "k_proj", "v_proj"], gate_up_proj: ["gate_proj", "up_proj"] } as const;

/** What is fixed in a decode step: rows are prompts × samples, every row adds one token. */
export interface DecodeShape extends HeadShape {
  /** Epsilon of both norms. */
  eps: number;
  prompts: number;
  /** Samples of every prompt. */
  samples: number;
  /** Rows of the prompts' keys, padding included. */
  promptRows: number;
  /** Slots of each sample's own cache. */
  capacity: number;
  /** As in {@link DecoderShape}. */
  loraScales: Readonly<Record<string, number>>;
}

/**
 * One decoder layer for one new token a row. Inputs: `x` [rows, hidden], `cos` and `sin` [rows, d/2], both norms, the
 * linears, each alone or as {@link FUSED_LINEARS}; `prefixKeys` and `prefixValues`
 * [prompts·kvHeads, promptRows, d]; `ownKeys` and `ownValues` [prompts·kvHeads·samples·capacity, d], written at `slots` (int32);
 * `prefixBias` [prompts, promptRows], `ownBias` [capacity].
 */
export function decodeBlock<V>(ops: Ops<V>, inputs: Inputs<V>, shape: DecodeShape): { y: V; ownKeys: V; ownValues: V } {
  const { heads, kvHeads, headDim: d, eps, prompts, samples, promptRows, capacity, loraScales } = shape;
  const group = heads / kvHeads;
  const g = prompts * kvHeads;
  const x = inputs["x"]!;
  const rows = prompts * samples;
  const cos = inputs["cos"]!;
  const sin = inputs["sin"]!;
  const norm1 = rmsNorm(ops, x, inputs["input_layernorm.weight"]!, eps);
  const project = (name: string, value: V): V => linear(ops.scope(name), value, linearInputs(inputs, name, loraScales));
  const projectAll = (fused: keyof typeof FUSED_LINEARS, value: V): V =>
    inputs[`${fused}.weight`] === undefined ? ops.concat(FUSED_LINEARS[fused].map((name) => project(name, value)), 1) : project(fused, value);
  const byHead = (value: V, width: number): V =>
    ops.reshape(ops.transpose(ops.reshape(value, [prompts, samples, kvHeads, width]), [0, 2, 1, 3]), [g * samples, width]);
  const [qk, v] = ops.split(projectAll("qkv_proj", norm1), [(heads + kvHeads) * d, kvHeads * d], 1) as [V, V];
  const [rotatedQ, k] = ops.split(rotateRows(ops, qk, heads + kvHeads, cos, sin), [heads * d, kvHeads * d], 1) as [V, V];
  const q = ops.mul(rotatedQ, ops.scalar(1 / Math.sqrt(d)));
  const ownKeys = ops.updateRows(inputs["ownKeys"]!, inputs["slots"]!, byHead(k, d));
  const ownValues = ops.updateRows(inputs["ownValues"]!, inputs["slots"]!, byHead(v, d));
  const queries = ops.reshape(byHead(q, group * d), [g, samples * group, d]);
  const shared = ops.reshape(ops.batchMatmul(queries, inputs["prefixKeys"]!, { transposeB: true }), [prompts, kvHeads * samples * group, promptRows]);
  const sharedScores = ops.reshape(ops.add(shared, ops.reshape(inputs["prefixBias"]!, [prompts, 1, promptRows])), [g, samples * group, promptRows]);
  const own = ops.batchMatmul(ops.reshape(queries, [g * samples, group, d]), ops.reshape(ownKeys, [g * samples, capacity, d]), { transposeB: true });
  const ownScores = ops.reshape(ops.add(own, ops.reshape(inputs["ownBias"]!, [1, 1, capacity])), [g, samples * group, capacity]);
  const probabilities = ops.softmax(ops.concat([sharedScores, ownScores], 2));
  const [pShared, pOwn] = ops.split(probabilities, [promptRows, capacity], 2) as [V, V];
  const fromOwn = ops.batchMatmul(ops.reshape(pOwn, [g * samples, group, capacity]), ops.reshape(ownValues, [g * samples, capacity, d]));
  const attended = ops.add(ops.batchMatmul(pShared, inputs["prefixValues"]!), ops.reshape(fromOwn, [g, samples * group, d]));
  const perRow = ops.transpose(ops.reshape(attended, [prompts, kvHeads, samples, group * d]), [0, 2, 1, 3]);
  const middle = ops.add(x, project("o_proj", ops.reshape(perRow, [rows, heads * d])));
  const norm2 = rmsNorm(ops, middle, inputs["post_attention_layernorm.weight"]!, eps);
  const both = projectAll("gate_up_proj", norm2);
  const width = ops.shape(both)[1]! / 2;
  const [gate, up] = ops.split(both, [width, width], 1) as [V, V];
  const y = ops.add(middle, project("down_proj", swiglu(ops, gate, up)));
  return { y, ownKeys, ownValues };
}
