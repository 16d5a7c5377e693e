import { join } from "node:path";
import { availableMemory, type AvailableMemory } from "./available-memory.ts";
import { openCheckpoint, type Checkpoint } from "./checkpoint.ts";
import { parseConfig } from "./config.ts";
import { QwenVlError } from "./errors.ts";
import { readJson } from "./optional-files.ts";
import { checkInteger, checkWord, MATRIX_WORDS } from "./options.ts";
import type { QwenVlConfig } from "./config-types.ts";
import type { LoadOptions } from "./model-types.ts";
import { isBlocked, isMatrix } from "./weights.ts";

/** Options of {@link planMemory}. */
export interface MemoryPlanOptions {
  /** How matrices are kept. Default `float32`. */
  dtype?: "float32" | "bfloat16";
  /** How bfloat16 matrices are multiplied. Default `bfloat16`. */
  products?: "bfloat16" | "float32";
  /** Prompt tokens that must fit beside the weights. Default 4096, or the model's positions when these are fewer. */
  tokens?: number;
  /** Attention rows at once, as in `loadQwenVl`. Default 512. */
  queryChunk?: number;
  /** Bytes that may be taken, if less than what is free. Default all that is free. */
  limitBytes?: number;
}

/** What a model needs and what there is; all sizes in bytes. */
export interface MemoryPlan {
  /** How matrices are kept. */
  dtype: "float32" | "bfloat16";
  /** Values in all weights. */
  parameters: number;
  /** Weights as they are kept. */
  weightBytes: number;
  /** The largest weight as it is kept. */
  largestTensor: { name: string; bytes: number };
  /** Peak of loading: the weights, the largest of those that are put together from pieces once more, and what is under way between file and back end. */
  loadBytes: number;
  /** Keys and values that one token adds to the cache, float32. */
  kvBytesPerToken: number;
  /** Prompt tokens that the plan is for. */
  tokens: number;
  /** An upper bound of what computing a prompt of so many tokens takes beside the weights: its cache, the larger of one decoder layer and one block of the tower, and matrices widened for a product. */
  prefillBytes: number;
  /** The larger of loading, and weights with prompt. */
  neededBytes: number;
  /** The least of what machine, container, process and `limitBytes` leave. */
  availableBytes: number;
  /** What sets `availableBytes`: `limit` is the given one. */
  availableFrom: AvailableMemory["from"] | "limit";
  /** Whether what is needed is at most what is available. */
  fits: boolean;
}

const DEFAULT_TOKENS = 4096;
/** Bytes that loading takes at most besides the weights: pieces on the host until they are collected, and what the back end keeps to use again. */
const UNDER_WAY = 2 ** 29;

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Float32 values of one block over so many rows: the residual stream three times and, at its widest, projections or gates. */
function blockValues(rows: number, hidden: number, projected: number, intermediate: number, scores: number): number {
  return rows * 3 * hidden + Math.max(rows * 3 * intermediate, rows * projected + 2 * scores);
}

/** Bytes that a prompt of `tokens` takes, all of them vision tokens of one frame in the worst case. */
function prefillBytes({ text, vision }: QwenVlConfig, tokens: number, queryChunk: number): number {
  const { layers, hiddenSize, intermediateSize, heads, kvHeads, headDim, vocabSize } = text;
  const cache = tokens * 2 * layers * kvHeads * headDim;
  const chunk = Math.min(queryChunk, tokens);
  const decoder = blockValues(tokens, hiddenSize, (2 * heads + 4 * kvHeads) * headDim, intermediateSize, heads * chunk * tokens) + vocabSize;
  const patches = tokens * vision.spatialMergeSize ** 2;
  const pixels = patches * vision.inChannels * vision.temporalPatchSize * vision.patchSize ** 2;
  const tower = pixels + blockValues(patches, vision.hiddenSize, 4 * vision.hiddenSize, vision.intermediateSize, vision.heads * Math.min(queryChunk, patches) * patches);
  return 4 * (cache + tokens * hiddenSize + Math.max(decoder, tower));
}

/** Values in the weights of every layer. */
function layerValues(kept: readonly { name: string; values: number }[]): Iterable<number> {
  const layers = new Map<string, number>();
  for (const { name, values } of kept) {
    const layer = /^model\.(?:language_model\.layers|visual\.blocks)\.\d+\./u.exec(name)?.[0];
    if (layer !== undefined) layers.set(layer, (layers.get(layer) ?? 0) + values);
  }
  return layers.values();
}

/** The plan for an open checkpoint. */
async function planCheckpoint(config: QwenVlConfig, checkpoint: Checkpoint, options: MemoryPlanOptions): Promise<MemoryPlan> {
  const { dtype = "float32", queryChunk = 512, limitBytes } = options;
  const { layers, kvHeads, headDim, maxPositionEmbeddings } = config.text;
  const tokens = options.tokens ?? Math.min(DEFAULT_TOKENS, maxPositionEmbeddings);
  if (!Number.isSafeInteger(tokens) || tokens < 1 || tokens > maxPositionEmbeddings) {
    throw new QwenVlError(`a memory plan for ${tokens} tokens was asked for, the model takes 1 to ${maxPositionEmbeddings}`, { code: "BAD_OPTION", hint: "Give the tokens of the longest prompt." });
  }
  if (limitBytes !== undefined && !(limitBytes > 0)) throw new QwenVlError(`the memory limit must be above 0 bytes, got ${limitBytes}`, { code: "BAD_OPTION", hint: "Leave it out to take what is free." });
  const kept = [...checkpoint.tensors].map(([name, place]) => {
    const { shape } = place.file.info(place.name);
    return { name, values: product(shape), bytes: product(shape) * (dtype === "bfloat16" && isMatrix(shape) ? 2 : 4) };
  });
  const parameters = kept.reduce((sum, { values }) => sum + values, 0);
  const weightBytes = kept.reduce((sum, { bytes }) => sum + bytes, 0);
  const largest = kept.reduce((most, one) => (one.bytes > most.bytes ? one : most));
  const joined = Math.max(0, ...kept.filter(({ name }) => !isBlocked(name)).map(({ bytes }) => bytes));
  const loadBytes = weightBytes + joined + Math.min(UNDER_WAY, 4 * largest.values);
  const widened = dtype === "bfloat16" && options.products === "float32" ? 4 * Math.max(largest.values, ...layerValues(kept)) : 0;
  const prefill = prefillBytes(config, tokens, queryChunk) + widened;
  const neededBytes = Math.max(loadBytes, weightBytes + prefill);
  const free = await availableMemory();
  const limited = limitBytes !== undefined && limitBytes < free.bytes;
  const availableBytes = limited ? limitBytes : free.bytes;
  return {
    dtype, parameters, weightBytes, largestTensor: { name: largest.name, bytes: largest.bytes }, loadBytes, kvBytesPerToken: 8 * layers * kvHeads * headDim, tokens, prefillBytes: prefill,
    neededBytes, availableBytes, availableFrom: limited ? "limit" : free.from, fits: neededBytes <= availableBytes,
  };
}

/**
 * What a checkpoint folder will need in memory, from its configuration and the headers of its files; no weight is read.
 *
 * @throws QwenVlError as `loadQwenVl` does for a folder whose files do not belong together.
 */
export async function planMemory(dir: string, options: MemoryPlanOptions = {}): Promise<MemoryPlan> {
  checkWord("dtype", options.dtype, MATRIX_WORDS);
  checkWord("products", options.products, MATRIX_WORDS);
  checkInteger("queryChunk", options.queryChunk, 1);
  const config = parseConfig(await readJson(join(dir, "config.json")));
  const checkpoint = await openCheckpoint(dir, config, { strict: false });
  try {
    return await planCheckpoint(config, checkpoint, options);
  } finally {
    await checkpoint.close();
  }
}

function size(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(2)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

const SOURCES: Readonly<Record<MemoryPlan["availableFrom"], string>> = { system: "free on this machine", container: "left by the container's limit", process: "left by the limit of the process", limit: "the limit that was given" };

/** The plan as lines for people. */
export function describeMemoryPlan(plan: MemoryPlan): string {
  const { dtype, parameters, weightBytes, largestTensor, loadBytes, kvBytesPerToken, tokens, prefillBytes: prefill, neededBytes, availableBytes, availableFrom } = plan;
  return [
    `weights: ${size(weightBytes)} (${(parameters / 1e6).toFixed(1)} million parameters, matrices in ${dtype})`,
    `loading: ${size(loadBytes)} at its peak (largest weight ${largestTensor.name}, ${size(largestTensor.bytes)})`,
    `a prompt of ${tokens} tokens: up to ${size(prefill)} beside the weights, of which ${size(tokens * kvBytesPerToken)} keys and values (${kvBytesPerToken} bytes a token)`,
    `needed: ${size(neededBytes)}`,
    `there is: ${size(availableBytes)}, ${SOURCES[availableFrom]}`,
  ].join("\n");
}

function remedies({ dtype, prefillBytes: prefill, loadBytes, weightBytes, availableBytes }: MemoryPlan): string {
  const out: string[] = [];
  if (dtype === "float32") out.push("load with dtype bfloat16, which halves the weights");
  if (prefill > loadBytes - weightBytes && loadBytes <= availableBytes) out.push("plan fewer tokens (planTokens) and give smaller prompts");
  out.push("free memory or take a larger machine", "ignoreMemoryPlan: true loads nevertheless");
  return `${out.join("; ")}.`.replace(/^./u, (first) => first.toUpperCase());
}

/** Bytes that a heap of WebAssembly can have. */
const WASM_HEAP = 2 ** 32;

/** Refuses to load what does not fit. On a GPU the weights are not in the memory that can be asked here, so nothing is refused. */
export async function checkMemory(dir: string, config: QwenVlConfig, checkpoint: Checkpoint, options: LoadOptions): Promise<void> {
  const { tf, dtype, products, planTokens, queryChunk, memoryLimitBytes = Number.POSITIVE_INFINITY, ignoreMemoryPlan = false } = options;
  if (ignoreMemoryPlan || (tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice === true) return;
  const heap = tf.getBackend() === "wasm" ? WASM_HEAP - tf.memory().numBytes : Number.POSITIVE_INFINITY;
  const limit = Math.min(memoryLimitBytes, heap);
  const plan = await planCheckpoint(config, checkpoint, {
    ...(dtype === undefined ? {} : { dtype }), ...(products === undefined ? {} : { products }), ...(planTokens === undefined ? {} : { tokens: planTokens }), ...(queryChunk === undefined ? {} : { queryChunk }), ...(Number.isFinite(limit) ? { limitBytes: limit } : {}),
  });
  if (plan.fits) return;
  throw new QwenVlError(`${dir} does not fit into memory:\n${describeMemoryPlan(plan)}`, { code: "MEMORY_PLAN", hint: remedies(plan) });
}
