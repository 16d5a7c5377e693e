import type { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { QwenVlError } from "../errors.ts";
import type { ParameterView } from "../parameters.ts";
import type { Pace } from "../pace.ts";
import type { Dropout } from "../train/dropout.ts";
import type { Prompt } from "../prompt-types.ts";
import type { Tensor, Tensor2D } from "../tensor-types.ts";
import { runTower } from "../vision/tower.ts";
import type { TowerSaved } from "../vision/tower.ts";

/** Features of all prompts of a call and the rows they replace. */
export interface PlacedFeatures {
  /** [n, hidden]; undefined without vision. */
  features: Tensor | undefined;
  /** int32 [n]. */
  rows: Tensor | undefined;
  /** The same rows on the host. */
  hostRows: Int32Array;
  /** Tokens of every item, in order. */
  tokens: number[];
  /** What the tower's backward needs, when it was asked for. */
  saved: TowerSaved[];
}

/**
 * Features for the vision tokens of prompts that start at the given rows. Prompts with `features` are not encoded again, unless
 * the tower is to be trained.
 */
export async function placeFeatures(
  core: Core, arena: Arena, view: ParameterView, prompts: readonly Prompt[], starts: readonly number[], options: { train: boolean; dropout?: Dropout | undefined; pace: Pace },
): Promise<PlacedFeatures> {
  const { imageTokenId, videoTokenId } = core.config;
  const rows: number[] = [];
  prompts.forEach((prompt, p) => {
    const before = rows.length;
    prompt.ids.forEach((id, i) => {
      if (id === imageTokenId || id === videoTokenId) rows.push(starts[p]! + i);
    });
    const merge = core.config.vision.spatialMergeSize ** 2;
    const given = prompt.features?.map((f) => f.tokens) ?? prompt.vision.map((v) => (v.grid[0] * v.grid[1] * v.grid[2]) / merge);
    const expected = given.reduce((a, b) => a + b, 0);
    if (rows.length - before !== expected) {
      throw new QwenVlError(`prompt ${p}: ${rows.length - before} vision tokens in the text, ${expected} features from ${given.length} items`, {
        code: "VISION_COUNT", hint: "Every video or image needs exactly its pad tokens, in order; use prepare() to build prompts.",
      });
    }
  });
  if (rows.length === 0) return { features: undefined, rows: undefined, hostRows: new Int32Array(), tokens: [], saved: [] };
  const pending = prompts.flatMap((prompt) => (prompt.features !== undefined && !options.train ? [] : prompt.vision));
  const encoded = await runTower(core, arena, view, pending, { keep: options.train, dropout: options.dropout, pace: options.pace });
  let next = 0;
  const parts: Tensor2D[] = prompts.flatMap((prompt) =>
    prompt.features !== undefined && !options.train ? prompt.features.map((f) => f.tensor) : prompt.vision.map(() => encoded.features[next++]!),
  );
  const features = parts.length === 1 ? parts[0]! : arena.add(core.runtime.tf.concat(parts, 0));
  if (parts.length > 1) arena.free(...encoded.features);
  const hostRows = Int32Array.from(rows);
  return { features, rows: arena.add(core.runtime.ints(hostRows, [rows.length])), hostRows, tokens: parts.map((p) => p.shape[0]), saved: encoded.saved };
}
