import { createRandom, sha256 } from "@dramascope/schema";
import { Arena } from "../arena.ts";
import { QwenVlError } from "../errors.ts";
import { checkInteger } from "../options.ts";
import type { Runtime } from "../runtime.ts";
import type { LoraConfig } from "../adapter-types.ts";
import type { Tensor } from "../tensor-types.ts";
import type { Weights } from "../weights.ts";
import type { AdapterFiles, AdapterModule } from "./adapter-files.ts";
import { injectableModules, sizesOf, targetModules } from "./lora-config.ts";
import type { TrainableParameter } from "./trainable.ts";

/** Low-rank pair of one module on the back end. */
interface LoraPair {
  /** [r, in]. */
  a: Tensor;
  /** [out, r]. */
  b: Tensor;
  scale: number;
}

/** An adapter on the back end. */
export interface LoraState {
  name: string;
  config: LoraConfig;
  trainable: boolean;
  /** By new-style module name. */
  modules: Map<string, LoraPair>;
}

/** Uploads the pairs of an adapter, all or none. */
function uploadPairs(runtime: Runtime, modules: Iterable<AdapterModule>, scale: (module: string) => number): LoraState["modules"] {
  const arena = new Arena();
  try {
    const pairs: LoraState["modules"] = new Map();
    for (const { module, a, b } of modules) pairs.set(module, { a: arena.add(runtime.floats(a.values, a.shape)), b: arena.add(runtime.floats(b.values, b.shape)), scale: scale(module) });
    for (const { a, b } of pairs.values()) {
      arena.release(a);
      arena.release(b);
    }
    return pairs;
  } finally {
    arena.dispose();
  }
}

/** A fresh A [r, input] of a module: uniform in ±1/√input, from a stream of the module's own name. */
export function startValues(module: string, r: number, input: number, seed: number): Float32Array {
  const random = createRandom(seed, { stream: Number.parseInt(sha256(module).slice(0, 8), 16) });
  const bound = 1 / Math.sqrt(input);
  return Float32Array.from({ length: r * input }, () => (2 * random.uniform() - 1) * bound);
}

/**
 * A new adapter: A uniform in ±1/√in, B zero. Each module draws from a stream of its own name, so that the values do not depend
 * on which other modules carry an adapter.
 *
 * @throws QwenVlError `BAD_OPTION` for sizes out of range, `ADAPTER_TARGETS` for names that no linear of the model has, `ADAPTER_PATTERN` for expressions that are not served.
 */
export function freshLora(runtime: Runtime, weights: Weights, name: string, config: LoraConfig, seed: number, trainable: boolean): LoraState {
  checkInteger("seed", seed, 0);
  const targets = targetModules(config, weights);
  const { rank, scale } = sizesOf(config, targets);
  const drawn = function* (): Generator<AdapterModule> {
    for (const module of targets) {
      const [out, input] = weights.shape(`${module}.weight`) as [number, number];
      const r = rank(module);
      yield { module, a: { shape: [r, input], values: startValues(module, r, input, seed) }, b: { shape: [out, r], values: new Float32Array(out * r) } };
    }
  };
  return { name, config, trainable, modules: uploadPairs(runtime, drawn(), scale) };
}

/** An adapter from the contents of its folder. */
export function loadedLora(runtime: Runtime, weights: Weights, name: string, files: AdapterFiles, where: string, trainable: boolean): LoraState {
  const { rank, scale } = sizesOf(files.config);
  const known = new Set(injectableModules(weights));
  const refuse = (what: string): never => {
    throw new QwenVlError(`${where}: ${what}`, { code: "ADAPTER_MISMATCH", hint: "The adapter must have been trained for this model." });
  };
  for (const { module, a, b } of files.modules) {
    if (!known.has(module)) refuse(`the model has no linear ${module}`);
    const [out, input] = weights.shape(`${module}.weight`) as [number, number];
    const r = rank(module);
    if (a.shape[0] !== r || a.shape[1] !== input || b.shape[0] !== out || b.shape[1] !== r) {
      refuse(`${module} has lora_A [${a.shape.join(", ")}] and lora_B [${b.shape.join(", ")}], expected [${r}, ${input}] and [${out}, ${r}]`);
    }
  }
  return { name, config: files.config, trainable, modules: uploadPairs(runtime, files.modules, scale) };
}

/** An adapter's matrices on the host. */
export async function readLora(state: LoraState): Promise<AdapterFiles> {
  const modules: AdapterModule[] = [];
  for (const [module, { a, b }] of state.modules) {
    modules.push({
      module,
      a: { shape: a.shape, values: (await a.data()) as Float32Array },
      b: { shape: b.shape, values: (await b.data()) as Float32Array },
    });
  }
  return { config: state.config, modules };
}

/** The adapter's matrices as parameters. */
export function loraParameters(state: LoraState): TrainableParameter[] {
  return [...state.modules].flatMap(([module, pair]) =>
    (["a", "b"] as const).map((side): TrainableParameter => ({
      name: `${module}.lora_${side.toUpperCase()}.weight`,
      shape: pair[side].shape,
      read: () => pair[side].clone(),
      write: (value) => {
        pair[side].dispose();
        pair[side] = value;
      },
    })),
  );
}

/** Frees an adapter. */
export function disposeLora(state: LoraState): void {
  for (const { a, b } of state.modules.values()) {
    a.dispose();
    b.dispose();
  }
  state.modules.clear();
}
