import { basename } from "node:path";
import { Adapters } from "./adapters.ts";
import { Arena } from "./arena.ts";
import type { Core } from "./core.ts";
import { QwenVlError } from "./errors.ts";
import { generateTexts } from "./generate/texts.ts";
import { prepare } from "./processor.ts";
import type { Processor } from "./processor.ts";
import { saveWeights } from "./save-weights.ts";
import type { SaveWeightsOptions } from "./save-weights.ts";
import { decodesFused } from "./text/decode-step.ts";
import { forwardLogits } from "./text/logits.ts";
import type { Dropout } from "./train/dropout.ts";
import { foldedView } from "./train/fold.ts";
import { scoreGroups } from "./train/score.ts";
import type { ScoreGroupsOptions, Scores } from "./train/score.ts";
import { ParameterSet } from "./train/trainable.ts";
import type { TrainableParameter } from "./train/trainable.ts";
import type {
  AdapterChoice, AttachLoraOptions, ChatMessage, CompletionGroup, GenerateOptions, GradientOptions, GroupGradientOptions, LoraAdapter, LoraConfig, PrepareOptions, Prompt, QwenTokenizer, QwenVl, QwenVlConfig, Sample,
  ScoreOptions, Tensor2D, TrainableSet, VisionFeatures, VisionItem,
} from "./types.ts";
import { runTower } from "./vision/tower.ts";
import type { Weights } from "./weights.ts";

function scoring(options: ScoreOptions): Omit<ScoreGroupsOptions, "training"> {
  return { temperature: options.temperature ?? 1, entropy: options.entropy ?? false, signal: options.signal };
}

function firstGroup({ logProbs, entropy }: Scores): { logProbs: Float32Array[]; entropy?: Float32Array[] } {
  return { logProbs: logProbs[0]!, ...(entropy === undefined ? {} : { entropy: entropy[0]! }) };
}

function weightParameters(weights: Weights, names: readonly string[]): TrainableParameter[] {
  const narrow = names.find((name) => weights.dtype(name) === "bfloat16");
  if (narrow !== undefined) throw new QwenVlError(`${narrow} is kept in bfloat16 and cannot be trained`, { code: "NOT_TRAINABLE", hint: "Load with dtype float32, or train an adapter." });
  return names.map((name) => ({ name, shape: weights.shape(name), read: () => weights.read(name), write: (value) => { weights.write(name, value); } }));
}

/** A model on the back end. */
export class LoadedModel implements QwenVl {
  readonly config: QwenVlConfig;
  readonly generationConfig: QwenVl["generationConfig"];
  readonly tokenizer: QwenTokenizer;
  readonly info: QwenVl["info"];
  readonly #dir: string;
  readonly #core: Core;
  readonly #weights: Weights;
  readonly #adapters: Adapters;
  readonly #processor: Processor;
  readonly #sets = new Set<ParameterSet>();
  #current: ParameterSet | undefined;
  #disposed = false;

  constructor(dir: string, core: Core, weights: Weights, processor: Processor, generation: QwenVl["generationConfig"]) {
    this.#dir = dir;
    this.#core = core;
    this.#weights = weights;
    this.#processor = processor;
    this.#adapters = new Adapters(core.runtime, weights);
    this.config = core.config;
    this.generationConfig = generation;
    this.tokenizer = processor.tokenizer;
    const totals = weights.totals();
    this.info = { parameters: totals.parameters, weightBytes: totals.bytes, tensors: weights.names.length, dtype: core.dtype };
  }

  prepare(messages: readonly ChatMessage[], options: PrepareOptions = {}): Prompt {
    this.#alive();
    return prepare(this.#processor, messages, options);
  }

  async encodeVideos(items: readonly VisionItem[], options: { signal?: AbortSignal } = {}): Promise<VisionFeatures[]> {
    this.#alive();
    const arena = new Arena();
    try {
      const { features } = await runTower(this.#core, arena, this.#adapters.view(), items, { keep: false, signal: options.signal });
      return features.map((tensor) => {
        arena.release(tensor);
        let disposed = false;
        const dispose = (): void => {
          if (!disposed) tensor.dispose();
          disposed = true;
        };
        return { tensor, tokens: tensor.shape[0], dispose };
      });
    } finally {
      arena.dispose();
    }
  }

  async forward(
    prompt: Prompt, options: { completion?: ArrayLike<number>; rows?: "last" | "all" | ArrayLike<number>; positionIds?: Int32Array; adapter?: AdapterChoice } = {},
  ): Promise<{ logits: Tensor2D; dispose(): void }> {
    this.#alive();
    const logits = await forwardLogits(this.#core, this.#adapters.view(options.adapter), prompt, options);
    return { logits, dispose: () => { logits.dispose(); } };
  }

  async logProbs(prompt: Prompt, completions: readonly ArrayLike<number>[], options: ScoreOptions = {}): Promise<{ logProbs: Float32Array[]; entropy?: Float32Array[] }> {
    return firstGroup(await this.groupLogProbs([{ prompt, completions }], options));
  }

  async logProbsWithGradient(
    prompt: Prompt, completions: readonly ArrayLike<number>[], options: ScoreOptions & GradientOptions,
  ): Promise<{ loss: number; logProbs: Float32Array[]; entropy?: Float32Array[] }> {
    const result = await this.groupLogProbsWithGradient([{ prompt, completions }], {
      ...options,
      gradient: (logProbs, entropy) => {
        const { loss, dLogProbs } = options.gradient(logProbs[0]!, entropy?.[0]);
        return { loss, dLogProbs: [dLogProbs] };
      },
    });
    return { loss: result.loss, ...firstGroup(result) };
  }

  async groupLogProbs(groups: readonly CompletionGroup[], options: ScoreOptions = {}): Promise<{ logProbs: Float32Array[][]; entropy?: Float32Array[][] }> {
    this.#alive();
    return (await scoreGroups(this.#core, this.#adapters.view(options.adapter), groups, scoring(options))).scores;
  }

  async groupLogProbsWithGradient(
    groups: readonly CompletionGroup[], options: ScoreOptions & GroupGradientOptions,
  ): Promise<{ loss: number; logProbs: Float32Array[][]; entropy?: Float32Array[][] }> {
    this.#alive();
    const sink = this.#sink(options.adapter);
    const training = { sink, dropout: this.#dropout(sink, options.dropoutSeed), gradient: ({ logProbs, entropy }: Scores) => options.gradient(logProbs, entropy) };
    const { scores, loss = 0 } = await scoreGroups(this.#core, this.#adapters.view(options.adapter), groups, { ...scoring(options), training });
    return { loss, ...scores };
  }

  async generate(prompts: readonly Prompt[], options: GenerateOptions): Promise<Sample[][]> {
    this.#alive();
    const arena = new Arena();
    try {
      const parameters = this.#adapters.view(options.adapter);
      const view = decodesFused(this.#core) ? foldedView(this.#core.runtime, arena, parameters) : parameters;
      return await generateTexts(this.#core, view, this.tokenizer, this.generationConfig, prompts, options);
    } finally {
      arena.dispose();
    }
  }

  async attachLora(source: string | LoraConfig, options: AttachLoraOptions = {}): Promise<LoraAdapter> {
    this.#alive();
    return this.#adapters.attach(source, options);
  }

  setActiveAdapter(name: string): void {
    this.#alive();
    this.#adapters.setActive(name);
  }

  mergeLora(name?: string): Promise<void> {
    this.#alive();
    this.#adapters.merge(name);
    return Promise.resolve();
  }

  unmergeLora(): Promise<void> {
    this.#alive();
    this.#adapters.unmerge();
    return Promise.resolve();
  }

  trainable(select: "lora" | RegExp = "lora"): TrainableSet {
    this.#alive();
    const weights = this.#weights;
    const parameters =
      select === "lora"
        ? this.#adapters.parameters()
        : weightParameters(weights, weights.names.filter((name) => select.test(name)));
    if (parameters.length === 0) throw new QwenVlError(`no weight matches ${String(select)}`, { code: "UNKNOWN_PARAMETER", hint: "Names are new-style, such as model.language_model.norm.weight." });
    const set = new ParameterSet(this.#core.runtime, parameters, select === "lora" ? this.#adapters.active : undefined);
    this.#sets.add(set);
    this.#current = set;
    return set;
  }

  async saveLora(dir: string, name?: string): Promise<void> {
    this.#alive();
    await this.#adapters.save(dir, name, basename(this.#dir));
  }

  async saveMerged(dir: string, options: Partial<SaveWeightsOptions> = {}): Promise<void> {
    this.#alive();
    await saveWeights(this.#dir, dir, this.#weights, { dtype: this.#core.dtype, ...options });
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const set of this.#sets) set.dispose();
    this.#adapters.dispose();
    this.#weights.dispose();
    this.#core.runtime.dispose();
  }

  /** The set that gradients of a call are added to. */
  #sink(adapter: AdapterChoice | undefined): ParameterSet {
    const sink = this.#current;
    if (sink === undefined) throw new QwenVlError("nothing is trainable", { code: "NOT_TRAINABLE", hint: "Call trainable() first and keep the set." });
    const used = this.#adapters.nameOf(adapter);
    if (sink.adapter !== undefined && sink.adapter !== used) {
      throw new QwenVlError(`the trainable set belongs to adapter ${JSON.stringify(sink.adapter)}, the call uses ${JSON.stringify(used)}`, {
        code: "NOT_TRAINABLE", hint: "Make that adapter active, or call trainable() again.",
      });
    }
    if (this.#adapters.merged !== undefined) throw new QwenVlError("gradients need unmerged weights", { code: "MERGED", hint: "Call unmergeLora() first." });
    return sink;
  }

  /** What the adapter under training drops. */
  #dropout(sink: ParameterSet, seed: number | undefined): Dropout | undefined {
    if (sink.adapter === undefined) return undefined;
    const share = this.#adapters.dropout(sink.adapter);
    if (share === 0) return undefined;
    if (seed === undefined) {
      throw new QwenVlError(`the adapter ${JSON.stringify(sink.adapter)} trains with dropout ${share}: dropoutSeed is missing`, {
        code: "BAD_OPTION", hint: "Give another dropoutSeed at every step, or attach the adapter with dropout: 0.",
      });
    }
    if (!Number.isSafeInteger(seed) || seed < 0) throw new QwenVlError(`dropoutSeed must be an integer from 0 to 2^53 - 1, got ${seed}`, { code: "BAD_OPTION" });
    return { share, seed };
  }

  #alive(): void {
    if (this.#disposed) throw new QwenVlError("the model was disposed", { code: "DISPOSED", hint: "Load it again." });
  }
}
