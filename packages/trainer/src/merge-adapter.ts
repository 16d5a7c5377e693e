import { rm } from "node:fs/promises";
import { loadQwenVl, type Prompt, type QwenVl, type Tf } from "@dramascope/qwen-vl";
import { TrainerError } from "./errors.ts";

/** Options of {@link mergeAdapter}. */
export interface MergeOptions {
  /** TensorFlow.js with a ready back end. */
  tf: Tf;
  /** Element type of the merged files. Default the base's. */
  dtype?: "float32" | "bfloat16" | "float16";
  /** Loads the merged model again and compares its logits with those of base and adapter. Default `none`. */
  verify?: "logits" | "none";
}

/** What {@link mergeAdapter} found. */
export interface MergeResult {
  /** Element type of the merged files. */
  dtype: "float32" | "bfloat16" | "float16";
  /** Largest difference of the logits over the largest logit; null unless they were compared. */
  difference: number | null;
}

/** Largest difference that is rounding: of float32 sums, and of weights with 8 or 11 bits of mantissa. */
const TOLERANCE = { float32: 1e-4, bfloat16: 2 ** -5, float16: 2 ** -8 } as const;
const PROBE_TOKENS = 24;

/** A text prompt of ids that every vocabulary has; it needs no tokenizer. */
function probe(): Prompt {
  const ids = Int32Array.from({ length: PROBE_TOKENS }, (_, i) => 3 + i * 7);
  const places = Array.from(ids.keys());
  return { ids, positionIds: Int32Array.from([...places, ...places, ...places]), nextPosition: PROBE_TOKENS, segments: [{ text: PROBE_TOKENS }], vision: [], text: "" };
}

async function logitsOf(model: QwenVl): Promise<Float32Array> {
  const result = await model.forward(probe(), { rows: "all" });
  try {
    return (await result.logits.data()) as Float32Array;
  } finally {
    result.dispose();
  }
}

function relativeDifference(a: Float32Array, b: Float32Array): number {
  let [difference, size] = [0, 0];
  for (const [i, value] of a.entries()) {
    difference = Math.max(difference, Math.abs(value - b[i]!));
    size = Math.max(size, Math.abs(value));
  }
  return difference / size;
}

/**
 * Folds an adapter into its base, in float32, and writes the result as a checkpoint folder of its own: sharded safetensors with hub names, the base's settings and papers.
 *
 * @param base    Folder of the base model.
 * @param adapter PEFT folder.
 * @param out     A new folder, or a checkpoint's, which is replaced.
 * @throws TrainerError `MERGE_DIFFERS` when the comparison fails; nothing is left in `out` then. QwenVlError for folders that cannot be read or replaced.
 */
export async function mergeAdapter(base: string, adapter: string, out: string, { tf, dtype: wanted, verify = "none" }: MergeOptions): Promise<MergeResult> {
  const load = (folder: string): Promise<QwenVl> => loadQwenVl(folder, { tf });
  const model = await load(base);
  let dtype: MergeResult["dtype"];
  let expected: Float32Array | undefined;
  try {
    dtype = wanted ?? (model.config.dtype === "bfloat16" || model.config.dtype === "float16" ? model.config.dtype : "float32");
    const attached = await model.attachLora(adapter, { name: "merge", trainable: false });
    if (verify === "logits") expected = await logitsOf(model);
    await model.mergeLora(attached.name);
    await model.saveMerged(out, { dtype });
  } finally {
    model.dispose();
  }
  if (!expected) return { dtype, difference: null };
  const merged = await load(out);
  try {
    const difference = relativeDifference(expected, await logitsOf(merged));
    if (difference <= TOLERANCE[dtype]) return { dtype, difference };
    await rm(out, { recursive: true });
    throw new TrainerError(`logits of the merged model differ from those of base and adapter by ${difference.toExponential(1)} of the largest one; ${TOLERANCE[dtype].toExponential(1)} is rounding`, { code: "MERGE_DIFFERS", hint: "Check the disk; merge again with dtype float32." });
  } finally {
    merged.dispose();
  }
}
