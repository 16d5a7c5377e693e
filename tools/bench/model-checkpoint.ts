import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeSafetensors, type NamedArray } from "@dramascope/qwen-vl";
import { createRandom, writeFolderAtomically } from "@dramascope/schema";

const CACHE = fileURLToPath(new URL("../../.cache/bench/", import.meta.url));
/** Ids of every model. */
export const VOCAB = 2048;
const HEAD = 64;

/** Decoders with random weights; a tower of one small block stands beside them, unused. */
export const MODELS = {
  tiny: { hidden: 256, layers: 4, kvHeads: 2, intermediate: 704 },
  medium: { hidden: 512, layers: 8, kvHeads: 2, intermediate: 1408 },
} as const;
/** Name of one of {@link MODELS}. */
export type ModelName = keyof typeof MODELS;

const TOWER = { hidden: 32, intermediate: 64, patch: 14, temporal: 2, merge: 2 };

function configOf(name: ModelName): Record<string, unknown> {
  const { hidden, layers, kvHeads, intermediate } = MODELS[name];
  return {
    architectures: ["Qwen2_5_VLForConditionalGeneration"], model_type: "qwen2_5_vl", torch_dtype: "float32", hidden_act: "silu", hidden_size: hidden, num_hidden_layers: layers,
    num_attention_heads: hidden / HEAD, num_key_value_heads: kvHeads, intermediate_size: intermediate, vocab_size: VOCAB, rms_norm_eps: 1e-6, max_position_embeddings: 16_384,
    rope_theta: 1e6, rope_scaling: { type: "mrope", mrope_section: [8, 12, 12] }, tie_word_embeddings: false, use_sliding_window: false,
    vision_config: {
      depth: 1, hidden_size: TOWER.hidden, num_heads: 2, intermediate_size: TOWER.intermediate, out_hidden_size: hidden, patch_size: TOWER.patch, spatial_merge_size: TOWER.merge,
      temporal_patch_size: TOWER.temporal, window_size: 112, fullatt_block_indexes: [0], tokens_per_second: 2, in_channels: 3, hidden_act: "silu",
    },
    pad_token_id: 0, bos_token_id: 1, eos_token_id: 2, vision_start_token_id: 3, vision_end_token_id: 4, vision_token_id: 5, image_token_id: 6, video_token_id: 7,
  };
}

/** The seven linears of every layer of the decoder under their new-style module names. */
export function decoderLinears(name: ModelName): { module: string; out: number; input: number }[] {
  const { hidden, layers, kvHeads, intermediate } = MODELS[name];
  const kv = kvHeads * HEAD;
  const sizes: readonly [string, number, number][] = [
    ["self_attn.q_proj", hidden, hidden], ["self_attn.k_proj", kv, hidden], ["self_attn.v_proj", kv, hidden], ["self_attn.o_proj", hidden, hidden],
    ["mlp.gate_proj", intermediate, hidden], ["mlp.up_proj", intermediate, hidden], ["mlp.down_proj", hidden, intermediate],
  ];
  return Array.from({ length: layers }, (_, i) => sizes.map(([part, out, input]) => ({ module: `model.language_model.layers.${i}.${part}`, out, input }))).flat();
}

function linear(name: string, out: number, input: number, bias: boolean): [string, number[]][] {
  return [[`${name}.weight`, [out, input]], ...(bias ? [[`${name}.bias`, [out]] satisfies [string, number[]]] : [])];
}

/** Names and shapes of all tensors. */
function shapesOf(name: ModelName): [string, number[]][] {
  const { hidden, layers, kvHeads, intermediate } = MODELS[name];
  const shapes: [string, number[]][] = [["model.embed_tokens.weight", [VOCAB, hidden]], ["model.norm.weight", [hidden]], ["lm_head.weight", [VOCAB, hidden]]];
  for (let i = 0; i < layers; i++) {
    const at = (part: string): string => `model.layers.${i}.${part}`;
    shapes.push(
      [at("input_layernorm.weight"), [hidden]], [at("post_attention_layernorm.weight"), [hidden]],
      ...linear(at("self_attn.q_proj"), hidden, hidden, true), ...linear(at("self_attn.k_proj"), kvHeads * HEAD, hidden, true), ...linear(at("self_attn.v_proj"), kvHeads * HEAD, hidden, true),
      ...linear(at("self_attn.o_proj"), hidden, hidden, false), ...linear(at("mlp.gate_proj"), intermediate, hidden, false), ...linear(at("mlp.up_proj"), intermediate, hidden, false),
      ...linear(at("mlp.down_proj"), hidden, intermediate, false),
    );
  }
  const width = TOWER.hidden;
  const unit = width * TOWER.merge ** 2;
  const block = (part: string): string => `visual.blocks.0.${part}`;
  shapes.push(
    ["visual.patch_embed.proj.weight", [width, 3, TOWER.temporal, TOWER.patch, TOWER.patch]], [block("norm1.weight"), [width]], [block("norm2.weight"), [width]], ["visual.merger.ln_q.weight", [width]],
    ...linear(block("attn.qkv"), 3 * width, width, true), ...linear(block("attn.proj"), width, width, true), ...linear(block("mlp.gate_proj"), TOWER.intermediate, width, true),
    ...linear(block("mlp.up_proj"), TOWER.intermediate, width, true), ...linear(block("mlp.down_proj"), width, TOWER.intermediate, true),
    ...linear("visual.merger.mlp.0", unit, unit, true), ...linear("visual.merger.mlp.2", hidden, unit, true),
  );
  return shapes;
}

/** Makes, or finds, the checkpoint folder of a model: matrices normal with spread 1/√in, norms about 1, biases about 0. */
export async function checkpointOf(name: ModelName, say: (text: string) => void): Promise<string> {
  const folder = join(CACHE, `model-${name}`);
  if (existsSync(folder)) return folder;
  say(`writing the checkpoint ${name}`);
  await mkdir(CACHE, { recursive: true });
  const random = createRandom(20);
  const tensors = shapesOf(name).map(([tensor, shape]): NamedArray => {
    const size = shape.reduce((a, b) => a * b, 1);
    const [centre, spread] = shape.length === 1 ? [tensor.endsWith(".weight") ? 1 : 0, 0.1] : [0, Math.sqrt(shape[0]! / size)];
    return { name: tensor, shape, values: Float32Array.from({ length: size }, () => centre + spread * random.normal()) };
  });
  await writeFolderAtomically(folder, async (temporary) => {
    await writeSafetensors(join(temporary, "model.safetensors"), tensors);
    await writeFile(join(temporary, "config.json"), `${JSON.stringify(configOf(name), null, 1)}\n`);
  });
  return folder;
}
