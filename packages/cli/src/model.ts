import { readFile, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { readProfile, type Profile } from "@dramascope/assessor";
import type { Template } from "@dramascope/prompts";
import { loadQwenVl, type QwenVl } from "@dramascope/qwen-vl";
import { hashJson, sha256File } from "@dramascope/schema";
import { loadTensorFlow, type LoadedTensorFlow } from "@dramascope/tensorflow";
import type { CommandContext } from "./context.ts";
import { CliError } from "./errors.ts";

/** A loaded model with its identity. */
export interface LoadedModel {
  model: QwenVl;
  tensorflow: LoadedTensorFlow;
  /** SHA-256 over its weight files. */
  sha256: string;
}

/** Models below this many weights are computed on one thread: threads cost them more than they bring. */
const SMALL_MODEL_BYTES = 50e6;

/** SHA-256 over all weight files of a folder. */
export async function hashWeights(folder: string): Promise<string> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".safetensors")).sort();
  if (names.length === 0) throw new CliError(`${folder} holds no .safetensors file`, { code: "MODEL_NOT_FOUND", hint: "Give the folder of a Qwen2.5-VL checkpoint or adapter." });
  return hashJson(await Promise.all(names.map(async (name) => [name, await sha256File(join(folder, name))])));
}

/** Loads TensorFlow and a checkpoint, with progress. */
export async function loadModel(folder: string, { say, progress, signal }: Pick<CommandContext, "say" | "progress" | "signal">): Promise<LoadedModel> {
  const sha256 = await hashWeights(folder);
  const sizes = await Promise.all((await readdir(folder)).filter((name) => name.endsWith(".safetensors")).map(async (name) => (await import("node:fs/promises")).stat(join(folder, name))));
  const bytes = sizes.reduce((sum, { size }) => sum + size, 0);
  const tensorflow = await loadTensorFlow(bytes < SMALL_MODEL_BYTES ? { threads: 1 } : {});
  say(`TensorFlow ${tensorflow.version} (${tensorflow.binding ?? "wasm"}, ${tensorflow.device}), model ${basename(folder)}`);
  const model = await loadQwenVl(folder, { tf: tensorflow.tf, signal, onProgress: ({ loadedBytes, totalBytes }) => progress({ phase: "load the model", done: loadedBytes, total: totalBytes }) });
  return { model, tensorflow, sha256 };
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
