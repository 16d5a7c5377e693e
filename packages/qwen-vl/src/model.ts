import { join } from "node:path";
import { bfloat16Support } from "@dramascope/tensorflow";
import { openCheckpoint } from "./checkpoint.ts";
import { parseConfig } from "./config.ts";
import type { Core } from "./core.ts";
import { QwenVlError } from "./errors.ts";
import { parseGenerationConfig } from "./generation-config.ts";
import { loadWeights } from "./load-weights.ts";
import { LoadedModel } from "./loaded-model.ts";
import { checkMemory } from "./memory-plan.ts";
import { readJson, readJsonIfThere } from "./optional-files.ts";
import { checkLoadOptions } from "./options.ts";
import { parsePreprocessor } from "./preprocessor.ts";
import { Runtime } from "./runtime.ts";
import { readChatTemplate } from "./template.ts";
import { readTokenizer } from "./tokenizer.ts";
import type { LoadOptions, QwenTokenizer, QwenVl } from "./model-types.ts";
import type { Tf } from "./tensor-types.ts";
import { loadCachedWeights } from "./weight-cache.ts";
import type { Weights } from "./weights.ts";

/** Stands in where a checkpoint folder has no tokenizer.json: it knows no token. */
function missingTokenizer(dir: string): QwenTokenizer {
  const refuse = (): never => {
    throw new QwenVlError(`${dir} has no tokenizer.json`, { code: "NO_TOKENIZER", hint: "Add the checkpoint's tokenizer.json, or work with token ids." });
  };
  return { encode: refuse, decode: refuse, idOf: () => undefined, size: 0, specialIds: new Set() };
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
 * @throws QwenVlError naming the file, tensor or field that does not fit; `BAD_OPTION` naming an option that no rule knows; `MEMORY_PLAN` with the plan when weights and work need more
 *   memory than there is; `BFLOAT16_UNAVAILABLE` when the back end cannot keep bfloat16.
 */
export async function loadQwenVl(dir: string, options: LoadOptions): Promise<QwenVl> {
  checkLoadOptions(options);
  const config = parseConfig(await readJson(join(dir, "config.json")));
  const tokenizer = (await readTokenizer(dir)) ?? missingTokenizer(dir);
  const template = await readChatTemplate(dir);
  const generation = parseGenerationConfig(await readJsonIfThere(join(dir, "generation_config.json")), config);
  const pixels = parsePreprocessor(await readJsonIfThere(join(dir, "preprocessor_config.json")), config.vision);
  const { dtype = "float32", products = "bfloat16", queryChunk = 512, logitsChunk = 256, vocabChunk = 8192, keepBytes = 2 ** 30 } = options;
  if (dtype === "bfloat16") await requireBfloat16(options.tf);
  const runtime = new Runtime(options.tf, products);
  const core: Core = { config, runtime, queryChunk, logitsChunk, vocabChunk, keepBytes, dtype, pixelTable: pixels };
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
