import { createRandom, sha256 } from "@dramascope/schema";
import { QwenVlError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import type { LoraConfig, Tensor } from "../types.ts";
import type { Weights } from "../weights.ts";
import { DEFAULT_TARGETS } from "./adapter-files.ts";
import type { AdapterFiles, AdapterModule } from "./adapter-files.ts";
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

/** Modules that can carry an adapter: the linears of layers, blocks and merger. */
function injectableModules(weights: Weights): string[] {
  return weights.names.flatMap((name) => {
    const match = /^(model\.(?:language_model\.layers|visual\.(?:blocks|merger))\..*)\.weight$/u.exec(name);
    return match !== null && weights.shape(name).length === 2 ? [match[1]!] : [];
  });
}

function expression(source: string, field: string): RegExp {
  try {
    return new RegExp(`^(?:${source})$`, "u");
  } catch (error) {
    throw new QwenVlError(`${field} ${JSON.stringify(source)} is not a regular expression: ${(error as Error).message}`, { code: "BAD_OPTION", cause: error });
  }
}

function selects(select: string | readonly string[], field: string): (module: string) => boolean {
  if (typeof select === "string") {
    const whole = expression(select, field);
    return (module) => whole.test(module);
  }
  return (module) => select.some((suffix) => module === suffix || module.endsWith(`.${suffix}`));
}

function patterned(pattern: Readonly<Record<string, number>> | undefined, module: string, fallback: number): number {
  for (const [key, value] of Object.entries(pattern ?? {})) if (expression(`(?:.*\\.)?(?:${key})`, "pattern").test(module)) return value;
  return fallback;
}

/** Rank of a module's pair. */
function rankOf(config: LoraConfig, module: string): number {
  return patterned(config.rankPattern, module, config.r);
}

/** Factor of a module's product: alpha / r, or alpha / √r. */
function scaleOf(config: LoraConfig, module: string): number {
  const r = rankOf(config, module);
  return patterned(config.alphaPattern, module, config.alpha) / (config.rslora === true ? Math.sqrt(r) : r);
}

function targetModules(config: LoraConfig, weights: Weights): string[] {
  const wanted = selects(config.targetModules ?? DEFAULT_TARGETS, "targetModules");
  const left = config.excludeModules === undefined ? () => false : selects(config.excludeModules, "excludeModules");
  const modules = injectableModules(weights).filter((module) => wanted(module) && !left(module));
  if (modules.length === 0) {
    throw new QwenVlError(`targetModules ${JSON.stringify(config.targetModules)} match no linear of the model`, { code: "ADAPTER_TARGETS", hint: "Give suffixes such as q_proj, or a regular expression for whole module names." });
  }
  return modules;
}

function checkConfig(config: LoraConfig): void {
  const { r, alpha, dropout = 0 } = config;
  if (!Number.isInteger(r) || r < 1) throw new QwenVlError(`LoRA rank r must be a positive integer, got ${r}`, { code: "BAD_OPTION" });
  if (!(alpha > 0)) throw new QwenVlError(`LoRA alpha must be above 0, got ${alpha}`, { code: "BAD_OPTION" });
  if (!(dropout >= 0 && dropout < 1)) throw new QwenVlError(`LoRA dropout must be at least 0 and below 1, got ${dropout}`, { code: "BAD_OPTION", hint: "It is the share of inputs that training drops, such as 0.05." });
}

/**
 * A new adapter: A uniform in ±1/√in, B zero. Each module draws from a stream of its own name, so that the values do not depend
 * on which other modules carry an adapter.
 */
export function freshLora(runtime: Runtime, weights: Weights, name: string, config: LoraConfig, seed: number, trainable: boolean): LoraState {
  checkConfig(config);
  const modules = new Map<string, LoraPair>();
  for (const module of targetModules(config, weights)) {
    const [out, input] = weights.shape(`${module}.weight`) as [number, number];
    const r = rankOf(config, module);
    const random = createRandom(seed, { stream: Number.parseInt(sha256(module).slice(0, 8), 16) });
    const bound = 1 / Math.sqrt(input);
    const a = Float32Array.from({ length: r * input }, () => (2 * random.uniform() - 1) * bound);
    modules.set(module, { a: runtime.floats(a, [r, input]), b: runtime.floats(new Float32Array(out * r), [out, r]), scale: scaleOf(config, module) });
  }
  return { name, config, trainable, modules };
}

/** An adapter from the contents of its folder. */
export function loadedLora(runtime: Runtime, weights: Weights, name: string, files: AdapterFiles, where: string, trainable: boolean): LoraState {
  checkConfig(files.config);
  const known = new Set(injectableModules(weights));
  const refuse = (what: string): never => {
    throw new QwenVlError(`${where}: ${what}`, { code: "ADAPTER_MISMATCH", hint: "The adapter must have been trained for this model." });
  };
  for (const { module, a, b } of files.modules) {
    if (!known.has(module)) refuse(`the model has no linear ${module}`);
    const [out, input] = weights.shape(`${module}.weight`) as [number, number];
    const r = rankOf(files.config, module);
    if (a.shape[0] !== r || a.shape[1] !== input || b.shape[0] !== out || b.shape[1] !== r) {
      refuse(`${module} has lora_A [${a.shape.join(", ")}] and lora_B [${b.shape.join(", ")}], expected [${r}, ${input}] and [${out}, ${r}]`);
    }
  }
  const modules = new Map<string, LoraPair>();
  for (const { module, a, b } of files.modules) {
    modules.set(module, { a: runtime.floats(a.values, a.shape), b: runtime.floats(b.values, b.shape), scale: scaleOf(files.config, module) });
  }
  return { name, config: files.config, trainable, modules };
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
