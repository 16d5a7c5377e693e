import type { Inputs, Ops } from "@dramascope/tensorflow";
import { attend, attendVjp, attentionProbabilities, sequenced, softmaxPull } from "../ops/attention.ts";
import type { KeySource } from "../ops/attention.ts";
import { gelu, geluVjp, rmsNorm, rmsNormVjp, rotate, swiglu, swigluVjp } from "../ops/elementwise.ts";
import { linear } from "../ops/linear.ts";
import type { LinearValues } from "../ops/linear.ts";
import { collectLinearsVjp, linearInputs } from "../text/decoder.ts";
import type { BlockWants } from "../text/decoder.ts";
import { fromHeads, rowsFirst, sum, toHeads } from "../text/heads.ts";

/** Epsilon of every norm of the tower; not part of any configuration. */
const EPS = 1e-6;

/** `count` neighbouring segments of `size` patches that start at patch `first` of every frame. */
export interface SegmentRun {
  first: number;
  count: number;
  size: number;
}

/** What is fixed in a vision body: `frames` equal temporal grids of `patches` rows each. */
export interface VisionShape {
  frames: number;
  patches: number;
  heads: number;
  headDim: number;
  /** Attention segments of one frame; together they are all its patches. */
  runs: readonly SegmentRun[];
  loraScales: Readonly<Record<string, number>>;
  queryChunk: number;
}

interface SegmentPiece<V> {
  queries: V;
  source: KeySource<V>;
  output: V;
  /** Computed again where they are many. */
  probabilities: V | undefined;
}

interface SegmentSaved<V> {
  run: SegmentRun;
  batch: number;
  pieces: SegmentPiece<V>[];
}

const KEEP_LIMIT = 2 ** 24;

function segmentRows<V>(ops: Ops<V>, x: V, run: SegmentRun, shape: VisionShape): V {
  const width = ops.shape(x)[1]!;
  if (run.count * run.size === shape.patches) return x;
  const part = ops.slice(ops.reshape(x, [shape.frames, shape.patches, width]), [0, run.first, 0], [shape.frames, run.count * run.size, width]);
  return ops.reshape(part, [shape.frames * run.count * run.size, width]);
}

function frameRows<V>(ops: Ops<V>, parts: readonly V[], shape: VisionShape): V {
  if (parts.length === 1) return parts[0]!;
  const width = ops.shape(parts[0]!)[1]!;
  const framed = parts.map((part) => ops.reshape(part, [shape.frames, ops.shape(part)[0]! / shape.frames, width]));
  return ops.reshape(ops.concat(framed, 1), [shape.frames * shape.patches, width]);
}

function segmentAttention<V>(ops: Ops<V>, q: V, k: V, v: V, shape: VisionShape): { output: V; saved: SegmentSaved<V>[] } {
  const { heads, headDim: d } = shape;
  let last: V | undefined;
  const outputs: V[] = [];
  const saved = shape.runs.map((run): SegmentSaved<V> => {
    const batch = shape.frames * run.count;
    const part = (x: V): V => toHeads(ops, segmentRows(ops, x, run, shape), batch, heads);
    const [queries, keys, values] = [part(q), part(k), part(v)];
    const keep = batch * heads * run.size * run.size <= KEEP_LIMIT;
    const chunk = keep ? run.size : Math.min(run.size, shape.queryChunk);
    const pieces: SegmentPiece<V>[] = [];
    const chunks: V[] = [];
    for (let from = 0; from < run.size; from += chunk) {
      const rows = Math.min(chunk, run.size - from);
      const some = rows === run.size ? queries : ops.slice(queries, [0, from, 0], [batch * heads, rows, d]);
      const attended = attend(ops, keep ? some : sequenced(ops, some, last), { keys, values });
      last = attended.output;
      pieces.push({ queries: some, source: { keys, values }, output: attended.output, probabilities: keep ? attended.probabilities : undefined });
      chunks.push(attended.output);
    }
    const all = chunks.length === 1 ? chunks[0]! : ops.concat(chunks, 1);
    outputs.push(fromHeads(ops, all, batch, run.size, heads));
    return { run, batch, pieces };
  });
  return { output: frameRows(ops, outputs, shape), saved };
}

function segmentAttentionVjp<V>(ops: Ops<V>, saved: readonly SegmentSaved<V>[], dOutput: V, shape: VisionShape): { q: V; k: V; v: V } {
  const { heads, headDim: d } = shape;
  let last: V | undefined;
  const parts = saved.map(({ run, batch, pieces }) => {
    const dRows = toHeads(ops, segmentRows(ops, dOutput, run, shape), batch, heads);
    let from = 0;
    const outs = pieces.map((piece) => {
      const rows = ops.shape(piece.queries)[1]!;
      const some = rows === run.size ? dRows : ops.slice(dRows, [0, from, 0], [batch * heads, rows, d]);
      from += rows;
      const probabilities = piece.probabilities ?? attentionProbabilities(ops, sequenced(ops, piece.queries, last), piece.source);
      const out = attendVjp(ops, piece.queries, piece.source, probabilities, softmaxPull(ops, piece.output, some), some);
      last = out.queries;
      return out;
    });
    const back = (x: V): V => fromHeads(ops, x, batch, run.size, heads);
    return {
      q: back(outs.length === 1 ? outs[0]!.queries : ops.concat(outs.map((o) => o.queries), 1)),
      k: back(rowsFirst(ops, sum(ops, outs.map((o) => o.keys)))),
      v: back(rowsFirst(ops, sum(ops, outs.map((o) => o.values)))),
    };
  });
  const all = (pick: (p: { q: V; k: V; v: V }) => V): V => frameRows(ops, parts.map(pick), shape);
  return { q: all((p) => p.q), k: all((p) => p.k), v: all((p) => p.v) };
}

function rotateFrames<V>(ops: Ops<V>, x: V, inputs: Inputs<V>, shape: VisionShape, inverse = false): V {
  const { frames, patches, heads, headDim } = shape;
  const angle = (name: string): V => ops.reshape(inputs[name]!, [1, patches, 1, headDim / 2]);
  const framed = ops.reshape(x, [frames, patches, heads, headDim]);
  return ops.reshape(rotate(ops, framed, angle("cos"), angle("sin"), inverse), [frames * patches, heads * headDim]);
}

/**
 * One block of the vision tower. Inputs: `x` [frames·patches, hidden], `cos` and `sin` [patches, d/2] of one frame, the five linears
 * (`attn.qkv`, `attn.proj`, `mlp.gate_proj`, `mlp.up_proj`, `mlp.down_proj`), `norm1.weight`, `norm2.weight`.
 */
export function visionBlock<V>(ops: Ops<V>, inputs: Inputs<V>, shape: VisionShape) {
  const of = (name: string): LinearValues<V> => linearInputs(inputs, name, shape.loraScales);
  const x = inputs["x"]!;
  const width = shape.heads * shape.headDim;
  const norm1 = rmsNorm(ops, x, inputs["norm1.weight"]!, EPS);
  const [q0, k0, v] = ops.split(linear(ops.scope("qkv"), norm1, of("attn.qkv")), [width, width, width], 1) as [V, V, V];
  const q = ops.mul(rotateFrames(ops, q0, inputs, shape), ops.scalar(1 / Math.sqrt(shape.headDim)));
  const attention = segmentAttention(ops.scope("attention"), q, rotateFrames(ops, k0, inputs, shape), v, shape);
  const middle = ops.add(x, linear(ops.scope("proj"), attention.output, of("attn.proj")));
  const norm2 = rmsNorm(ops, middle, inputs["norm2.weight"]!, EPS);
  const gate = linear(ops.scope("gate_proj"), norm2, of("mlp.gate_proj"));
  const up = linear(ops.scope("up_proj"), norm2, of("mlp.up_proj"));
  const activated = swiglu(ops, gate, up);
  const y = ops.add(middle, linear(ops.scope("down_proj"), activated, of("mlp.down_proj")));
  return { y, attention, middle, norm1, norm2, gate, up, activated };
}

/** Recomputes one block and gives the gradients for input `dy`, named as in `decoderBlockVjp`. */
export function visionBlockVjp<V>(ops: Ops<V>, inputs: Inputs<V>, shape: VisionShape, wants: BlockWants): Record<string, V> {
  const forward = visionBlock(ops.scope("forward"), inputs, shape);
  const out: Record<string, V> = {};
  const back = (name: string, x: V, dy: V): V =>
    collectLinearsVjp(ops, x, [{ name, values: linearInputs(inputs, name, shape.loraScales), dy }], wants.parameters, true, out)!;
  const norm = (name: string, x: V, dy: V): V => {
    const grads = rmsNormVjp(ops, x, inputs[`${name}.weight`]!, EPS, dy, wants.parameters.has(`${name}.weight`));
    if (grads.weight !== undefined) out[`${name}.weight`] = grads.weight;
    return grads.x;
  };
  const dy = inputs["dy"]!;
  const gates = swigluVjp(ops, forward.gate, forward.up, back("mlp.down_proj", forward.activated, dy));
  const dNorm2 = ops.add(back("mlp.gate_proj", forward.norm2, gates.gate), back("mlp.up_proj", forward.norm2, gates.up));
  const dMiddle = ops.add(dy, norm("norm2", forward.middle, dNorm2));
  const d = segmentAttentionVjp(ops.scope("attention_vjp"), forward.attention.saved, back("attn.proj", forward.attention.output, dMiddle), shape);
  const dq = rotateFrames(ops, ops.mul(d.q, ops.scalar(1 / Math.sqrt(shape.headDim))), inputs, shape, true);
  const dQkv = ops.concat([dq, rotateFrames(ops, d.k, inputs, shape, true), d.v], 1);
  const dNorm1 = back("attn.qkv", forward.norm1, dQkv);
  const dx = ops.add(dMiddle, norm("norm1", inputs["x"]!, dNorm1));
  if (wants.x) out["x"] = dx;
  return out;
}

/**
 * Merger: rows `x` [patches, hidden] to features [patches / unit, out], put in the order `order` (int32): feature i comes from unit
 * `order[i]`.
 */
export function merger<V>(ops: Ops<V>, inputs: Inputs<V>, unit: number, loraScales: Readonly<Record<string, number>>) {
  const x = inputs["x"]!;
  const [rows, width] = ops.shape(x) as [number, number];
  const merged = ops.reshape(rmsNorm(ops, x, inputs["ln_q.weight"]!, EPS), [rows / unit, width * unit]);
  const inner = linear(ops.scope("mlp0"), merged, linearInputs(inputs, "mlp.0", loraScales));
  const activated = gelu(ops, inner);
  const out = linear(ops.scope("mlp2"), activated, linearInputs(inputs, "mlp.2", loraScales));
  return { y: ops.gather(out, inputs["order"]!), merged, inner, activated };
}

/** Adjoint of {@link merger}; input `inverse` is the inverse of `order`. */
export function mergerVjp<V>(ops: Ops<V>, inputs: Inputs<V>, unit: number, loraScales: Readonly<Record<string, number>>, wants: BlockWants): Record<string, V> {
  const forward = merger(ops.scope("forward"), inputs, unit, loraScales);
  const x = inputs["x"]!;
  const out: Record<string, V> = {};
  const back = (name: string, input: V, dy: V): V =>
    collectLinearsVjp(ops, input, [{ name, values: linearInputs(inputs, name, loraScales), dy }], wants.parameters, true, out)!;
  const dActivated = back("mlp.2", forward.activated, ops.gather(inputs["dy"]!, inputs["inverse"]!));
  const dMerged = back("mlp.0", forward.merged, geluVjp(ops, forward.inner, dActivated));
  const grads = rmsNormVjp(ops, x, inputs["ln_q.weight"]!, EPS, ops.reshape(dMerged, ops.shape(x)), wants.parameters.has("ln_q.weight"));
  if (grads.weight !== undefined) out["ln_q.weight"] = grads.weight;
  if (wants.x) out["x"] = grads.x;
  return out;
}
