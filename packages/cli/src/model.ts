import { readFile, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { readProfile, type Profile } from "@dramascope/assessor";
import type { Template } from "@dramascope/prompts";
import { loadQwenVl, type LoadOptions, type QwenVl } from "@dramascope/qwen-vl";
import { loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";
import type { CommandContext } from "./context.ts";
import { CliError } from "./errors.ts";
import { hashWeights, weightFiles } from "./weight-hashes.ts";

/** A loaded model with its identity. */
export interface LoadedModel {
  model: QwenVl;
  tensorflow: LoadedTensorFlow;
  /** SHA-256 over its weight files. */
  sha256: string;
}

/** Models below this many weights are computed on one thread: threads cost them more than they bring. */
const SMALL_MODEL_BYTES = 50e6;

/** How the weights of a model are kept; settings that stand where the model is named. */
export type WeightSettings = Pick<LoadOptions, "dtype" | "products" | "weightCache">;

const choices = { dtype: ["float32", "bfloat16"], products: ["bfloat16", "float32"] } as const;

/** Takes the settings of the weights out of a configuration; the path of `weightCache` is relative to `here`. */
export function weightSettings(config: Record<string, unknown>, path: string, here: string): { weights: WeightSettings; rest: Record<string, unknown> } {
  const { dtype, products, weightCache, ...rest } = config;
  const weights: WeightSettings = {};
  for (const [name, value] of Object.entries({ dtype, products })) {
    const allowed: readonly unknown[] = choices[name as keyof typeof choices];
    if (value === undefined) continue;
    if (!allowed.includes(value)) throw new CliError(`${path}: ${name} is ${JSON.stringify(value)}`, { code: "CONFIG_INVALID", hint: `Use ${allowed.join(" or ")}.` });
    Object.assign(weights, { [name]: value });
  }
  if (weightCache !== undefined) weights.weightCache = resolve(here, textSetting({ weightCache }, "weightCache", path));
  return { weights, rest };
}

/** What tells results of one loading from another: the weights' hash, and how they are kept unless that is float32. */
export function weightIdentity(sha256: string, { dtype = "float32", products = "bfloat16" }: WeightSettings): string {
  return dtype === "float32" ? sha256 : `${sha256} in bfloat16, products in ${products}`;
}

/** Loads TensorFlow with the threads that a checkpoint of this size wants. */
export async function loadTensorFlowFor(folder: string): Promise<LoadedTensorFlow> {
  const sizes = await Promise.all((await weightFiles(folder)).map((path) => stat(path)));
  return loadTensorFlow(sizes.reduce((sum, { size }) => sum + size, 0) < SMALL_MODEL_BYTES ? { threads: 1 } : {});
}

/** Loads TensorFlow and a checkpoint, with progress. The hashes of its files are kept in the weight cache, whose folder loading has checked. */
export async function loadModel(folder: string, { say, progress, signal }: Pick<CommandContext, "say" | "progress" | "signal">, weights: WeightSettings = {}): Promise<LoadedModel> {
  const tensorflow = await loadTensorFlowFor(folder);
  say(`TensorFlow ${tensorflow.version} (${tensorflow.binding ?? "wasm"}, ${tensorflow.device}), model ${basename(folder)}`);
  const model = await loadQwenVl(folder, { tf: tensorflow.tf, ...weights, signal, onProgress: ({ loadedBytes, totalBytes }) => progress({ phase: "load the model", done: loadedBytes, total: totalBytes }) });
  try {
    return { model, tensorflow, sha256: await hashWeights(folder, weights.weightCache) };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** How a model or its adapter wants to be used: the adapter's word counts. */
export async function profileOf(model: string, adapter: string | undefined): Promise<(Profile & { template: Template }) | undefined> {
  return (adapter === undefined ? undefined : await readProfile(adapter)) ?? (await readProfile(model));
}

/** A YAML or JSON file as a value. */
export async function readConfig(path: string): Promise<Record<string, unknown>> {
  const { parse } = await import("yaml");
  let value: unknown;
  try {
    value = parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new CliError(`${path} cannot be read: ${(error as Error).message}`, { code: "CONFIG_INVALID", cause: error, hint: "Give a YAML file." });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new CliError(`${path} must hold settings by name`, { code: "CONFIG_INVALID", hint: "See the README of the package for an example." });
  return value as Record<string, unknown>;
}

/** A text setting that must be there. */
export function textSetting(config: Record<string, unknown>, name: string, path: string): string {
  const value = config[name];
  if (typeof value !== "string" || value === "") throw new CliError(`${path}: ${name} is ${JSON.stringify(value)}`, { code: "CONFIG_INVALID", hint: `Give ${name} as a text.` });
  return value;
}
