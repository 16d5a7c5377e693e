import type { AttachLoraOptions, LoraAdapter, LoraConfig, TrainableSet } from "./adapter-types.ts";
import type { MropeRule, QwenVlConfig } from "./config-types.ts";
import type { GenerateOptions, Sample } from "./generate-types.ts";
import type { AdapterChoice, CompletionGroup, GradientOptions, GroupGradientOptions, ScoreOptions } from "./gradient-types.ts";
import type { ChatMessage, PrepareOptions, Prompt, VisionFeatures, VisionItem } from "./prompt-types.ts";
import type { Tensor2D, Tf } from "./tensor-types.ts";

/** Options of `loadQwenVl`. */
export interface LoadOptions {
  /** TensorFlow.js with a ready back end, from `loadTensorFlow()`. */
  tf: Tf;
  /**
   * How matrices (linears, embedding) are kept; norms, biases, adapters and everything between products stay float32. `bfloat16`
   * halves the memory and needs native TensorFlow through koffi. Default `float32`.
   */
  dtype?: "float32" | "bfloat16";
  /**
   * How bfloat16 matrices are multiplied. `bfloat16` rounds the other side and the result too: fast on processors with AMX or
   * AVX512-BF16. `float32` widens each matrix for its product: a bfloat16 checkpoint then gives what a
   * float32 load gives, no faster. Default `bfloat16`.
   */
  products?: "bfloat16" | "float32";
  /** Position rule. Default `qwen`. */
  mrope?: MropeRule;
  /** Attention rows at once, at most. Default 512. */
  queryChunk?: number;
  /** Logit rows at once. Default 256. */
  logitsChunk?: number;
  /** Ids of the vocabulary at once where tokens are scored or gradients are wanted; together with `logitsChunk` it bounds the logits that exist at a time. Default 8192. */
  vocabChunk?: number;
  /**
   * Bytes of inner results that a gradient call may keep instead of computing them twice: those of as many layers as fit, all but attention scores. Of the other layers only
   * the inputs are kept (checkpointing by layer; of all layers with 0). All give the same gradients. Default 1 GiB.
   */
  keepBytes?: number;
  /** Unknown tensors are errors. Default true. */
  strict?: boolean;
  /** Prompt tokens that must fit into memory beside the weights. Default 4096, or the model's positions when these are fewer. */
  planTokens?: number;
  /** Bytes that weights and work may take, if less than what is free. Default all that is free. */
  memoryLimitBytes?: number;
  /** Loads even when the memory plan does not fit. Default false. */
  ignoreMemoryPlan?: boolean;
  /**
   * Folder for files of weights as the back end keeps them, one for each checkpoint and `dtype`. The first load writes such a file, as large as the weights; later loads, in any
   * process, use its pages as they are: nothing is read before it is needed, and processes share the memory. A checkpoint file that was touched counts as another
   * one. The files are believed as the checkpoint is, so the folder must be the user's own and not writable by others. They may be removed at any time, but must not be
   * shortened. Needs native TensorFlow through koffi. Default none.
   */
  weightCache?: string;
  /** Called after each tensor that is read. */
  onProgress?: (progress: { tensor: string; loadedBytes: number; totalBytes: number }) => void;
  signal?: AbortSignal;
}

/** Text to ids and back. */
export interface QwenTokenizer {
  /** `allowSpecial` lets literals such as `<|im_end|>` become control tokens: all, none, or those at places (UTF-16 units of the text) that it accepts. Default false. */
  encode(text: string, options?: { allowSpecial?: boolean | ((start: number, end: number) => boolean) }): number[];
  decode(ids: ArrayLike<number>, options?: { skipSpecial?: boolean }): string;
  /** Id of a token; undefined when there is none. */
  idOf(token: string): number | undefined;
  /** One more than the largest id; 0 where the checkpoint has no tokenizer.json, and every text is refused with `NO_TOKENIZER`. */
  readonly size: number;
  readonly specialIds: ReadonlySet<number>;
}

/**
 * A loaded model. Calls may overlap: one that was begun keeps its adapter and weights to its end, `mergeLora` and `unmergeLora` wait for the calls before them and hold back
 * those after them, and what would change values under a running call (`assign`, `assignAll`, an adapter's `dispose`) throws `BUSY`. Every call lets timers, sockets and signal
 * handlers run about every 10 ms, or after a layer where that takes longer; `dispose` ends running calls with `DISPOSED`.
 */
export interface QwenVl {
  readonly config: QwenVlConfig;
  readonly generationConfig: { temperature?: number; topP?: number; topK?: number; repetitionPenalty?: number; eosTokenIds: number[] };
  readonly tokenizer: QwenTokenizer;
  /** Size on the back end; `dtype` is that of the matrices. */
  readonly info: { parameters: number; weightBytes: number; tensors: number; dtype: string };
  /** Messages and items as a prompt. */
  prepare(messages: readonly ChatMessage[], options?: PrepareOptions): Prompt;
  /** Features of items, images too; the caller disposes them. */
  encodeVideos(items: readonly VisionItem[], options?: { signal?: AbortSignal }): Promise<VisionFeatures[]>;
  /** Logits [rows, vocab] of chosen rows, default the last. The caller disposes the result. */
  forward(prompt: Prompt, options?: { completion?: ArrayLike<number>; rows?: "last" | "all" | ArrayLike<number>; positionIds?: Int32Array; adapter?: AdapterChoice; signal?: AbortSignal }): Promise<{ logits: Tensor2D; dispose(): void }>;
  /** Log-probability of each completion token, the prompt computed once. */
  logProbs(prompt: Prompt, completions: readonly ArrayLike<number>[], options?: ScoreOptions): Promise<{ logProbs: Float32Array[]; entropy?: Float32Array[]; best?: Float32Array[] }>;
  /** The same, and the gradient of a loss added to the trainable set's sums; an adapter with dropout gives the log-probabilities that are left. */
  logProbsWithGradient(prompt: Prompt, completions: readonly ArrayLike<number>[], options: ScoreOptions & GradientOptions): Promise<{ loss: number; logProbs: Float32Array[]; entropy?: Float32Array[]; best?: Float32Array[] }>;
  /** `logProbs` for several groups in one pass, faster for short ones: prompts and completions are padded to common lengths. */
  groupLogProbs(groups: readonly CompletionGroup[], options?: ScoreOptions): Promise<{ logProbs: Float32Array[][]; entropy?: Float32Array[][]; best?: Float32Array[][] }>;
  /** `logProbsWithGradient` for several groups in one pass. */
  groupLogProbsWithGradient(groups: readonly CompletionGroup[], options: ScoreOptions & GroupGradientOptions): Promise<{ loss: number; logProbs: Float32Array[][]; entropy?: Float32Array[][]; best?: Float32Array[][] }>;
  /** Answers by prompt and sample. */
  generate(prompts: readonly Prompt[], options: GenerateOptions): Promise<Sample[][]>;
  /** Attaches an adapter folder, or a fresh adapter, and makes it the active one. */
  attachLora(source: string | LoraConfig, options?: AttachLoraOptions): Promise<LoraAdapter>;
  setActiveAdapter(name: string): void;
  mergeLora(name?: string): Promise<void>;
  unmergeLora(): Promise<void>;
  /**
   * Parameters to train: the active adapter's, or weights by name. A model has one such set: the next one takes its place and disposes it, as does the disposal of its adapter.
   * The vision tower is trained exactly where names in the set are its own: where the adapter's `targetModules` reach it, or the expression.
   */
  trainable(select?: "lora" | RegExp): TrainableSet;
  /** Writes an adapter as a PEFT folder, whole or absent. */
  saveLora(dir: string, name?: string): Promise<void>;
  /**
   * Writes the weights as they are, an active merge included, with the settings, licence and readme of the model's folder, which `dir` cannot be;
   * `dtype` is by default the one that the model was loaded with; float16 refuses values above 65504 (`NOT_REPRESENTABLE`).
   */
  saveMerged(dir: string, options?: { dtype?: "float32" | "bfloat16" | "float16"; names?: "old" | "new"; shardBytes?: number }): Promise<void>;
  dispose(): void;
}
