import { join } from "node:path";
import { bfloat16Support } from "@dramascope/tensorflow";
import { openCheckpoint } from "./checkpoint.ts";
import { parseConfig } from "./config.ts";
import type { Core } from "./core.ts";
import { QwenVlError } from "./errors.ts";
import { normalisationTable } from "./image/normalise.ts";
import { loadWeights } from "./load-weights.ts";
import { LoadedModel } from "./loaded-model.ts";
import { checkMemory } from "./memory-plan.ts";
import { readJson, readJsonIfThere } from "./optional-files.ts";
import { Runtime } from "./runtime.ts";
import { readChatTemplate } from "./template.ts";
import { readTokenizer } from "./tokenizer.ts";
import type { LoadOptions, QwenTokenizer, QwenVl, QwenVlConfig, Tf } from "./types.ts";
import { loadCachedWeights } from "./weight-cache.ts";
import type { Weights } from "./weights.ts";

function parseGenerationConfig(json: unknown, config: QwenVlConfig): QwenVl["generationConfig"] {
  const fields = (typeof json === "object" && json !== null ? json : {}) as Record<string, unknown>;
  const optional = (to: string, from: string): Record<string, number> => (typeof fields[from] === "number" ? { [to]: fields[from] } : {});
  const eos = fields["eos_token_id"] ?? config.eosTokenId;
  const eosTokenIds = (Array.isArray(eos) ? (eos as unknown[]) : [eos]).filter((id): id is number => typeof id === "number");
  return { ...optional("temperature", "temperature"), ...optional("topP", "top_p"), ...optional("topK", "top_k"), ...optional("repetitionPenalty", "repetition_penalty"), eosTokenIds };
}

function pixelTable(json: unknown): Float32Array {
  const fields = (typeof json === "object" && json !== null ? json : {}) as Record<string, unknown>;
  const list = (value: unknown): number[] | undefined => (Array.isArray(value) && value.every((n) => typeof n === "number") ? value : undefined);
  return normalisationTable(list(fields["image_mean"]), list(fields["image_std"]));
}

/** Stands in where a checkpoint folder has no tokenizer.json. */
function missingTokenizer(dir: string): QwenTokenizer {
  const refuse = (): never => {
    throw new QwenVlError(`${dir} has no tokenizer.json`, { code: "NO_TOKENIZER", hint: "Add the checkpoint's tokenizer.json, or work with token ids." });
  };
  return { encode: refuse, decode: () => "", idOf: () => undefined, size: Number.POSITIVE_INFINITY, specialIds: new Set() };
}

async function requireBfloat16(tf: Tf): Promise<void> {
  const { usable } = await bfloat16Support(tf);
  if (usable) return;
  throw new QwenVlError(`the back end ${tf.getBackend()} has no bfloat16 products`, {
    code: "BFLOAT16_UNAVAILABLE", hint: "Load with dtype float32, or on a native TensorFlow through koffi; `dramascope doctor` says what is here.",
  });
}

/**
 * Reads a Qwen2.5-VL checkpoint folder.
 *
 * @param dir Folder with config.json and safetensors files; tokenizer.json and a chat template for text.
 * @throws QwenVlError naming the file, tensor or field that does not fit; `MEMORY_PLAN` with the plan when weights and work need more
 *   memory than there is; `BFLOAT16_UNAVAILABLE` when the back end cannot keep bfloat16.
 */
export async function loadQwenVl(dir: string, options: LoadOptions): Promise<QwenVl> {
  const config = parseConfig(await readJson(join(dir, "config.json")));
  const tokenizer = (await readTokenizer(dir)) ?? missingTokenizer(dir);
  const template = await readChatTemplate(dir);
  const generation = parseGenerationConfig(await readJsonIfThere(join(dir, "generation_config.json")), config);
  const pixels = pixelTable(await readJsonIfThere(join(dir, "preprocessor_config.json")));
  const { dtype = "float32", products = "bfloat16", queryChunk = 512, logitsChunk = 256, keepBytes = 2 ** 28 } = options;
  if (dtype === "bfloat16") await requireBfloat16(options.tf);
  const runtime = new Runtime(options.tf, products);
  const core: Core = { config, runtime, queryChunk, logitsChunk, keepBytes, dtype, pixelTable: pixels };
  const checkpoint = await openCheckpoint(dir, config, { strict: options.strict ?? true });
  let weights: Weights;
  try {
    await checkMemory(dir, config, checkpoint, options);
    weights = await (options.weightCache === undefined ? loadWeights(checkpoint, runtime, options) : loadCachedWeights(checkpoint, runtime, options, options.weightCache));
  } finally {
    await checkpoint.close();
  }
  return new LoadedModel(dir, core, weights, { config, tokenizer, template, mrope: options.mrope ?? "qwen" }, generation);
}
