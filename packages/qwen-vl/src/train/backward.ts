import type { Body, TensorLike } from "@dramascope/tensorflow";
import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import type { Pace } from "../pace.ts";
import { rmsNorm, rmsNormVjp } from "../ops/elementwise.ts";
import { scoreRowsVjp } from "../ops/log-prob.ts";
import { decoderLayerNames, EMBEDDING, FINAL_NORM, LM_HEAD } from "../parameters.ts";
import type { ParameterView } from "../parameters.ts";
import { decoderBlockVjp, KEPT } from "../text/decoder.ts";
import type { Kept, PrefixGradient } from "../text/decoder.ts";
import { decoderShape, lastRowsLive, layerRowInputs, layoutKey, scoringInputs } from "../text/forward.ts";
import { joined } from "../text/heads.ts";
import type { Tensor } from "../tensor-types.ts";
import { towerBackward } from "../vision/tower.ts";
import { runBackward } from "./gradients.ts";
import type { GradientSink } from "./gradients.ts";
import type { ForwardState, HeadChunk } from "./forward-state.ts";

/** What every part of a backward works with. */
export interface BackwardPass {
  core: Core;
  arena: Arena;
  view: ParameterView;
  sink: GradientSink;
  /** With a constant prefix only the prompts' last rows, which predict first tokens, and the completions' are gone back through. */
  prefix: PrefixGradient;
  temperature: number;
  pace: Pace;
}

/** What a backward starts from. */
export interface HeadGradient {
  /** Derivative by the log-probability of every token. */
  dLogProbs: Float32Array;
  /** Logarithms of the rows' sums of exponentials, by chunk; they are freed at their use. */
  logZ: readonly Tensor[];
}

/** Gradient of Σ dLogProbs · logp for every parameter of the sink, added to its accumulators. */
export async function backward(pass: BackwardPass, state: ForwardState, gradient: HeadGradient): Promise<void> {
  await layersBackward(pass, state, await headBackward(pass, state, gradient));
}

/** Gradient [live rows, hidden] of the last layer's output. */
export async function headBackward(pass: BackwardPass, state: ForwardState, { dLogProbs, logZ }: HeadGradient): Promise<Tensor> {
  let dx: Tensor | undefined;
  for (const [i, chunk] of state.chunks.entries()) dx = await chunkBackward(pass, state, chunk, { g: dLogProbs.subarray(chunk.at, chunk.at + chunk.count), logZ: logZ[i]! }, dx);
  return dx!;
}

/** Goes back through the layers, and through what is below them, from the gradient `dy` of the last layer's output. Where keys and values are given, `dPrefixes` gets their gradients. */
export async function layersBackward(pass: BackwardPass, state: ForwardState, dy: Tensor): Promise<void> {
  const { core, arena, view, sink, prefix, pace } = pass;
  const { runtime, config } = core;
  const { hidden, rows, prefixes, dPrefixes } = state;
  const isGiven = prefixes !== undefined;
  let dx: Tensor | undefined = dy;
  const reachesTower = !isGiven && prefix === "flowing" && sink.touches("model.visual.");
  const belowLayers = sink.has(EMBEDDING) || reachesTower || (isGiven && sink.touches("model.visual."));
  let lowest = config.text.layers;
  for (let i = config.text.layers - 1; i >= 0; i--) if (sink.touches(`${decoderLayerNames(i).prefix}.`)) lowest = i;
  if (belowLayers) lowest = 0;
  for (let i = config.text.layers - 1; i >= lowest; i--) {
    const before: Tensor = dx!;
    const live = !isGiven && (prefix === "constant" || i === config.text.layers - 1) ? lastRowsLive(rows) : rows;
    const own = isGiven ? { ...live, prefix: prefixes[i]! } : live;
    const kept = state.kept[i] ?? [];
    const more = prefix === "flowing" ? dPrefixes?.[i] : undefined;
    const { x, prefixKeys, prefixValues } = await runBackward(runtime, arena, pace, {
      key: `decoder_block_vjp:${layoutKey(core, own.layout)}:${prefix}:${kept.length}`,
      names: decoderLayerNames(i), view, sink, wantsX: i > lowest || belowLayers, dropout: state.dropout,
      inputs: {
        ...layerRowInputs(own, hidden[i]!), dy: before, ...Object.fromEntries(kept.map((tensor, k) => [`kept${k}`, tensor])),
        ...(more === undefined ? {} : { dPrefixKeys: more.keys, dPrefixValues: more.values }),
      },
      vjp: (ops, v, loraScales, wants) => {
        const known = kept.length === 0 ? undefined : (Object.fromEntries(KEPT.map((name, k) => [name, v[`kept${k}`]!])) as Kept<(typeof v)[string]>);
        return decoderBlockVjp(ops, v, decoderShape(core, loraScales), own.layout, wants, { prefix, kept: known });
      },
    });
    dx = x;
    arena.free(before, hidden[i + 1], ...kept, more?.keys, more?.values);
    if (prefixKeys !== undefined) dPrefixes![i] = { keys: prefixKeys, values: prefixValues! };
  }
  if (!belowLayers || dx === undefined) return;
  if (sink.has(EMBEDDING)) embeddingBackward(core, arena, state, prefix, dx, sink);
  if (!reachesTower || state.placed.rows === undefined) return;
  const body: Body = (ops, v) => {
    const all = ops.gather(v["dx"]!, v["rows"]!);
    const parts = state.placed.tokens.length === 1 ? [all] : ops.split(all, state.placed.tokens, 0);
    return Object.fromEntries(parts.map((part, i) => [`item${i}`, part]));
  };
  const out = arena.addAll(runtime.run(`features_vjp:${state.placed.tokens.join(",")}`, { dx, rows: state.placed.rows }, body));
  await towerBackward(core, arena, view, state.placed.saved, state.placed.tokens.map((_, i) => out[`item${i}`]!), sink, pace);
}

async function chunkBackward({ core, arena, view, sink, temperature, pace }: BackwardPass, state: ForwardState, chunk: HeadChunk, given: { g: Float32Array; logZ: Tensor }, dx: Tensor | undefined): Promise<Tensor> {
  const { runtime, config } = core;
  const n = chunk.rows.length;
  const g = new Float32Array(n);
  g.set(given.g);
  const matrixName = config.tieWordEmbeddings ? EMBEDDING : LM_HEAD;
  const wanted = [FINAL_NORM, matrixName].filter((name) => sink.has(name));
  const eps = config.text.rmsNormEps;
  const head = scoringInputs(core, arena, view, chunk.targets, temperature);
  const inputs = { x: state.hidden.at(-1)!, rows: arena.add(runtime.ints(chunk.rows, [n])), g: arena.add(runtime.floats(g, [n])), logZ: given.logZ, ...head.inputs, ...(dx === undefined ? {} : { dx }) };
  const sums: Record<string, TensorLike> = {};
  for (const name of wanted) sums[`sum:${name}`] = sink.accumulator(name);
  const body: Body = (ops, v) => {
    const rows = ops.gather(v["x"]!, v["rows"]!);
    const normed = rmsNorm(ops, rows, v["norm"]!, eps);
    const dNormed = scoreRowsVjp(ops, normed, head.scoring(v), { logZ: v["logZ"]!, g: v["g"]! }, { matrix: wanted.includes(matrixName) });
    const grads = rmsNormVjp(ops, rows, v["norm"]!, eps, dNormed.x, wanted.includes(FINAL_NORM));
    const spread = ops.segmentSum(grads.x, v["rows"]!, ops.shape(v["x"]!)[0]!);
    const out: Record<string, typeof spread> = { dx: v["dx"] === undefined ? spread : ops.add(v["dx"], spread) };
    if (grads.weight !== undefined) out[FINAL_NORM] = ops.add(v[`sum:${FINAL_NORM}`]!, grads.weight);
    if (wanted.includes(matrixName)) out[matrixName] = ops.add(v[`sum:${matrixName}`]!, joined(ops, dNormed.matrix, 0));
    return out;
  };
  const out = arena.addAll(await runtime.runPaced(pace, `log_probs_vjp:${temperature}:${wanted.join(",")}`, { ...inputs, ...sums }, body));
  for (const name of wanted) sink.replace(name, arena.release(out[name]!));
  arena.free(inputs.rows, inputs.g, given.logZ, dx);
  head.free();
  return out["dx"]!;
}

/** Adds dx to the embedding rows of its tokens; vision rows and padding carry no embedding. */
function embeddingBackward(core: Core, arena: Arena, state: ForwardState, prefix: PrefixGradient, dx: Tensor, sink: GradientSink): void {
  const { runtime, config } = core;
  const vocab = config.text.vocabSize;
  const { layout, last } = state.packed;
  const all = state.packed.ids.slice();
  for (const row of state.placed.hostRows) all[row] = vocab;
  const ids = prefix === "flowing" || layout.prefix === "given" ? all : Int32Array.of(...last.map((row) => all[row]!), ...all.subarray(layout.prompts * layout.promptRows));
  const segments = arena.add(runtime.ints(ids, [ids.length]));
  const body: Body = (ops, v) => {
    const width = ops.shape(v["dx"]!)[1]!;
    return { sum: ops.add(v["sum"]!, ops.slice(ops.segmentSum(v["dx"]!, v["ids"]!, vocab + 1), [0, 0], [vocab, width])) };
  };
  const out = runtime.run("embed_vjp", { dx, ids: segments, sum: sink.accumulator(EMBEDDING) }, body)["sum"]!;
  sink.replace(EMBEDDING, out);
  arena.free(segments);
}
