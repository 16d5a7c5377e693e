import { basename } from "node:path";
import type { TensorLike } from "@dramascope/tensorflow";
import type { Calls } from "./calls.ts";
import { QwenVlError } from "./errors.ts";
import type { Pace } from "./pace.ts";
import type { ParameterView } from "./parameters.ts";
import type { Runtime } from "./runtime.ts";
import { readAdapter, writeAdapter } from "./train/adapter-files.ts";
import { foldedWeight } from "./train/fold.ts";
import { disposeLora, freshLora, loadedLora, readLora } from "./train/lora.ts";
import type { LoraState } from "./train/lora.ts";
import type { AttachLoraOptions, LoraAdapter, LoraConfig } from "./adapter-types.ts";
import type { AdapterChoice } from "./gradient-types.ts";
import type { Weights } from "./weights.ts";

/** The adapters of one model, which of them is active, and which one is merged into the weights. */
export class Adapters {
  readonly #runtime: Runtime;
  readonly #weights: Weights;
  readonly #calls: Calls;
  readonly #removed: (adapter: LoraState) => void;
  readonly #states = new Map<string, LoraState>();
  /** Names of adapters that are being read. */
  readonly #coming = new Set<string>();
  #active: LoraState | undefined;
  #merged: { adapter: LoraState; originals: Map<string, TensorLike> } | undefined;

  /** @param removed Called when an adapter goes. */
  constructor(runtime: Runtime, weights: Weights, calls: Calls, removed: (adapter: LoraState) => void) {
    this.#runtime = runtime;
    this.#weights = weights;
    this.#calls = calls;
    this.#removed = removed;
  }

  /** The merged adapter. */
  get merged(): LoraState | undefined {
    return this.#merged?.adapter;
  }

  /** Attaches a folder or a fresh adapter and makes it active. */
  async attach(source: string | LoraConfig, options: AttachLoraOptions): Promise<LoraAdapter> {
    const name = options.name ?? (typeof source === "string" ? basename(source) : "default");
    if (name === "none" || name === "active" || name === "") throw new QwenVlError(`an adapter cannot be called ${JSON.stringify(name)}`, { code: "BAD_OPTION", hint: "Give another name." });
    if (this.#states.has(name) || this.#coming.has(name)) throw new QwenVlError(`there is an adapter ${JSON.stringify(name)} already`, { code: "ADAPTER_NAME", hint: "Give another name, or dispose the first." });
    const { seed = 0, trainable = true } = options;
    const withOptions = (config: LoraConfig): LoraConfig => (options.dropout === undefined ? config : { ...config, dropout: options.dropout });
    let state: LoraState;
    let hasEffect = false;
    this.#coming.add(name);
    try {
      if (typeof source === "string") {
        const { config, modules } = await readAdapter(source);
        hasEffect = modules.some(({ b }) => b.values.some((value) => value !== 0));
        state = loadedLora(this.#runtime, this.#weights, name, { config: withOptions(config), modules }, source, trainable);
      } else state = freshLora(this.#runtime, this.#weights, name, withOptions(source), seed, trainable);
    } finally {
      this.#coming.delete(name);
    }
    this.#states.set(name, state);
    this.#active = state;
    return { name, config: state.config, modules: [...state.modules.keys()], hasEffect, dispose: () => { this.#remove(state); } };
  }

  /** Chooses the adapter that calls use by default. */
  setActive(name: string): void {
    this.#active = this.choose(name);
  }

  /** The adapter that a choice means now; undefined for none. */
  choose(choice: AdapterChoice = "active"): LoraState | undefined {
    return choice === "active" ? this.#active : choice === "none" ? undefined : this.#state(choice);
  }

  /** The adapter of a name, by default the active one. */
  named(name?: string): LoraState {
    if (name !== undefined) return this.#state(name);
    return this.#active ?? this.#state("none");
  }

  /** Parameters under an adapter. */
  view(adapter: LoraState | undefined): ParameterView {
    const lora = adapter === this.merged ? undefined : adapter?.modules;
    const originals = adapter === this.merged ? undefined : this.#merged?.originals;
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
  async merge(adapter: LoraState, pace: Pace): Promise<void> {
    if (this.#merged !== undefined) throw new QwenVlError(`the adapter ${JSON.stringify(this.#merged.adapter.name)} is merged already`, { code: "MERGED", hint: "Call unmergeLora() first." });
    const made = new Map<string, TensorLike>();
    try {
      for (const [module, pair] of adapter.modules) {
        made.set(module, foldedWeight(this.#runtime, this.#weights.module(module).weight, pair));
        await pace.breathe();
      }
      const originals = new Map([...made].map(([module, tensor]) => [module, this.#weights.exchange(`${module}.weight`, tensor)]));
      this.#merged = { adapter, originals };
    } catch (error) {
      for (const tensor of made.values()) tensor.dispose();
      throw error;
    }
  }

  /** Puts the original weights back. */
  unmerge(): void {
    for (const [module, original] of this.#merged?.originals ?? []) this.#weights.exchange(`${module}.weight`, original).dispose();
    this.#merged = undefined;
  }

  /** Writes an adapter as a PEFT folder. */
  async save(adapter: LoraState, dir: string, base: string | null): Promise<void> {
    await writeAdapter(dir, await readLora(adapter), base);
  }

  /** Frees all adapters and the kept originals. */
  dispose(): void {
    this.unmerge();
    for (const state of this.#states.values()) disposeLora(state);
    this.#states.clear();
    this.#active = undefined;
  }

  #remove(state: LoraState): void {
    if (this.#states.get(state.name) !== state) return;
    this.#calls.refuse(`the adapter ${JSON.stringify(state.name)} cannot be disposed`, this.merged === state ? "weights" : state);
    if (this.merged === state) this.unmerge();
    if (this.#active === state) this.#active = undefined;
    this.#states.delete(state.name);
    this.#removed(state);
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
