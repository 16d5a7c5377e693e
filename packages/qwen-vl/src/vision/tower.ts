import type { Body } from "@dramascope/tensorflow";
import { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { QwenVlError } from "../errors.ts";
import type { Pace } from "../pace.ts";
import { blockInputs, MERGER_NAMES, PATCH_EMBED, visionBlockNames } from "../parameters.ts";
import type { ParameterView } from "../parameters.ts";
import { ropeAngles, visionRope } from "../text/rope.ts";
import { withDropout } from "../train/dropout.ts";
import type { Dropout, RowDropout } from "../train/dropout.ts";
import { runBackward } from "../train/gradients.ts";
import type { GradientSink } from "../train/gradients.ts";
import type { Grid } from "../config-types.ts";
import type { VisionItem } from "../prompt-types.ts";
import type { Tensor, Tensor2D } from "../tensor-types.ts";
import { merger, mergerVjp, visionBlock, visionBlockVjp } from "./block.ts";
import type { VisionShape } from "./block.ts";
import { frameLayout } from "./frame-layout.ts";
import type { FrameLayout } from "./frame-layout.ts";

/** Items encoded by one call at most. */
const MAX_ITEMS = 64;
/** Patch rows of one call at most, unless a single item has more. */
const MAX_ROWS = 16384;

/** Items of one grid that go through the tower together. */
interface TowerBatch {
  grid: Grid;
  /** Places of the items in the caller's list. */
  items: number[];
}

/** Everything that is fixed for one batch. */
interface TowerCall {
  batch: TowerBatch;
  layout: FrameLayout;
  shape: Omit<VisionShape, "runs" | "loraScales">;
  cos: Tensor;
  sin: Tensor;
  order: Tensor;
  inverse: Tensor;
  /** What the adapters of the blocks and of the merger drop. */
  dropout: { blocks: RowDropout; merger: RowDropout } | undefined;
}

/** Values of a batch that its backward needs. */
export interface TowerSaved {
  call: TowerCall;
  patches: Tensor;
  /** Input of every block, then the merger's input. */
  inputs: Tensor[];
}

/** Groups items by grid; batch sizes are powers of two, so that few different signatures occur. */
function batches(items: readonly VisionItem[]): TowerBatch[] {
  const byGrid = new Map<string, TowerBatch>();
  items.forEach((item, i) => {
    const key = item.grid.join("x");
    const known = byGrid.get(key);
    if (known === undefined) byGrid.set(key, { grid: item.grid, items: [i] });
    else known.items.push(i);
  });
  const out: TowerBatch[] = [];
  for (const { grid, items: places } of byGrid.values()) {
    const limit = Math.max(1, Math.min(MAX_ITEMS, Math.floor(MAX_ROWS / (grid[0] * grid[1] * grid[2]))));
    for (let at = 0; at < places.length; ) {
      const size = 2 ** Math.floor(Math.log2(Math.min(limit, places.length - at)));
      out.push({ grid, items: places.slice(at, at + size) });
      at += size;
    }
  }
  return out;
}

function checkItem(core: Core, item: VisionItem, index: number): void {
  const { patchSize, temporalPatchSize, inChannels, spatialMergeSize: merge } = core.config.vision;
  const [t, h, w] = item.grid;
  if (![t, h, w].every((n) => Number.isInteger(n) && n > 0) || h % merge !== 0 || w % merge !== 0) {
    throw new QwenVlError(`vision item ${index}: grid [${item.grid.join(", ")}] must be positive, height and width multiples of ${merge}`, { code: "BAD_GRID" });
  }
  const expected = t * h * w * inChannels * temporalPatchSize * patchSize ** 2;
  if (item.patches.length !== expected) {
    throw new QwenVlError(`vision item ${index}: grid [${item.grid.join(", ")}] needs ${expected} patch values, got ${item.patches.length}`, { code: "BAD_PATCHES" });
  }
}

/** Patch rows of a batch in tower order as floats. */
async function patchRows(core: Core, items: readonly VisionItem[], call: Pick<TowerCall, "batch" | "layout">, pace: Pace): Promise<Float32Array> {
  const { patchSize, temporalPatchSize, inChannels } = core.config.vision;
  const perChannel = temporalPatchSize * patchSize ** 2;
  const width = inChannels * perChannel;
  const [t, h, w] = call.batch.grid;
  const rows = t * h * w;
  const out = new Float32Array(call.batch.items.length * rows * width);
  let to = 0;
  for (const index of call.batch.items) {
    await pace.breathe();
    const { patches } = items[index]!;
    for (let frame = 0; frame < t; frame++) {
      for (const patch of call.layout.patches) {
        const from = (frame * h * w + patch) * width;
        if (patches instanceof Float32Array) out.set(patches.subarray(from, from + width), to);
        else {
          for (let c = 0; c < inChannels; c++) {
            const table = c * 256;
            const start = c * perChannel;
            for (let i = start; i < start + perChannel; i++) out[to + i] = core.pixelTable[table + patches[from + i]!]!;
          }
        }
        to += width;
      }
    }
  }
  return out;
}

/** Dropout of equal items, each with a stream of its own. */
function itemDropout(dropout: Dropout, items: readonly number[], rows: number): RowDropout {
  return { ...dropout, parts: items.map((place) => ({ name: `item ${place}`, rows })) };
}

function prepareCall(core: Core, arena: Arena, batch: TowerBatch, dropout: Dropout | undefined): TowerCall {
  const { vision } = core.config;
  const [t, h, w] = batch.grid;
  const layout = frameLayout(h, w, vision);
  const headDim = vision.hiddenSize / vision.heads;
  const angles = ropeAngles(visionRope(headDim, vision.ropeTheta), layout.coordinates, h * w);
  const frames = batch.items.length * t;
  const perFrame = layout.units.length;
  const spread = (values: Int32Array): Tensor => {
    const all = new Int32Array(frames * perFrame);
    for (let f = 0; f < frames; f++) for (let i = 0; i < perFrame; i++) all[f * perFrame + i] = f * perFrame + values[i]!;
    return arena.add(core.runtime.ints(all, [all.length]));
  };
  return {
    batch, layout,
    shape: { frames, patches: h * w, heads: vision.heads, headDim, queryChunk: core.queryChunk },
    cos: arena.add(core.runtime.floats(angles.cos, [h * w, headDim / 2])),
    sin: arena.add(core.runtime.floats(angles.sin, [h * w, headDim / 2])),
    order: spread(layout.places),
    inverse: spread(layout.units),
    dropout: dropout && { blocks: itemDropout(dropout, batch.items, t * h * w), merger: itemDropout(dropout, batch.items, t * perFrame) },
  };
}

function blockShape(core: Core, call: TowerCall, index: number): Omit<VisionShape, "loraScales"> {
  const full = core.config.vision.fullAttentionBlocks.includes(index);
  return { ...call.shape, runs: full ? [{ first: 0, count: 1, size: call.shape.patches }] : call.layout.windows };
}

function shapeKey(shape: Omit<VisionShape, "loraScales">): string {
  return JSON.stringify([shape.frames, shape.patches, shape.heads, shape.runs, shape.queryChunk]);
}

async function runBatch(
  core: Core, arena: Arena, view: ParameterView, items: readonly VisionItem[], batch: TowerBatch, options: TowerOptions,
): Promise<{ features: Tensor2D[]; saved: TowerSaved }> {
  const { runtime, config } = core;
  const { keep, pace } = options;
  const call = prepareCall(core, arena, batch, options.dropout);
  const rows = call.shape.frames * call.shape.patches;
  const values = await patchRows(core, items, call, pace);
  const patches = arena.add(runtime.floats(values, [rows, values.length / rows]));
  const embed: Body = (ops, v) => ({ y: ops.matmul(v["x"]!, v["weight"]!) });
  let x = arena.add((await runtime.runPaced(pace, "patch_embed", { x: patches, weight: view.module(PATCH_EMBED).weight }, embed))["y"]!);
  if (!keep) arena.free(patches);
  const saved: TowerSaved = { call, patches, inputs: [x] };
  for (let i = 0; i < config.vision.depth; i++) {
    const shape = blockShape(core, call, i);
    const out = await withDropout(runtime, view, call.dropout?.blocks, (own) => {
      const { tensors, loraScales } = blockInputs(own, visionBlockNames(i));
      const body: Body = (ops, v) => ({ y: visionBlock(ops, v, { ...shape, loraScales }).y });
      const key = `vision_block:${shapeKey(shape)}:${JSON.stringify(loraScales)}`;
      return runtime.runPaced(pace, key, { x, cos: call.cos, sin: call.sin, ...tensors }, body);
    });
    const y = arena.add(out["y"]!);
    if (keep) saved.inputs.push(y);
    else arena.free(x);
    x = y;
  }
  const unit = config.vision.spatialMergeSize ** 2;
  const count = batch.items.length;
  const out = await withDropout(runtime, view, call.dropout?.merger, (own) => {
    const { tensors, loraScales } = blockInputs(own, MERGER_NAMES);
    const body: Body = (ops, v) => {
      const all = merger(ops, v, unit, loraScales).y;
      const parts = count === 1 ? [all] : ops.split(all, new Array<number>(count).fill(rows / unit / count), 0);
      return Object.fromEntries(parts.map((part, i) => [`item${i}`, part]));
    };
    return runtime.runPaced(pace, `merger:${count}:${JSON.stringify(loraScales)}`, { x, order: call.order, ...tensors }, body);
  });
  arena.addAll(out);
  if (!keep) arena.free(x, call.cos, call.sin, call.order, call.inverse);
  return { features: batch.items.map((_, i) => out[`item${i}`] as Tensor2D), saved };
}

/** Options of {@link runTower}. */
export interface TowerOptions {
  /** Also gives what the backward needs. */
  keep: boolean;
  /** What adapters in the tower drop; only in training. */
  dropout?: Dropout | undefined;
  pace: Pace;
}

/** Features of items in their order, owned by the arena. */
export async function runTower(
  core: Core, arena: Arena, view: ParameterView, items: readonly VisionItem[], options: TowerOptions,
): Promise<{ features: Tensor2D[]; saved: TowerSaved[] }> {
  items.forEach((item, i) => {
    checkItem(core, item, i);
  });
  const features = new Array<Tensor2D>(items.length);
  const saved: TowerSaved[] = [];
  for (const batch of batches(items)) {
    await options.pace.breathe();
    const out = await runBatch(core, arena, view, items, batch, options);
    batch.items.forEach((place, i) => (features[place] = out.features[i]!));
    if (options.keep) saved.push(out.saved);
  }
  return { features, saved };
}

/** Gradients of the tower's parameters for the gradients `dFeatures` of its items' features, added to the sink. */
export async function towerBackward(
  core: Core, arena: Arena, view: ParameterView, saved: readonly TowerSaved[], dFeatures: readonly Tensor[], sink: GradientSink, pace: Pace,
): Promise<void> {
  const { runtime, config } = core;
  const unit = config.vision.spatialMergeSize ** 2;
  for (const { call, patches, inputs } of saved) {
    const parts = call.batch.items.map((place) => dFeatures[place]!);
    const dy = parts.length === 1 ? parts[0]! : arena.add(runtime.tf.concat(parts, 0));
    let { x: dx } = await runBackward(runtime, arena, pace, {
      key: "merger_vjp", names: MERGER_NAMES, view, sink, wantsX: true, dropout: call.dropout?.merger,
      inputs: { x: inputs[config.vision.depth]!, order: call.order, inverse: call.inverse, dy },
      vjp: (ops, v, scales, wants) => mergerVjp(ops, v, unit, scales, wants),
    });
    for (let i = config.vision.depth - 1; i >= 0; i--) {
      const shape = blockShape(core, call, i);
      const before = dx!;
      ({ x: dx } = await runBackward(runtime, arena, pace, {
        key: `vision_block_vjp:${shapeKey(shape)}`, names: visionBlockNames(i), view, sink, wantsX: true, dropout: call.dropout?.blocks,
        inputs: { x: inputs[i]!, cos: call.cos, sin: call.sin, dy: before },
        vjp: (ops, v, loraScales, wants) => visionBlockVjp(ops, v, { ...shape, loraScales }, wants),
      }));
      arena.free(before);
    }
    const name = `${PATCH_EMBED}.weight`;
    if (sink.has(name)) {
      const sum = sink.accumulator(name);
      const body: Body = (ops, v) => ({
        y: ops.add(v["sum"]!, ops.reshape(ops.matmul(v["dy"]!, v["x"]!, { transposeA: true }), ops.shape(v["sum"]!))),
      });
      const flat = arena.add(sum.reshape([config.vision.hiddenSize, sum.size / config.vision.hiddenSize]));
      const out = await runtime.runPaced(pace, "patch_embed_vjp", { x: patches, dy: dx!, sum: flat }, body);
      sink.replace(name, arena.add(out["y"]!).reshape(sum.shape));
    }
  }
}
