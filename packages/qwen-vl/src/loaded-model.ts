import { basename } from "node:path";
import { Adapters } from "./adapters.ts";
import { Arena } from "./arena.ts";
import { Calls } from "./calls.ts";
import type { Core } from "./core.ts";
import { disposed, QwenVlError } from "./errors.ts";
import { findNonFinite } from "./finite.ts";
import { generateTexts } from "./generate/texts.ts";
import { Pace } from "./pace.ts";
import type { ParameterView } from "./parameters.ts";
import { prepare } from "./processor.ts";
import type { Processor } from "./processor.ts";
import { saveWeights } from "./save-weights.ts";
import type { SaveWeightsOptions } from "./save-weights.ts";
import { decodesFused } from "./text/decode-step.ts";
import type { PrefixGradient } from "./text/decoder.ts";
import { forwardLogits } from "./text/logits.ts";
import type { Dropout } from "./train/dropout.ts";
import { foldedView } from "./train/fold.ts";
import { loraParameters } from "./train/lora.ts";
import type { LoraState } from "./train/lora.ts";
import { scoreGroups } from "./train/score.ts";
import type { ScoreGroupsOptions, Scores } from "./train/score.ts";
import { ParameterSet } from "./train/trainable.ts";
import type { TrainableParameter } from "./train/trainable.ts";
import type { AttachLoraOptions, LoraAdapter, LoraConfig, TrainableSet } from "./adapter-types.ts";
import type { QwenVlConfig } from "./config-types.ts";
import type { GenerateOptions, Sample } from "./generate-types.ts";
import type { AdapterChoice, CompletionGroup, GradientOptions, GroupGradientOptions, ScoreOptions } from "./gradient-types.ts";
import type { QwenTokenizer, QwenVl } from "./model-types.ts";
import type { ChatMessage, PrepareOptions, Prompt, VisionFeatures, VisionItem } from "./prompt-types.ts";
import type { Tensor2D } from "./tensor-types.ts";
import { runTower } from "./vision/tower.ts";
import type { Weights } from "./weights.ts";

function scoring(options: ScoreOptions): Omit<ScoreGroupsOptions, "training"> {
  return { temperature: options.temperature ?? 1, entropy: options.entropy ?? false, best: options.best ?? false, completionChunk: options.completionChunk ?? Number.POSITIVE_INFINITY, signal: options.signal };
}

function firstGroup({ logProbs, entropy, best }: Scores): { logProbs: Float32Array[]; entropy?: Float32Array[]; best?: Float32Array[] } {
  return { logProbs: logProbs[0]!, ...(entropy === undefined ? {} : { entropy: entropy[0]! }), ...(best === undefined ? {} : { best: best[0]! }) };
}

function weightParameters(weights: Weights, names: readonly string[]): TrainableParameter[] {
  const narrow = names.find((name) => weights.dtype(name) === "bfloat16");
  if (narrow !== undefined) throw new QwenVlError(`${narrow} is kept in bfloat16 and cannot be trained`, { code: "NOT_TRAINABLE", hint: "Load with dtype float32, or train an adapter." });
  return names.map((name) => ({ name, shape: weights.shape(name), read: () => weights.read(name), write: (value) => { weights.write(name, value); } }));
}

/** What the adapter under training drops. */
function dropoutOf({ adapter }: ParameterSet, seed: number | undefined): Dropout | undefined {
  const share = adapter?.config.dropout ?? 0;
  if (adapter === undefined || share === 0) return undefined;
  if (seed === undefined) {
    throw new QwenVlError(`the adapter ${JSON.stringify(adapter.name)} trains with dropout ${share}: dropoutSeed is missing`, {
      code: "BAD_OPTION", hint: "Give another dropoutSeed at every step, or attach the adapter with dropout: 0.",
    });
  }
  if (!Number.isSafeInteger(seed) || seed < 0) throw new QwenVlError(`dropoutSeed must be an integer from 0 to 2^53 - 1, got ${seed}`, { code: "BAD_OPTION" });
  return { share, seed };
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
  readonly #calls = new Calls(() => { this.#alive(); });
  #current: ParameterSet | undefined;
  #disposed = false;

  constructor(dir: string, core: Core, weights: Weights, processor: Processor, generation: QwenVl["generationConfig"]) {
    this.#dir = dir;
    this.#core = core;
    this.#weights = weights;
    this.#processor = processor;
    this.#adapters = new Adapters(core.runtime, weights, this.#calls, (adapter) => {
      if (this.#current?.adapter === adapter) this.#current.dispose();
    });
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
    return this.#reading("encodeVideos", "active", async (view) => {
      const arena = new Arena();
      try {
        const { features } = await runTower(this.#core, arena, view, items, { keep: false, pace: new Pace(options.signal) });
        const bad = await findNonFinite(this.#core.runtime, arena, features);
        if (bad !== undefined) throw new QwenVlError(`the features of vision item ${bad.matrix} are not finite`, { code: "NOT_FINITE", hint: "Check its patches and the weights of the tower for NaN or infinite values." });
        return features.map((tensor) => {
          arena.release(tensor);
          let isFree = false;
          const dispose = (): void => {
            if (!isFree) tensor.dispose();
            isFree = true;
          };
          return { tensor, tokens: tensor.shape[0], dispose };
        });
      } finally {
        arena.dispose();
      }
    });
  }

  async forward(
    prompt: Prompt,
    options: { completion?: ArrayLike<number>; rows?: "last" | "all" | ArrayLike<number>; positionIds?: Int32Array; adapter?: AdapterChoice; signal?: AbortSignal } = {},
  ): Promise<{ logits: Tensor2D; dispose(): void }> {
    return this.#reading("forward", options.adapter, async (view) => {
      const logits = await forwardLogits(this.#core, view, prompt, options);
      return { logits, dispose: () => { logits.dispose(); } };
    });
  }

  async logProbs(prompt: Prompt, completions: readonly ArrayLike<number>[], options: ScoreOptions = {}): Promise<{ logProbs: Float32Array[]; entropy?: Float32Array[]; best?: Float32Array[] }> {
    return firstGroup(await this.groupLogProbs([{ prompt, completions }], options));
  }

  async logProbsWithGradient(
    prompt: Prompt, completions: readonly ArrayLike<number>[], options: ScoreOptions & GradientOptions,
  ): Promise<{ loss: number; logProbs: Float32Array[]; entropy?: Float32Array[]; best?: Float32Array[] }> {
    const result = await this.groupLogProbsWithGradient([{ prompt, completions }], {
      ...options,
      gradient: (logProbs, entropy) => {
        const { loss, dLogProbs } = options.gradient(logProbs[0]!, entropy?.[0]);
        return { loss, dLogProbs: [dLogProbs] };
      },
    });
    return { loss: result.loss, ...firstGroup(result) };
  }

  async groupLogProbs(groups: readonly CompletionGroup[], options: ScoreOptions = {}): Promise<{ logProbs: Float32Array[][]; entropy?: Float32Array[][]; best?: Float32Array[][] }> {
    return this.#reading("logProbs", options.adapter, async (view) => (await scoreGroups(this.#core, view, groups, scoring(options))).scores);
  }

  async groupLogProbsWithGradient(
    groups: readonly CompletionGroup[], options: ScoreOptions & GroupGradientOptions,
  ): Promise<{ loss: number; logProbs: Float32Array[][]; entropy?: Float32Array[][]; best?: Float32Array[][] }> {
    return this.#reading("logProbsWithGradient", options.adapter, async (view, adapter) => {
      const sink = this.#sink(adapter);
      const prefix: PrefixGradient = options.stopPrefixGradient === true ? "constant" : "flowing";
      const training = { sink, dropout: dropoutOf(sink, options.dropoutSeed), prefix, gradient: ({ logProbs, entropy }: Scores) => options.gradient(logProbs, entropy) };
      const { scores, loss = 0 } = await scoreGroups(this.#core, view, groups, { ...scoring(options), training });
      return { loss, ...scores };
    });
  }

  async generate(prompts: readonly Prompt[], options: GenerateOptions): Promise<Sample[][]> {
    return this.#reading("generate", options.adapter, async (parameters) => {
      const arena = new Arena();
      try {
        const view = decodesFused(this.#core) ? foldedView(this.#core.runtime, arena, parameters) : parameters;
        return await generateTexts(this.#core, view, this.tokenizer, this.generationConfig, prompts, options);
      } finally {
        arena.dispose();
      }
    });
  }

  async attachLora(source: string | LoraConfig, options: AttachLoraOptions = {}): Promise<LoraAdapter> {
    return this.#run(() => this.#calls.shared("attachLora", [], () => this.#adapters.attach(source, options)));
  }

  setActiveAdapter(name: string): void {
    this.#alive();
    this.#adapters.setActive(name);
  }

  async mergeLora(name?: string): Promise<void> {
    return this.#run(() => {
      const adapter = this.#adapters.named(name);
      return this.#calls.alone("mergeLora", () => this.#adapters.merge(adapter, new Pace()));
    });
  }

  async unmergeLora(): Promise<void> {
    return this.#run(() =>
      this.#calls.alone("unmergeLora", () => {
        this.#adapters.unmerge();
        return Promise.resolve();
      }),
    );
  }

  trainable(select: "lora" | RegExp = "lora"): TrainableSet {
    this.#alive();
    const weights = this.#weights;
    const adapter = select === "lora" ? this.#adapters.named() : undefined;
    if (adapter?.trainable === false) throw new QwenVlError(`the adapter ${JSON.stringify(adapter.name)} was attached with trainable: false`, { code: "NOT_TRAINABLE", hint: "Attach it with trainable: true." });
    const parameters =
      select === "lora"
        ? loraParameters(this.#adapters.named())
        : weightParameters(weights, weights.names.filter((name) => name.search(select) >= 0));
    if (parameters.length === 0) throw new QwenVlError(`no weight matches ${String(select)}`, { code: "UNKNOWN_PARAMETER", hint: "Names are new-style, such as model.language_model.norm.weight." });
    this.#current?.dispose();
    this.#current = new ParameterSet(this.#core.runtime, parameters, { adapter, refuse: (change) => { this.#calls.refuse(change, adapter ?? "weights"); } });
    return this.#current;
  }

  async saveLora(dir: string, name?: string): Promise<void> {
    return this.#run(() => {
      const adapter = this.#adapters.named(name);
      return this.#calls.shared("saveLora", [adapter], () => this.#adapters.save(adapter, dir, basename(this.#dir)));
    });
  }

  async saveMerged(dir: string, options: Partial<SaveWeightsOptions> = {}): Promise<void> {
    return this.#run(() => this.#calls.shared("saveMerged", [], () => saveWeights(this.#dir, dir, this.#weights, { dtype: this.#core.dtype, ...options })));
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#current?.dispose();
    this.#adapters.dispose();
    this.#weights.dispose();
    this.#core.runtime.dispose();
  }

  /** The set that gradients of a call are added to. */
  #sink(adapter: LoraState | undefined): ParameterSet {
    const sink = this.#current;
    if (sink?.alive !== true) throw new QwenVlError("nothing is trainable", { code: "NOT_TRAINABLE", hint: "Call trainable() first and keep the set." });
    if (sink.adapter !== undefined && sink.adapter !== adapter) {
      throw new QwenVlError(`the trainable set belongs to adapter ${JSON.stringify(sink.adapter.name)}, the call uses ${JSON.stringify(adapter?.name ?? "none")}`, {
        code: "NOT_TRAINABLE", hint: "Make that adapter active, or call trainable() again.",
      });
    }
    if (this.#adapters.merged !== undefined) throw new QwenVlError("gradients need unmerged weights", { code: "MERGED", hint: "Call unmergeLora() first." });
    return sink;
  }

  /** Runs a call under the adapter that its choice means now. */
  #reading<T>(name: string, choice: AdapterChoice | undefined, work: (view: ParameterView, adapter: LoraState | undefined) => Promise<T>): Promise<T> {
    return this.#run(() => {
      const adapter = this.#adapters.choose(choice);
      return this.#calls.shared(name, [adapter], () => work(this.#adapters.view(adapter), adapter));
    });
  }

  /** Runs a call; one that the model's disposal ends says so. */
  async #run<T>(call: () => Promise<T>): Promise<T> {
    this.#alive();
    try {
      return await call();
    } catch (error) {
      throw this.#disposed ? disposed(error) : error;
    }
  }

  #alive(): void {
    if (this.#disposed) throw disposed();
  }
}
