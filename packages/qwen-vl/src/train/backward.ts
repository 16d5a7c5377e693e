import type { Body, TensorLike } from "@dramascope/tensorflow";
import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import type { Pace } from "../pace.ts";
import { rmsNorm, rmsNormVjp } from "../ops/elementwise.ts";
import { replayingOps } from "../ops/kept.ts";
import { headLogits, headLogitsVjp, logProbVjp, logSoftmaxAt } from "../ops/log-prob.ts";
import { decoderLayerNames, EMBEDDING, FINAL_NORM, LM_HEAD } from "../parameters.ts";
import type { ParameterView } from "../parameters.ts";
import { decoderBlockVjp } from "../text/decoder.ts";
import type { PrefixGradient } from "../text/decoder.ts";
import { decoderShape, headInputs, headValues, lastRowsLive, layerRowInputs, layoutKey } from "../text/forward.ts";
import type { Tensor } from "../types.ts";
import { towerBackward } from "../vision/tower.ts";
import { runBackward } from "./gradients.ts";
import type { GradientSink } from "./gradients.ts";
import type { ForwardState, HeadChunk } from "./forward-state.ts";

/**
 * Gradient of Σ dLogProbs · logp for every parameter of the sink, added to its accumulators. With a constant prefix only the prompts' last rows, which
 * predict first tokens, and the completions' are gone back through.
 */
export async function backward(
  core: Core, arena: Arena, view: ParameterView, state: ForwardState, dLogProbs: Float32Array, temperature: number, sink: GradientSink, prefix: PrefixGradient, pace: Pace,
): Promise<void> {
  const { runtime, config } = core;
  const { hidden, rows } = state;
  let dx: Tensor | undefined;
  for (const chunk of state.chunks) dx = await headBackward(core, arena, view, state, chunk, dLogProbs, temperature, sink, dx, pace);
  const reachesTower = prefix === "flowing" && sink.touches("model.visual.");
  const belowLayers = sink.has(EMBEDDING) || reachesTower;
  let lowest = config.text.layers;
  for (let i = config.text.layers - 1; i >= 0; i--) if (sink.touches(`${decoderLayerNames(i).prefix}.`)) lowest = i;
  if (belowLayers) lowest = 0;
  for (let i = config.text.layers - 1; i >= lowest; i--) {
    const before = dx!;
    const own = prefix === "constant" || i === config.text.layers - 1 ? lastRowsLive(rows) : rows;
    const kept = state.kept[i] ?? [];
    const wantsX = i > lowest || belowLayers;
    dx = await runBackward(runtime, arena, pace, {
      key: `decoder_block_vjp:${layoutKey(core, own.layout)}:${prefix}:${kept.length}`,
      names: decoderLayerNames(i), view, sink, wantsX, dropout: state.dropout,
      inputs: { ...layerRowInputs(own, hidden[i]!), dy: before, ...Object.fromEntries(kept.map((tensor, k) => [`kept${k}`, tensor])) },
      vjp: (ops, v, loraScales, wants) => {
        const known = kept.map((_, k) => v[`kept${k}`]!);
        const forwardOps = known.length === 0 ? ops : replayingOps(ops, known.values());
        return decoderBlockVjp(ops, v, decoderShape(core, loraScales), own.layout, wants, { prefix, forwardOps });
      },
    });
    arena.free(before, hidden[i + 1], ...kept);
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

async function headBackward(
  core: Core, arena: Arena, view: ParameterView, state: ForwardState, chunk: HeadChunk, dLogProbs: Float32Array, temperature: number, sink: GradientSink,
  dx: Tensor | undefined, pace: Pace,
): Promise<Tensor> {
  const { runtime, config } = core;
  const n = chunk.rows.length;
  const g = new Float32Array(n);
  g.set(dLogProbs.subarray(chunk.at, chunk.at + chunk.count));
  const matrixName = config.tieWordEmbeddings ? EMBEDDING : LM_HEAD;
  const wanted = [FINAL_NORM, matrixName].filter((name) => sink.has(name));
  const eps = config.text.rmsNormEps;
  const inputs = {
    x: state.hidden.at(-1)!,
    rows: arena.add(runtime.ints(chunk.rows, [n])),
    targets: arena.add(runtime.ints(chunk.targets, [n])),
    g: arena.add(runtime.floats(g, [n])),
    ...headInputs(core, view),
    ...(dx === undefined ? {} : { dx }),
  };
  const sums: Record<string, TensorLike> = {};
  for (const name of wanted) sums[`sum:${name}`] = sink.accumulator(name);
  const body: Body = (ops, v) => {
    const head = headValues(core, v);
    const rows = ops.gather(v["x"]!, v["rows"]!);
    const normed = rmsNorm(ops, rows, v["norm"]!, eps);
    const dLogits = logProbVjp(ops, logSoftmaxAt(ops, headLogits(ops, normed, head), temperature), v["targets"]!, v["g"]!, temperature);
    const dNormed = headLogitsVjp(ops, dLogits, head);
    const grads = rmsNormVjp(ops, rows, v["norm"]!, eps, dNormed, wanted.includes(FINAL_NORM));
    const spread = ops.segmentSum(grads.x, v["rows"]!, ops.shape(v["x"]!)[0]!);
    const out: Record<string, typeof spread> = { dx: v["dx"] === undefined ? spread : ops.add(v["dx"], spread) };
    if (grads.weight !== undefined) out[FINAL_NORM] = ops.add(v[`sum:${FINAL_NORM}`]!, grads.weight);
    if (wanted.includes(matrixName)) out[matrixName] = ops.add(v[`sum:${matrixName}`]!, ops.matmul(dLogits, normed, { transposeA: true }));
    return out;
  };
  const out = arena.addAll(await runtime.runPaced(pace, `log_probs_vjp:${temperature}:${wanted.join(",")}`, { ...inputs, ...sums }, body));
  for (const name of wanted) sink.replace(name, arena.release(out[name]!));
  arena.free(inputs.rows, inputs.targets, inputs.g, dx);
  return out["dx"]!;
}

/** Adds dx to the embedding rows of its tokens; vision rows and padding carry no embedding. */
function embeddingBackward(core: Core, arena: Arena, state: ForwardState, prefix: PrefixGradient, dx: Tensor, sink: GradientSink): void {
  const { runtime, config } = core;
  const vocab = config.text.vocabSize;
  const { layout, last } = state.packed;
  const all = state.packed.ids.slice();
  for (const row of state.placed.hostRows) all[row] = vocab;
  const ids = prefix === "flowing" ? all : Int32Array.of(...last.map((row) => all[row]!), ...all.subarray(layout.prompts * layout.promptRows));
  const segments = arena.add(runtime.ints(ids, [ids.length]));
  const body: Body = (ops, v) => {
    const width = ops.shape(v["dx"]!)[1]!;
    return { sum: ops.add(v["sum"]!, ops.slice(ops.segmentSum(v["dx"]!, v["ids"]!, vocab + 1), [0, 0], [vocab, width])) };
  };
  const out = runtime.run("embed_vjp", { dx, ids: segments, sum: sink.accumulator(EMBEDDING) }, body)["sum"]!;
  sink.replace(EMBEDDING, out);
  arena.free(segments);
}
