import { readdir, stat } from "node:fs/promises";
import { loadQwenVl, type Prompt, type QwenVl, type Tf } from "@dramascope/qwen-vl";
import { writeFolderAtomically } from "@dramascope/schema";
import { TrainerError } from "./errors.ts";

/** Options of {@link mergeAdapter}. */
export interface MergeOptions {
  /** TensorFlow.js with a ready back end. */
  tf: Tf;
  /** Element type of the merged files. Default the base's. */
  dtype?: "float32" | "bfloat16" | "float16";
  /** Loads the merged model again and compares its logits with those of base and adapter. Default `none`. */
  verify?: "logits" | "none";
  /** Ends the merge with its reason; `out` is then as it was. */
  signal?: AbortSignal;
}

/** What {@link mergeAdapter} found. */
export interface MergeResult {
  /** Element type of the merged files. */
  dtype: "float32" | "bfloat16" | "float16";
  /** Largest difference between the logits of the merged model and of base and adapter, over the largest logit; null unless they were compared. */
  difference: number | null;
  /** Largest difference that the adapter makes to the base's logits, by the same measure: what `difference` would be if the adapter were lost. Null unless they were compared. */
  effect: number | null;
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

/** What a checkpoint folder holds that may be replaced: its own files and the cards that describe them. */
const OWN =
  /^(?:model(?:-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|(?:config|generation_config|processor_config|(?:video_)?preprocessor_config|chat_template|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|dramascope)\.json|chat_template\.jinja|merges\.txt|(?:licen[cs]e|notice|readme|provenance)(?:\.(?:md|txt))?)$/iu;

/**
 * Refuses a folder that a merge must not replace, before anything is loaded.
 *
 * @throws TrainerError `CHECKPOINT_FOLDER` for the base's own folder, one that holds more than a checkpoint, or none.
 */
async function refuseOther(base: string, out: string): Promise<void> {
  const refuse = (text: string, cause?: unknown): never => {
    throw new TrainerError(text, { code: "CHECKPOINT_FOLDER", cause, hint: "Give a new folder; only a checkpoint is replaced." });
  };
  const [from, to] = await Promise.all([base, out].map((folder) => stat(folder).catch(() => undefined)));
  if (from && to && from.dev === to.dev && from.ino === to.ino) refuse(`${out} is the folder of the base`);
  const entries = await readdir(out, { withFileTypes: true }).catch((error: unknown) => ((error as NodeJS.ErrnoException).code === "ENOENT" ? [] : refuse(`${out} cannot take a checkpoint: ${(error as Error).message}`, error)));
  const foreign = entries.filter((entry) => !entry.isFile() || !OWN.test(entry.name)).map(({ name }) => name);
  if (foreign.length > 0) refuse(`${out} holds more than a checkpoint: ${foreign.slice(0, 3).join(", ")}`);
}

async function logitsOf(model: QwenVl, signal: AbortSignal | undefined): Promise<Float32Array> {
  const result = await model.forward(probe(), { rows: "all", ...(signal && { signal }) });
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
 * Refuses a merged model whose logits are too far from those of base and adapter, or that cannot be told from the base: a lost adapter makes a difference of its whole effect.
 *
 * @throws TrainerError `MERGE_DIFFERS`, `MERGE_UNPROVEN`.
 */
export function judgeMerge({ dtype, difference, effect }: { dtype: MergeResult["dtype"]; difference: number; effect: number }): void {
  const [far, rounding, whole] = [difference, TOLERANCE[dtype], effect].map((value) => value.toExponential(1));
  if (!(difference <= TOLERANCE[dtype])) {
    throw new TrainerError(`logits of the merged model differ from those of base and adapter by ${far} of the largest one; ${rounding} is rounding`, { code: "MERGE_DIFFERS", hint: "Check the disk; merge again with dtype float32." });
  }
  if (!(effect > 0 && difference <= effect / 2)) {
    throw new TrainerError(`whether the adapter is in the merged model cannot be told in ${dtype}: it changes the base's logits by ${whole} of the largest one, and the merged model's differ by ${far}`, { code: "MERGE_UNPROVEN", hint: "The adapter changes less than this type rounds away, or nothing. Merge with dtype float32, or without verifying." });
  }
}

/**
 * Folds an adapter into its base, in float32, and writes the result as a checkpoint folder of its own: sharded safetensors with hub names, the base's settings and papers.
 *
 * With `verify` the files are loaded again before they come into place, and their logits compared on a short text: the difference must be rounding, and at most half of what
 * the adapter changes. An adapter that changes less than the type rounds away is refused, for its merge cannot be told from the base.
 *
 * @param base    Folder of the base model.
 * @param adapter PEFT folder.
 * @param out     A new folder, or a checkpoint's, which is replaced.
 * @throws TrainerError `MERGE_DIFFERS` or `MERGE_UNPROVEN` when the comparison fails, `CHECKPOINT_FOLDER` for a folder that is not replaced; QwenVlError for folders that cannot be read;
 *   the signal's reason. `out` is then as it was.
 */
export async function mergeAdapter(base: string, adapter: string, out: string, { tf, dtype: wanted, verify = "none", signal }: MergeOptions): Promise<MergeResult> {
  await refuseOther(base, out);
  const load = (folder: string): Promise<QwenVl> => loadQwenVl(folder, { tf, ...(signal && { signal }) });
  return writeFolderAtomically(out, async (folder): Promise<MergeResult> => {
    const model = await load(base);
    let dtype: MergeResult["dtype"];
    let expected: { logits: Float32Array; effect: number } | undefined;
    try {
      dtype = wanted ?? (model.config.dtype === "bfloat16" || model.config.dtype === "float16" ? model.config.dtype : "float32");
      const plain = verify === "logits" ? await logitsOf(model, signal) : undefined;
      const attached = await model.attachLora(adapter, { name: "merge", trainable: false });
      if (plain) {
        const logits = await logitsOf(model, signal);
        expected = { logits, effect: relativeDifference(logits, plain) };
      }
      await model.mergeLora(attached.name);
      signal?.throwIfAborted();
      await model.saveMerged(folder, { dtype });
    } finally {
      model.dispose();
    }
    if (!expected) return { dtype, difference: null, effect: null };
    const merged = await load(folder);
    try {
      const difference = relativeDifference(expected.logits, await logitsOf(merged, signal));
      judgeMerge({ dtype, difference, effect: expected.effect });
      return { dtype, difference, effect: expected.effect };
    } finally {
      merged.dispose();
    }
  });
}
