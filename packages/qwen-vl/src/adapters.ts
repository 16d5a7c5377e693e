import { basename } from "node:path";
import type { TensorLike } from "@dramascope/tensorflow";
import { QwenVlError } from "./errors.ts";
import type { ParameterView } from "./parameters.ts";
import type { Runtime } from "./runtime.ts";
import { readAdapter, writeAdapter } from "./train/adapter-files.ts";
import { foldedWeight } from "./train/fold.ts";
import { disposeLora, freshLora, loadedLora, loraParameters, readLora } from "./train/lora.ts";
import type { LoraState } from "./train/lora.ts";
import type { TrainableParameter } from "./train/trainable.ts";
import type { AdapterChoice, AttachLoraOptions, LoraAdapter, LoraConfig } from "./types.ts";
import type { Weights } from "./weights.ts";

/** The adapters of one model, which of them is active, and which one is merged into the weights. */
export class Adapters {
  readonly #runtime: Runtime;
  readonly #weights: Weights;
  readonly #states = new Map<string, LoraState>();
  #active = "none";
  #merged: { name: string; originals: Map<string, TensorLike> } | undefined;

  constructor(runtime: Runtime, weights: Weights) {
    this.#runtime = runtime;
    this.#weights = weights;
  }

  /** Name of the active adapter, or "none". */
  get active(): string {
    return this.#active;
  }

  /** Name of the merged adapter. */
  get merged(): string | undefined {
    return this.#merged?.name;
  }

  /** Attaches a folder or a fresh adapter and makes it active. */
  async attach(source: string | LoraConfig, options: AttachLoraOptions): Promise<LoraAdapter> {
    const name = options.name ?? (typeof source === "string" ? basename(source) : "default");
    if (name === "none" || name === "active" || name === "") throw new QwenVlError(`an adapter cannot be called ${JSON.stringify(name)}`, { code: "BAD_OPTION", hint: "Give another name." });
    if (this.#states.has(name)) throw new QwenVlError(`there is an adapter ${JSON.stringify(name)} already`, { code: "ADAPTER_NAME", hint: "Give another name, or dispose the first." });
    const { seed = 0, trainable = true } = options;
    const withOptions = (config: LoraConfig): LoraConfig => (options.dropout === undefined ? config : { ...config, dropout: options.dropout });
    let state: LoraState;
    if (typeof source === "string") {
      const { config, modules } = await readAdapter(source);
      state = loadedLora(this.#runtime, this.#weights, name, { config: withOptions(config), modules }, source, trainable);
    } else state = freshLora(this.#runtime, this.#weights, name, withOptions(source), seed, trainable);
    this.#states.set(name, state);
    this.#active = name;
    return { name, config: state.config, modules: [...state.modules.keys()], dispose: () => { this.#remove(name); } };
  }

  /** Chooses the adapter that calls use by default. */
  setActive(name: string): void {
    if (name !== "none") this.#state(name);
    this.#active = name;
  }

  /** Name of the adapter that a choice means, or "none". */
  nameOf(choice: AdapterChoice = "active"): string {
    return choice === "active" ? this.#active : choice;
  }

  /** Parameters under a choice of adapter. */
  view(choice?: AdapterChoice): ParameterView {
    const name = this.nameOf(choice);
    const lora = name === "none" || name === this.merged ? undefined : this.#state(name).modules;
    const originals = this.#merged !== undefined && name !== this.merged ? this.#merged.originals : undefined;
    return {
      tensor: (name) => this.#weights.tensor(name),
      blocks: (name) => this.#weights.blocks(name),
      module: (module) => {
        const base = this.#weights.module(module);
        return { weight: originals?.get(module) ?? base.weight, bias: base.bias, lora: lora?.get(module) };
      },
    };
  }

  /** Adds an adapter into the weights; the originals are kept aside. */
  merge(name: string = this.#active): void {
    if (this.#merged !== undefined) throw new QwenVlError(`the adapter ${JSON.stringify(this.#merged.name)} is merged already`, { code: "MERGED", hint: "Call unmergeLora() first." });
    const { modules } = this.#state(name);
    const made = new Map<string, TensorLike>();
    try {
      for (const [module, pair] of modules) made.set(module, foldedWeight(this.#runtime, this.#weights.module(module).weight, pair));
    } catch (error) {
      for (const tensor of made.values()) tensor.dispose();
      throw error;
    }
    const originals = new Map([...made].map(([module, tensor]) => [module, this.#weights.exchange(`${module}.weight`, tensor)]));
    this.#merged = { name, originals };
  }

  /** Puts the original weights back. */
  unmerge(): void {
    for (const [module, original] of this.#merged?.originals ?? []) this.#weights.exchange(`${module}.weight`, original).dispose();
    this.#merged = undefined;
  }

  /** Share of an adapter's inputs that its training drops. */
  dropout(name: string): number {
    return this.#state(name).config.dropout ?? 0;
  }

  /** The active adapter's matrices. */
  parameters(): TrainableParameter[] {
    const state = this.#state(this.#active);
    if (!state.trainable) throw new QwenVlError(`the adapter ${JSON.stringify(state.name)} was attached with trainable: false`, { code: "NOT_TRAINABLE", hint: "Attach it with trainable: true." });
    return loraParameters(state);
  }

  /** Writes an adapter as a PEFT folder. */
  async save(dir: string, name: string = this.#active, base: string | null = null): Promise<void> {
    await writeAdapter(dir, await readLora(this.#state(name)), base);
  }

  /** Frees all adapters and the kept originals. */
  dispose(): void {
    this.unmerge();
    for (const state of this.#states.values()) disposeLora(state);
    this.#states.clear();
    this.#active = "none";
  }

  #remove(name: string): void {
    const state = this.#states.get(name);
    if (state === undefined) return;
    if (this.merged === name) this.unmerge();
    if (this.#active === name) this.#active = "none";
    this.#states.delete(name);
    disposeLora(state);
  }

  #state(name: string): LoraState {
    const state = this.#states.get(name);
    if (state === undefined) {
      const names = [...this.#states.keys()];
      throw new QwenVlError(name === "none" ? "no adapter is active" : `there is no adapter ${JSON.stringify(name)}`, {
        code: "ADAPTER_NAME", hint: names.length === 0 ? "Attach one with attachLora()." : `Attached: ${names.join(", ")}.`,
      });
    }
    return state;
  }
}
