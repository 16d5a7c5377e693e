import { QwenVlError } from "./errors.ts";
import { stopIds } from "./generation-config.ts";
import type { QwenVlConfig } from "./config-types.ts";

type Fields = Record<string, unknown>;

/** Largest size that a field may ask for: above every real model, and small enough that lists of tensors stay small. */
const MOST = 2 ** 24;
const MOST_LAYERS = 1024;

const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value);
const own = (fields: Fields, key: string): unknown => (Object.hasOwn(fields, key) ? fields[key] : undefined);

function fail(message: string, code = "CONFIG_FIELD"): never {
  throw new QwenVlError(`config.json: ${message}`, { code, hint: "Use the config.json that came with the Qwen2.5-VL checkpoint." });
}

/** Reads numbers of one section; a missing field is an error that names it. */
function section(name: string, fields: Fields) {
  const number = (key: string, fallback?: number): number => {
    const value = own(fields, key) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) fail(`${name}${key} ${value === undefined ? "is missing" : `is ${JSON.stringify(value)}, expected a number`}`);
    return value;
  };
  const positive = (key: string, fallback?: number): number => {
    const value = number(key, fallback);
    if (value <= 0) fail(`${name}${key} is ${value}, expected a number above 0`);
    return value;
  };
  const count = (key: string, fallback?: number, most = MOST): number => {
    const value = number(key, fallback);
    if (!Number.isSafeInteger(value) || value < 1 || value > most) fail(`${name}${key} is ${value}, expected an integer from 1 to ${most}`);
    return value;
  };
  const list = (key: string): number[] => {
    const value = own(fields, key);
    if (!Array.isArray(value) || !value.every((entry) => Number.isSafeInteger(entry) && (entry as number) >= 0)) fail(`${name}${key} must be a list of integers`);
    return value as number[];
  };
  const id = (key: string, vocabSize: number): number => {
    const value = number(key);
    if (!Number.isSafeInteger(value) || value < 0 || value >= vocabSize) fail(`${name}${key} is ${value}, expected a token id below the vocab_size ${vocabSize}`);
    return value;
  };
  return { number, positive, count, list, id };
}

/** What the tower and the patch cutter are written for. */
function checkVision(vision: QwenVlConfig["vision"]): void {
  const unsupported = (what: string): never => fail(`vision_config.${what}, which is not served`, "CONFIG_UNSUPPORTED");
  if (vision.temporalPatchSize !== 2) unsupported(`temporal_patch_size is ${vision.temporalPatchSize} instead of 2`);
  if (vision.inChannels !== 3) unsupported(`in_channels is ${vision.inChannels} instead of 3`);
  if (vision.hiddenSize % (4 * vision.heads) !== 0) fail(`vision_config.hidden_size ${vision.hiddenSize} must be a multiple of 4 times num_heads ${vision.heads}`);
  if (vision.windowSize < vision.patchSize * vision.spatialMergeSize) fail(`vision_config.window_size ${vision.windowSize} is less than one merged patch of ${vision.patchSize * vision.spatialMergeSize} pixels`);
  const beyond = vision.fullAttentionBlocks.find((block) => block >= vision.depth);
  if (beyond !== undefined) fail(`vision_config.fullatt_block_indexes names block ${beyond}, the depth is ${vision.depth}`);
}

/**
 * Reads a `config.json`, flat (hub) or nested (`text_config`), old or new rope fields.
 *
 * @throws QwenVlError naming the missing or unusable field; library defaults are never assumed.
 */
export function parseConfig(json: unknown): QwenVlConfig {
  if (!isFields(json)) fail("it must hold a JSON object", "CONFIG_FORM");
  const modelType = own(json, "model_type");
  if (modelType !== "qwen2_5_vl") fail(`model_type is ${JSON.stringify(modelType)}, this package reads "qwen2_5_vl"`, "CONFIG_MODEL_TYPE");
  const nested = own(json, "text_config");
  const textFields = isFields(nested) ? nested : json;
  const visionFields = own(json, "vision_config");
  if (!isFields(visionFields)) fail("vision_config is missing");
  const root = section("", json);
  const text = section(isFields(nested) ? "text_config." : "", textFields);
  const vision = section("vision_config.", visionFields);

  if (own(textFields, "use_sliding_window") === true || own(json, "use_sliding_window") === true) fail("use_sliding_window is true, which is not served", "CONFIG_UNSUPPORTED");
  for (const [name, fields] of [["", textFields], ["vision_config.", visionFields]] as const) {
    const act = own(fields, "hidden_act");
    if (act !== undefined && act !== "silu") fail(`${name}hidden_act is ${JSON.stringify(act)}, only "silu" is served`, "CONFIG_UNSUPPORTED");
  }
  const ropeFields = [own(textFields, "rope_parameters"), own(textFields, "rope_scaling"), own(json, "rope_scaling")].find(isFields);
  if (!ropeFields) fail("rope_scaling or rope_parameters is missing");
  const ropeType = own(ropeFields, "rope_type") ?? own(ropeFields, "type") ?? "default";
  if (ropeType !== "default" && ropeType !== "mrope") fail(`rope type ${JSON.stringify(ropeType)} is not served`, "CONFIG_UNSUPPORTED");
  const mropeSection = section("rope ", ropeFields).list("mrope_section");

  const hiddenSize = text.count("hidden_size");
  const heads = text.count("num_attention_heads");
  const headDim = text.count("head_dim", hiddenSize / heads);
  const kvHeads = text.count("num_key_value_heads");
  if (heads % kvHeads !== 0) fail(`num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}`);
  const sum = mropeSection.reduce((a, b) => a + b, 0);
  if (mropeSection.length !== 3 || sum !== headDim / 2) fail(`mrope_section [${mropeSection.join(", ")}] must be three numbers that add up to half of head_dim ${headDim}`);
  const tie = own(json, "tie_word_embeddings") ?? own(textFields, "tie_word_embeddings") ?? false;
  const dtype = own(json, "torch_dtype") ?? own(json, "dtype") ?? own(textFields, "dtype");

  const vocabSize = text.count("vocab_size");
  const config: QwenVlConfig = {
    text: {
      hiddenSize,
      intermediateSize: text.count("intermediate_size"),
      layers: text.count("num_hidden_layers", undefined, MOST_LAYERS),
      heads,
      kvHeads,
      headDim,
      vocabSize,
      maxPositionEmbeddings: text.count("max_position_embeddings", undefined, 2 ** 31),
      rmsNormEps: text.positive("rms_norm_eps"),
      ropeTheta: section("", { rope_theta: own(ropeFields, "rope_theta") ?? own(textFields, "rope_theta") ?? own(json, "rope_theta") }).positive("rope_theta", 1e6),
      mropeSection,
    },
    vision: {
      depth: vision.count("depth", undefined, MOST_LAYERS),
      hiddenSize: vision.count("hidden_size"),
      heads: vision.count("num_heads"),
      intermediateSize: vision.count("intermediate_size"),
      outHiddenSize: vision.count("out_hidden_size"),
      patchSize: vision.count("patch_size"),
      temporalPatchSize: vision.count("temporal_patch_size"),
      spatialMergeSize: vision.count("spatial_merge_size"),
      windowSize: vision.count("window_size"),
      fullAttentionBlocks: vision.list("fullatt_block_indexes"),
      tokensPerSecond: vision.positive("tokens_per_second"),
      inChannels: section("vision_config.", { in_channels: own(visionFields, "in_channels") ?? own(visionFields, "in_chans") }).count("in_channels"),
      ropeTheta: 10000,
    },
    tieWordEmbeddings: tie === true,
    imageTokenId: root.id("image_token_id", vocabSize),
    videoTokenId: root.id("video_token_id", vocabSize),
    visionStartTokenId: root.id("vision_start_token_id", vocabSize),
    visionEndTokenId: root.id("vision_end_token_id", vocabSize),
    eosTokenIds: stopIds(own(json, "eos_token_id") ?? own(textFields, "eos_token_id"), vocabSize, fail) ?? [],
    dtype: typeof dtype === "string" ? dtype : "float32",
  };
  checkVision(config.vision);
  return config;
}
