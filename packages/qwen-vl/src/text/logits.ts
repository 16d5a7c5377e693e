import { Arena } from "../arena.ts";
import type { Core } from "../core.ts";
import { QwenVlError } from "../errors.ts";
import { findNonFinite } from "../finite.ts";
import type { ParameterView } from "../parameters.ts";
import { Pace } from "../pace.ts";
import type { Prompt } from "../prompt-types.ts";
import type { Tensor2D } from "../tensor-types.ts";
import { checkIds, checkPositions } from "./check-prompt.ts";
import { embedRows, lastRowsLive, rowTensors, runLayer, runLogits } from "./forward.ts";
import { packRows } from "./packing.ts";
import { placeFeatures } from "./vision-rows.ts";

/** Options of {@link forwardLogits}. */
export interface ForwardOptions {
  /** Ids that follow the prompt. */
  completion?: ArrayLike<number>;
  /** Rows whose logits are wanted, default the last. */
  rows?: "last" | "all" | ArrayLike<number>;
  /** Positions of prompt and completion [3·S] instead of the prompt's own. */
  positionIds?: Int32Array;
  signal?: AbortSignal;
}

/** The prompt with a completion behind it, as one sequence. */
function extended(prompt: Prompt, { completion = [], positionIds }: ForwardOptions): Prompt {
  const before = prompt.ids.length;
  const length = before + completion.length;
  const ids = new Int32Array(length);
  ids.set(prompt.ids);
  ids.set(Array.from(completion), before);
  if (positionIds !== undefined) {
    checkPositions(positionIds, length, "prompt and completion");
    return { ...prompt, ids, positionIds };
  }
  const positions = new Int32Array(3 * length);
  for (let axis = 0; axis < 3; axis++) {
    positions.set(prompt.positionIds.subarray(axis * before, (axis + 1) * before), axis * length);
    for (let j = 0; j < completion.length; j++) positions[axis * length + before + j] = prompt.nextPosition + j;
  }
  return { ...prompt, ids, positionIds: positions };
}

/** Logits [rows, vocab] of one sequence; the caller owns them. */
export async function forwardLogits(core: Core, view: ParameterView, prompt: Prompt, options: ForwardOptions): Promise<Tensor2D> {
  checkIds(prompt.ids, core.config.text.vocabSize, "the prompt");
  checkIds(options.completion ?? [], core.config.text.vocabSize, "the completion");
  checkPositions(prompt.positionIds, prompt.ids.length, "the prompt");
  const whole = extended(prompt, options);
  const length = whole.ids.length;
  const limit = core.config.text.maxPositionEmbeddings;
  if (length === 0 || length > limit) throw new QwenVlError(`the sequence has ${length} tokens, the model takes 1 to ${limit}`, { code: "TOO_LONG", hint: "Use fewer or smaller frames." });
  const { rows = "last" } = options;
  const chosen = rows === "last" ? [length - 1] : rows === "all" ? Array.from(whole.ids, (_, i) => i) : Array.from(rows);
  const outside = chosen.find((row) => !Number.isInteger(row) || row < 0 || row >= length);
  if (outside !== undefined || chosen.length === 0) throw new QwenVlError(`row ${String(outside)} is not one of the ${length} rows`, { code: "BAD_ROWS" });
  const pace = new Pace(options.signal);
  const arena = new Arena();
  try {
    await pace.breathe();
    const packed = packRows([{ prompt: whole, completions: [] }]);
    const placed = await placeFeatures(core, arena, view, [whole], [0], { train: false, pace });
    const inputs = rowTensors(core, arena, packed);
    let x = embedRows(core, arena, view, arena.add(core.runtime.ints(packed.ids, [packed.ids.length])), placed.features, placed.rows);
    const { layers } = core.config.text;
    const onlyLast = rows === "last";
    for (let i = 0; i < layers; i++) {
      const { y } = await runLayer(core, arena, view, i, onlyLast && i === layers - 1 ? lastRowsLive(inputs) : inputs, x, [], pace);
      arena.free(x);
      x = y;
    }
    const logits = await runLogits(core, arena, view, x, onlyLast ? Int32Array.of(0) : Int32Array.from(chosen), pace);
    const bad = await findNonFinite(core.runtime, arena, [logits]);
    if (bad !== undefined) {
      throw new QwenVlError(`the logits of row ${chosen[bad.row]!} of ${length} are not finite`, { code: "NOT_FINITE", hint: "Check the weights and the adapter for NaN or infinite values." });
    }
    return arena.release(logits) as Tensor2D;
  } finally {
    arena.dispose();
  }
}
