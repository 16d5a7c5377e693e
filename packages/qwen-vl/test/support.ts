import { expect } from "vitest";
import { loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";
import { loadQwenVl, type LoadOptions, type Prompt, type QwenVl, type VisionItem } from "@dramascope/qwen-vl";
import { golden, goldenJson, goldenTensors } from "./goldens.ts";

/** Largest absolute difference; lengths must agree. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values instead of ${expected.length}`);
  let most = 0;
  for (let i = 0; i < expected.length; i++) most = Math.max(most, Math.abs(actual[i]! - expected[i]!));
  return most;
}

/** Largest difference over largest magnitude. */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  return difference(actual, expected) / largest;
}

/** Tensors that the native side holds; 0 on wasm, where TensorFlow.js counts them all. */
export function nativeTensors(tf: LoadedTensorFlow["tf"]): number {
  return (tf.backend() as unknown as { binding?: { getNumOfTensors(): number } }).binding?.getNumOfTensors() ?? 0;
}

/** Runs an action and expects the tensor count unchanged. */
export async function leakFree<T>({ tf }: Pick<Reference, "tf">, action: () => Promise<T>): Promise<T> {
  const before = tf.memory().numTensors;
  const result = await action();
  expect(tf.memory().numTensors).toBe(before);
  return result;
}

/** text.json of the reference data. */
export interface TextGolden {
  completions: number[][];
  segments: unknown[];
}

/** The reference model with its prompts. */
export interface Reference {
  tf: LoadedTensorFlow["tf"];
  backend: LoadedTensorFlow["backend"];
  binding: LoadedTensorFlow["binding"];
  model: QwenVl;
  items: VisionItem[];
  /** The prompt of text.json under the position rule qwen. */
  prompt: Prompt;
  /** The same under hf5. */
  hf5: Prompt;
  /** Prompt and first completion as one sequence. */
  whole: Prompt;
  second: Prompt;
  completions: number[][];
  text: Awaited<ReturnType<typeof goldenTensors>>;
  /** Features of `items`, the reference. */
  features: Float32Array;
  load(options?: Partial<LoadOptions>, folder?: string): Promise<QwenVl>;
}

function cutPositions(all: ArrayLike<number>, total: number, length: number): Int32Array {
  const out = new Int32Array(3 * length);
  for (let axis = 0; axis < 3; axis++) for (let i = 0; i < length; i++) out[axis * length + i] = all[axis * total + i]!;
  return out;
}

function promptOf(ids: ArrayLike<number>, positionIds: Int32Array, vision: VisionItem[]): Prompt {
  return { ids: Int32Array.from(ids), positionIds, nextPosition: Math.max(...positionIds) + 1, segments: [], vision, text: "" };
}

/** Loads the reference model on the given back end, or on the best one. */
export async function loadReference(loaded?: LoadedTensorFlow): Promise<Reference> {
  const { tf, backend, binding } = loaded ?? (await loadTensorFlow({ threads: 1 }));
  const load = (options: Partial<LoadOptions> = {}, folder = golden("model")): Promise<QwenVl> => loadQwenVl(folder, { tf, ...options });
  const model = await load();
  const vision = await goldenTensors("vision.safetensors");
  const text = await goldenTensors("text.safetensors");
  const rows = vision["video_rows_u8"]!.values as Uint8Array;
  const first = 3 * 12 * 20 * 1176;
  const items: VisionItem[] = [
    { kind: "video", grid: [3, 12, 20], patches: rows.subarray(0, first), secondsPerGrid: 4 },
    { kind: "video", grid: [2, 8, 6], patches: rows.subarray(first), secondsPerGrid: 2.75 },
  ];
  const ids = text["input_ids"]!.values;
  const length = Number(text["prompt_length"]!.values[0]);
  const under = (rule: string): Prompt => promptOf(ids.slice(0, length), cutPositions(text[`position_ids_${rule}`]!.values, ids.length, length), items);
  const secondGrid = Array.from(text["second_image_grid_thw"]!.values) as [number, number, number];
  const second = promptOf(text["second_input_ids"]!.values, Int32Array.from(text["second_position_ids_qwen"]!.values), [
    { kind: "image", grid: secondGrid, patches: text["second_image_rows_u8"]!.values as Uint8Array },
  ]);
  return {
    tf, backend, binding, model, items, prompt: under("qwen"), hf5: under("hf5"), whole: promptOf(ids, Int32Array.from(text["position_ids_qwen"]!.values), items), second,
    completions: goldenJson<TextGolden>("text.json").completions, text, features: vision["video_features"]!.values as Float32Array, load,
  };
}
