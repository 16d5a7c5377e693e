import type { LoadedTensorFlow } from "@dramascope/tensorflow";

/** TensorFlow.js with a ready back end. */
export type Tf = LoadedTensorFlow["tf"];
/** A tensor of any rank. */
export type Tensor = InstanceType<Tf["Tensor"]>;
/** A tensor of rank 1. */
export type Tensor1D = ReturnType<Tf["tensor1d"]>;
/** A tensor of rank 2. */
export type Tensor2D = ReturnType<Tf["tensor2d"]>;

/** Temporal grids (frame pairs), rows and columns of an item, in patches of 14 pixels. */
export type Grid = readonly [t: number, h: number, w: number];

/** How text positions go on after a vision item: by the largest axis, or by the larger side of the frame. */
export type MropeRule = "qwen" | "hf5";

/** Decoder part of a configuration. */
export interface TextConfig {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocabSize: number;
  maxPositionEmbeddings: number;
  rmsNormEps: number;
  ropeTheta: number;
  /** Frequencies that read time, height and width; sums to headDim / 2. */
  mropeSection: readonly number[];
}

/** Vision part of a configuration. */
export interface VisionConfig {
  depth: number;
  hiddenSize: number;
  heads: number;
  intermediateSize: number;
  outHiddenSize: number;
  /** Pixels. */
  patchSize: number;
  /** Frames of one temporal grid. */
  temporalPatchSize: number;
  /** Patches merged along each side into one token. */
  spatialMergeSize: number;
  /** Pixels. */
  windowSize: number;
  /** Blocks that attend over a whole frame pair. */
  fullAttentionBlocks: readonly number[];
  tokensPerSecond: number;
  inChannels: number;
  ropeTheta: number;
}

/** A checkpoint's configuration, both layouts unified. */
export interface QwenVlConfig {
  text: TextConfig;
  vision: VisionConfig;
  /** Whether the output matrix is the embedding. */
  tieWordEmbeddings: boolean;
  imageTokenId: number;
  videoTokenId: number;
  visionStartTokenId: number;
  visionEndTokenId: number;
  /** Ids that end an answer unless generation_config.json names others; none when the file names none. */
  eosTokenIds: readonly number[];
  /** Element type that the file names, such as "float16". */
  dtype: string;
}

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

/** One image or video as patches. */
export interface VisionItem {
  kind: "video" | "image";
  grid: Grid;
  /** Row-major [t·h·w, 3·2·14·14]; bytes are raw pixels (normalised by table), floats are already normalised. */
  patches: Uint8Array | Float32Array;
  /** Seconds of one temporal grid, videos only. Default 2 (1 FPS). */
  secondsPerGrid?: number;
}

/** Encoded item, [tokens, hidden]. */
export interface VisionFeatures {
  readonly tensor: Tensor2D;
  readonly tokens: number;
  dispose(): void;
}

/** Part of a sequence for position ids. */
export type Segment = { text: number } | { image: Grid } | { video: Grid; secondsPerGrid: number };

/** A prompt ready for the model. */
export interface Prompt {
  /** [S], pads expanded. */
  ids: Int32Array;
  /** [3·S], axis-major: time, height, width. */
  positionIds: Int32Array;
  /** Position of the first completion token: 1 + max(positionIds). */
  nextPosition: number;
  segments: Segment[];
  /** In order of appearance. */
  vision: VisionItem[];
  /** Same order; when present the tower is not run. */
  features?: VisionFeatures[];
  /** Rendered template before the pads were expanded. */
  text: string;
}

/** Part of a chat message. */
export type ChatPart = { type: "text"; text: string } | { type: "video" | "image"; item: VisionItem };

/** One chat message. */
export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string | readonly ChatPart[];
}

/** Options of `prepare`. */
export interface PrepareOptions {
  /** Ends with the opening of the assistant's turn. Default true. */
  addGenerationPrompt?: boolean;
  /** Numbers the items: "Video 1: ". Default false. */
  addVisionId?: boolean;
  /** Lets text create control tokens; only for trusted text. Default false. */
  allowSpecial?: boolean;
  /** `pinned`: one second a grid whatever the item says, the same in every engine; `true-fps`: the item's own. Default `pinned`. */
  timeBase?: "pinned" | "true-fps";
}

/** Which adapter a call uses. */
export type AdapterChoice = "active" | "none" | (string & {});

/** Options of scoring. */
export interface ScoreOptions {
  /** Divides the logits; a finite number from 1e-30. Default 1. */
  temperature?: number;
  adapter?: AdapterChoice;
  /** Also entropies. Default false. */
  entropy?: boolean;
  /** Also the log-probability of the most likely token in each place: where it is that of the completion's token, greedy decoding would have written it. Default false. */
  best?: boolean;
  /**
   * Completions of each prompt that are computed at once, an integer from 1: fewer take less memory. The prompt is computed once in any case, and the results are the same to
   * rounding; in a gradient call the completions, but for the last so many, are computed twice. Default all.
   */
  completionChunk?: number;
  /** Rejects the call with its reason. In the backward of a gradient call it leaves sums that ask for `zeroGradients()`, with `PARTIAL_GRADIENT`. */
  signal?: AbortSignal;
}

/** Which entries a gradient call drops. */
export interface DropoutOptions {
  /**
   * Needed when the adapter under training has a dropout above 0, else not read: an integer from 0 to 2⁵³ − 1. The same seed drops the
   * same entries on every back end; give another one at every step. A prompt is computed once for all its completions, so they share what its rows drop.
   */
  dropoutSeed?: number;
}

/** How far a gradient call goes back. */
export interface PrefixOptions {
  /**
   * Takes the prompt's keys and values as constants, in every layer: only the row that predicts first tokens and the completions' rows are gone back through, so that a long prompt
   * costs its forward alone. It is another gradient, which leaves out what the adapter does to the prompt, and none for the vision tower. Default false.
   */
  stopPrefixGradient?: boolean;
}

/** Options of a gradient. */
export interface GradientOptions extends DropoutOptions, PrefixOptions {
  /** Receives the log-probabilities, gives the loss and its derivative by each of them. */
  gradient(logProbs: Float32Array[], entropy?: Float32Array[]): { loss: number; dLogProbs: ArrayLike<number>[] };
}

/** A prompt with completions that share it. */
export interface CompletionGroup {
  prompt: Prompt;
  completions: readonly ArrayLike<number>[];
}

/** Options of a gradient over several groups. */
export interface GroupGradientOptions extends DropoutOptions, PrefixOptions {
  /** As in {@link GradientOptions}, by group and completion. */
  gradient(logProbs: Float32Array[][], entropy?: Float32Array[][]): { loss: number; dLogProbs: readonly (readonly ArrayLike<number>[])[] };
}

/** Options of `generate`. */
export interface GenerateOptions {
  maxNewTokens: number;
  /** Samples for each prompt. Default 1. */
  n?: number;
  /** 0 takes the most likely token, else a finite number from 1e-30. Default 1. */
  temperature?: number;
  /** From 0 to 1, which is off. Default 1. */
  topP?: number;
  /** An integer; 0 is off. Default 0. */
  topK?: number;
  /** Above 0; 1 is off. Default 1. */
  repetitionPenalty?: number;
  /** An integer from 0 to 2⁵³ − 1. Default 0. */
  seed?: number;
  /** Default the generation configuration's. */
  stopIds?: readonly number[];
  /** Never sampled, beside vision tokens and ids without a token; which ids have none is known from tokenizer.json only. */
  forbiddenIds?: readonly number[];
  /** Lifts the ban on vision tokens and ids without a token. Default false. */
  allowAll?: boolean;
  /** Ids whose log-probabilities each sample keeps for every place, whatever was sampled there. Default none. */
  watchIds?: readonly number[];
  /** Takes defaults from generation_config.json. Default false. */
  useGenerationConfig?: boolean;
  /** Sequences decoded at once. Default 64. */
  maxRows?: number;
  /**
   * Called with every token; `text` is what it adds, and what ends inside a character comes with a later token. The parts of an answer add up to its text, unless an abort cuts
   * it inside a character.
   */
  onToken?: (event: { prompt: number; sample: number; id: number; text: string }) => void;
  /** Ends the call with what there is: samples that are not finished have the finishReason `abort`. */
  signal?: AbortSignal;
  adapter?: AdapterChoice;
}

/** One generated answer. */
export interface Sample {
  /** With the stop id. */
  ids: Int32Array;
  /** The ids as text, special tokens left out. Reading it throws `NO_TOKENIZER` where the checkpoint has no tokenizer.json. */
  text: string;
  /** Log-probability of each id under the whole vocabulary at the sampling temperature, nats. */
  logProbs: Float32Array;
  /** Log-probability that each of the `watchIds` had in the place of each id, [ids, watchIds] row-major, as `logProbs`; −∞ where it underflows. Absent without `watchIds`. */
  watched?: Float32Array;
  finishReason: "stop" | "length" | "abort";
}

/** Shape of an adapter. */
export interface LoraConfig {
  /** Rank, from 1 to 65536. */
  r: number;
  /** Above 0; the adapter's product is scaled by alpha / r. */
  alpha: number;
  /**
   * Share of the adapter's inputs that gradient calls drop, at least 0 and below 1; the others are scaled by 1 / (1 − dropout). Nothing else drops:
   * not `generate`, `logProbs`, `forward` or a merge. Default 0.
   */
  dropout?: number;
  /**
   * Suffixes of module names, each of which must fit a linear, or an expression for whole names: characters, `.`, `\d`, sets such as `[^.]`, each with `?`, `*` or `+`, and groups
   * of alternatives; nothing else is served, so that a file cannot hang the process. Default the decoder's seven linears.
   */
  targetModules?: string | readonly string[];
  /** Left out of those, named alike. Default none. */
  excludeModules?: string | readonly string[];
  /** Scale alpha / √r instead of alpha / r. Default false. */
  rslora?: boolean;
  /** Rank of some modules in place of `r`; keys are suffixes of module names or expressions as above, the first that fits counts. Default none. */
  rankPattern?: Readonly<Record<string, number>>;
  /** The same for `alpha`. Default none. */
  alphaPattern?: Readonly<Record<string, number>>;
}

/** Options of `attachLora`. */
export interface AttachLoraOptions {
  /** Name among the model's adapters. Default the folder's, or `default`. */
  name?: string;
  /** Lets `trainable()` take its matrices. Default true. */
  trainable?: boolean;
  /** Seed of a fresh adapter's values. Default 0. */
  seed?: number;
  /** In place of the dropout that the folder or configuration names. */
  dropout?: number;
}

/** An attached adapter. */
export interface LoraAdapter {
  readonly name: string;
  readonly config: LoraConfig;
  /** Module names it changes. */
  readonly modules: string[];
  /** Whether it changed anything when it was attached: an adapter whose B matrices are all zero, fresh or never trained, does not. */
  readonly hasEffect: boolean;
  dispose(): void;
}

/** Parameters under training with their gradient sums; values have PyTorch's shapes. */
export interface TrainableSet {
  readonly names: string[];
  /** A copy that the caller owns. */
  value(name: string): Tensor;
  /** The sum so far; owned by the set. */
  gradient(name: string): Tensor | undefined;
  zeroGradients(): void;
  scaleGradients(factor: number): void;
  gradientNorm(): Promise<number>;
  /** Replaces a value and takes ownership of the tensor. */
  assign(name: string, value: Tensor): void;
  /** All gradients in the order of `names`, one read. */
  readGradients(): Promise<Float32Array[]>;
  /** All values in the order of `names`, one read. */
  readValues(): Promise<Float32Array[]>;
  /** Replaces all values, in the order of `names`. */
  assignAll(values: readonly Float32Array[]): void;
  dispose(): void;
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
