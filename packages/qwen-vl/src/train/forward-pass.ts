import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import type { Pace } from "../pace.ts";
import type { ParameterView } from "../parameters.ts";
import { keptWidth } from "../text/decoder.ts";
import { embedRows, lastRowsLive, rowTensors, runLayer } from "../text/forward.ts";
import { bucketLength } from "../text/packing.ts";
import type { PackedRows } from "../text/packing.ts";
import { rowCount } from "../text/shared-prefix.ts";
import type { PrefixValues, RowLayout } from "../text/shared-prefix.ts";
import type { PlacedFeatures } from "../text/vision-rows.ts";
import type { Tensor } from "../tensor-types.ts";
import { withDropout } from "./dropout.ts";
import type { RowDropout } from "./dropout.ts";
import type { ForwardState, HeadChunk } from "./forward-state.ts";

/** What every part of a forward works with. */
export interface ForwardPass {
  core: Core;
  arena: Arena;
  view: ParameterView;
  pace: Pace;
}

/** How {@link forwardLayers} goes through the layers. */
export interface ForwardWork {
  /** Vision features among the rows. Default none. */
  placed?: PlacedFeatures;
  dropout: RowDropout | undefined;
  /** What stays for a backward: the layers' inputs, and inner results of so many bytes. */
  holds: "inputs" | "nothing";
  keepBytes: number;
  /** Whether the prompts' keys and values stay. Default false. */
  cache?: boolean;
  /** The prompts' keys and values by layer and the output of their last rows, where the rows are those of completions alone. */
  prefixes?: PrefixValues<Tensor>[];
  last?: Tensor;
}

const NO_FEATURES: PlacedFeatures = { features: undefined, rows: undefined, hostRows: new Int32Array(), tokens: [], saved: [] };

/** First layer whose inner results are kept: those of as many layers as the bytes hold, the last ones, whose backward comes first. */
function firstKept(core: Core, layout: RowLayout, bytes: number): number {
  const { layers, hiddenSize, intermediateSize } = core.config.text;
  const ofLayer = 4 * rowCount(layout) * keptWidth(core.config.text, hiddenSize, intermediateSize);
  return Math.max(0, layers - Math.floor(bytes / ofLayer));
}

function headChunks(packed: PackedRows, size: number): HeadChunk[] {
  const out: HeadChunk[] = [];
  for (let at = 0; at < packed.targets.length; at += size) {
    const count = Math.min(size, packed.targets.length - at);
    const padded = Math.min(size, bucketLength(count));
    const rows = new Int32Array(padded);
    const targets = new Int32Array(padded);
    rows.set(packed.predictors.subarray(at, at + count));
    targets.set(packed.targets.subarray(at, at + count));
    out.push({ at, count, rows, targets });
  }
  return out;
}

/** Embeds packed rows and runs all layers over them. */
export async function forwardLayers({ core, arena, view, pace }: ForwardPass, packed: PackedRows, work: ForwardWork): Promise<ForwardState & { caches: PrefixValues<Tensor>[] }> {
  const { placed = NO_FEATURES, dropout, holds, cache = false, prefixes, last } = work;
  const { layers } = core.config.text;
  const ids = arena.add(core.runtime.ints(packed.ids, [packed.ids.length]));
  const rows = rowTensors(core, arena, packed);
  const hidden = [embedRows(core, arena, view, ids, placed.features, placed.rows)];
  const keepsFrom = firstKept(core, packed.layout, work.keepBytes);
  const kept: Tensor[][] = [];
  const caches: PrefixValues<Tensor>[] = [];
  for (let i = 0; i < layers; i++) {
    const x = hidden.at(-1)!;
    const own = prefixes !== undefined ? { ...rows, prefix: prefixes[i]! } : i === layers - 1 ? lastRowsLive(rows) : rows;
    const extras = [...(cache ? (["cache"] as const) : []), ...(i >= keepsFrom ? (["kept"] as const) : [])];
    const result = await withDropout(core.runtime, view, dropout, (masked) => runLayer(core, arena, masked, i, own, x, extras, pace));
    kept.push(result.kept);
    if (result.prefix !== undefined) caches.push(result.prefix);
    if (holds === "nothing") {
      arena.free(x);
      hidden.length = 0;
    }
    hidden.push(result.y);
  }
  if (last !== undefined) {
    const own = hidden.pop()!;
    hidden.push(arena.add(core.runtime.tf.concat([last, own], 0)));
    arena.free(own);
  }
  return { packed, rows, placed, ids, hidden, chunks: headChunks(packed, core.logitsChunk), dropout, kept, caches, ...(prefixes === undefined ? {} : { prefixes }) };
}

/** Frees what a forward holds, but for the prompts' keys and values. */
export function freeState(arena: Arena, { ids, rows, hidden, kept }: ForwardState): void {
  arena.free(ids, rows.cos, rows.sin, rows.prefixBias, rows.last, ...hidden, ...kept.flat());
}
