import { join, resolve } from "node:path";
import { writeFileAtomically, writeFolderAtomically } from "@dramascope/schema";
import { QwenVlError } from "../errors.ts";
import { readJson } from "../optional-files.ts";
import { refuseOtherFolder } from "../replaceable-folder.ts";
import { openSafetensors, writeSafetensors, type NamedArray } from "../safetensors.ts";
import type { LoraConfig } from "../adapter-types.ts";
import { canonicalName } from "../weight-names.ts";

/** The decoder's seven linears, and not those of the same names in the vision tower. */
export const DEFAULT_TARGETS = String.raw`model\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)`;

/** Low-rank matrices of one module. */
export interface AdapterModule {
  /** New-style module name. */
  module: string;
  /** [r, in]. */
  a: { shape: readonly number[]; values: Float32Array };
  /** [out, r]. */
  b: { shape: readonly number[]; values: Float32Array };
}

/** Contents of a PEFT adapter folder. */
export interface AdapterFiles {
  config: LoraConfig;
  modules: AdapterModule[];
}

type Fields = Record<string, unknown>;

function refuse(folder: string, what: string): never {
  throw new QwenVlError(`${folder}: ${what}`, { code: "ADAPTER_INVALID", hint: "Use a LoRA adapter saved by PEFT for this model, without DoRA, biases or extra modules." });
}

/** Options of PEFT that change the computation and are not served; anything but these values is refused. */
const UNSERVED: Readonly<Record<string, readonly unknown[]>> = {
  use_dora: [false],
  bias: ["none"],
  fan_in_fan_out: [false],
  lora_bias: [false],
  modules_to_save: [null],
  layers_to_transform: [null],
  layer_replication: [null],
  trainable_token_indices: [null],
  target_parameters: [null],
  alora_invocation_tokens: [null],
  use_qalora: [null, false],
  use_bdlora: [null, false],
  kasa_config: [null],
  velora_config: [null],
  // Other ways of starting an adapter change the base weights with it.
  init_lora_weights: [null, true, false, "gaussian"],
};

const CONFIG_FILE = "adapter_config.json";
const TENSOR_FILE = "adapter_model.safetensors";

/**
 * Reads PEFT's adapter_config.json.
 *
 * @param folder Name for error messages.
 * @throws QwenVlError `ADAPTER_INVALID` naming the field that is wrong or asks for what is not served, such as DoRA.
 */
export function parseAdapterConfig(json: unknown, folder = "adapter_config.json"): LoraConfig {
  if (typeof json !== "object" || json === null || Array.isArray(json)) refuse(folder, "adapter_config.json must hold a JSON object");
  const fields = json as Fields;
  if (fields["peft_type"] !== "LORA") refuse(folder, `peft_type is ${JSON.stringify(fields["peft_type"])}, only "LORA" is served`);
  for (const [key, allowed] of Object.entries(UNSERVED)) {
    if (Object.hasOwn(fields, key) && fields[key] !== undefined && !allowed.includes(fields[key])) refuse(folder, `${key} is ${JSON.stringify(fields[key])}, which is not served`);
  }
  const positive = (key: string): number => {
    const value = fields[key];
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0) refuse(folder, `${key} is ${JSON.stringify(value)}, expected a positive number`);
    return value;
  };
  const names = (key: string): string | string[] | undefined => {
    const value = fields[key];
    if (value === null || value === undefined) return undefined;
    if (typeof value === "string") return value;
    if (Array.isArray(value) && value.every((entry) => typeof entry === "string")) return value;
    return refuse(folder, `${key} must be a string or a list of strings`);
  };
  const pattern = (key: string): Record<string, number> | undefined => {
    const value = fields[key] as Fields | null | undefined;
    if (value === null || value === undefined) return undefined;
    if (typeof value !== "object" || Array.isArray(value) || !Object.values(value).every((entry) => typeof entry === "number" && entry > 0 && Number.isFinite(entry))) refuse(folder, `${key} must map names to positive numbers`);
    return value as Record<string, number>;
  };
  const r = positive("r");
  if (!Number.isInteger(r)) refuse(folder, `r is ${r}, expected an integer`);
  const dropout = fields["lora_dropout"] ?? 0;
  if (typeof dropout !== "number" || !(dropout >= 0 && dropout < 1)) refuse(folder, `lora_dropout is ${JSON.stringify(dropout)}, expected a number from 0 to below 1`);
  const optional = { targetModules: names("target_modules"), excludeModules: names("exclude_modules"), rankPattern: pattern("rank_pattern"), alphaPattern: pattern("alpha_pattern") };
  return {
    r,
    alpha: positive("lora_alpha"),
    dropout,
    rslora: fields["use_rslora"] === true,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  };
}

/** PEFT's form of a configuration. */
function adapterConfigJson(config: LoraConfig, base: string | null): Fields {
  return {
    alpha_pattern: config.alphaPattern ?? {},
    base_model_name_or_path: base,
    bias: "none",
    exclude_modules: config.excludeModules ?? null,
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout ?? 0,
    modules_to_save: null,
    peft_type: "LORA",
    peft_version: "0.21.0",
    r: config.r,
    rank_pattern: config.rankPattern ?? {},
    revision: null,
    target_modules: config.targetModules ?? DEFAULT_TARGETS,
    task_type: "CAUSAL_LM",
    use_dora: false,
    use_rslora: config.rslora ?? false,
  };
}

/**
 * Reads a PEFT adapter folder, old or new tensor names, any float type.
 *
 * @throws QwenVlError `ADAPTER_INVALID` naming the field or tensor; whether the modules fit a model shows when it is attached.
 */
export async function readAdapter(folder: string): Promise<AdapterFiles> {
  const json = await readJson(join(folder, CONFIG_FILE)).catch((error: unknown) => {
    throw new QwenVlError(`${folder}: adapter_config.json cannot be read (${(error as Error).message})`, { code: "ADAPTER_INVALID", cause: error, hint: "Give the folder that PEFT or this project wrote." });
  });
  const config = parseAdapterConfig(json, folder);
  const file = await openSafetensors(join(folder, TENSOR_FILE));
  try {
    const parts = new Map<string, Partial<Record<"a" | "b", AdapterModule["a"]>>>();
    for (const name of file.names) {
      const match = /^(.*)\.lora_([AB])(?:\.default)?\.weight$/u.exec(canonicalName(name));
      if (!match) refuse(folder, `the tensor ${JSON.stringify(name)} is not part of a LoRA adapter`);
      const { values, shape } = await file.read(name);
      if (!(values instanceof Float32Array) || shape.length !== 2) refuse(folder, `the tensor ${JSON.stringify(name)} must be a float matrix`);
      const module = match[1]!;
      const pair = parts.get(module) ?? {};
      const side = match[2] === "A" ? "a" : "b";
      if (pair[side]) refuse(folder, `lora_${match[2]!} of ${module} stands in it twice`);
      pair[side] = { shape, values };
      parts.set(module, pair);
    }
    if (parts.size === 0) refuse(folder, "it holds no tensors");
    const modules = [...parts].map(([module, { a, b }]): AdapterModule => {
      if (!a || !b) return refuse(folder, `${module} has lora_${a ? "A" : "B"} only`);
      if (a.shape[0] !== b.shape[1]) refuse(folder, `${module}: lora_A has rank ${a.shape[0]!}, lora_B ${b.shape[1]!}`);
      return { module, a, b };
    });
    return { config, modules };
  } finally {
    await file.close();
  }
}

/** Files that may stand in a folder which is replaced: an adapter's own, and the cards that describe the weights that go. */
const REPLACEABLE: ReadonlySet<string> = new Set([CONFIG_FILE, TENSOR_FILE, "README.md", "dramascope.json"]);

/**
 * Writes a PEFT adapter folder, whole or absent. An adapter that stands there is replaced.
 *
 * @param base Name of the base model, for PEFT's configuration. Default none.
 * @throws QwenVlError `ADAPTER_FOLDER` when the folder holds anything but an adapter.
 */
export async function writeAdapter(folder: string, { config, modules }: AdapterFiles, base: string | null = null): Promise<void> {
  const target = resolve(folder);
  await refuseOtherFolder(target, { what: "an adapter", code: "ADAPTER_FOLDER", isOwn: (name) => REPLACEABLE.has(name) });
  await writeFolderAtomically(target, async (temporary) => {
    const tensors = modules.flatMap(({ module, a, b }): NamedArray[] => [
      { name: `base_model.model.${module}.lora_A.weight`, ...a },
      { name: `base_model.model.${module}.lora_B.weight`, ...b },
    ]);
    await writeSafetensors(join(temporary, TENSOR_FILE), tensors);
    await writeFileAtomically(join(temporary, CONFIG_FILE), `${JSON.stringify(adapterConfigJson(config, base), null, 2)}\n`);
  });
}
