import type { NamedArray } from "@dramascope/qwen-vl";
import type { Random } from "@dramascope/schema";

/** Shape of the tiny model: every part of the architecture, 925,120 weights with a vocabulary of 592. */
const TEXT = { hidden: 128, layers: 4, heads: 4, kvHeads: 2, headDim: 32, intermediate: 256 };
const VISION = { hidden: 64, depth: 2, heads: 4, intermediate: 128, patch: 14, merge: 2, temporal: 2 };

/** The `config.json` of a checkpoint with this vocabulary. */
export function configOf(vocab: number, idOf: (special: string) => number): Record<string, unknown> {
  return {
    architectures: ["Qwen2_5_VLForConditionalGeneration"],
    model_type: "qwen2_5_vl",
    hidden_size: TEXT.hidden,
    intermediate_size: TEXT.intermediate,
    num_hidden_layers: TEXT.layers,
    num_attention_heads: TEXT.heads,
    num_key_value_heads: TEXT.kvHeads,
    vocab_size: vocab,
    rms_norm_eps: 1e-6,
    hidden_act: "silu",
    max_position_embeddings: 1024,
    rope_theta: 1e6,
    rope_scaling: { type: "mrope", mrope_section: [4, 6, 6] },
    tie_word_embeddings: true,
    use_sliding_window: false,
    torch_dtype: "float16",
    vision_config: {
      depth: VISION.depth,
      hidden_size: VISION.hidden,
      intermediate_size: VISION.intermediate,
      num_heads: VISION.heads,
      out_hidden_size: TEXT.hidden,
      patch_size: VISION.patch,
      temporal_patch_size: VISION.temporal,
      spatial_merge_size: VISION.merge,
      window_size: 112,
      fullatt_block_indexes: [1],
      tokens_per_second: 2,
      in_channels: 3,
      hidden_act: "silu",
    },
    bos_token_id: idOf("<|endoftext|>"),
    eos_token_id: idOf("<|im_end|>"),
    pad_token_id: idOf("<|endoftext|>"),
    vision_start_token_id: idOf("<|vision_start|>"),
    vision_end_token_id: idOf("<|vision_end|>"),
    vision_token_id: idOf("<|vision_pad|>"),
    image_token_id: idOf("<|image_pad|>"),
    video_token_id: idOf("<|video_pad|>"),
  };
}

/**
 * Random weights: normal with spread 1/√in, half of it where a projection writes to the residual stream, embeddings 1/√hidden,
 * biases 0, norms 1.
 */
export function freshWeights(vocab: number, random: Random): NamedArray[] {
  const weights: NamedArray[] = [];
  const add = (name: string, shape: number[], draw: () => number): void => {
    const size = shape.reduce((a, b) => a * b, 1);
    weights.push({ name, shape, values: Float32Array.from({ length: size }, draw) });
  };
  const matrix = (name: string, shape: number[], spread: number): void => add(name, shape, () => spread * random.normal());
  const linear = (name: string, out: number, input: number, { bias = false, residual = false } = {}): void => {
    matrix(`${name}.weight`, [out, input], (residual ? 0.5 : 1) / Math.sqrt(input));
    if (bias) add(`${name}.bias`, [out], () => 0);
  };
  const norm = (name: string, size: number): void => add(`${name}.weight`, [size], () => 1);

  const { hidden, layers, heads, kvHeads, headDim, intermediate } = TEXT;
  matrix("model.embed_tokens.weight", [vocab, hidden], 1 / Math.sqrt(hidden));
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    norm(`${layer}.input_layernorm`, hidden);
    linear(`${layer}.self_attn.q_proj`, heads * headDim, hidden, { bias: true });
    linear(`${layer}.self_attn.k_proj`, kvHeads * headDim, hidden, { bias: true });
    linear(`${layer}.self_attn.v_proj`, kvHeads * headDim, hidden, { bias: true });
    linear(`${layer}.self_attn.o_proj`, hidden, heads * headDim, { residual: true });
    norm(`${layer}.post_attention_layernorm`, hidden);
    linear(`${layer}.mlp.gate_proj`, intermediate, hidden);
    linear(`${layer}.mlp.up_proj`, intermediate, hidden);
    linear(`${layer}.mlp.down_proj`, hidden, intermediate, { residual: true });
  }
  norm("model.norm", hidden);

  const { patch, merge, temporal, depth } = VISION;
  const columns = 3 * temporal * patch * patch;
  const unit = VISION.hidden * merge * merge;
  matrix("visual.patch_embed.proj.weight", [VISION.hidden, 3, temporal, patch, patch], 1 / Math.sqrt(columns));
  for (let i = 0; i < depth; i++) {
    const block = `visual.blocks.${i}`;
    norm(`${block}.norm1`, VISION.hidden);
    linear(`${block}.attn.qkv`, 3 * VISION.hidden, VISION.hidden, { bias: true });
    linear(`${block}.attn.proj`, VISION.hidden, VISION.hidden, { bias: true, residual: true });
    norm(`${block}.norm2`, VISION.hidden);
    linear(`${block}.mlp.gate_proj`, VISION.intermediate, VISION.hidden, { bias: true });
    linear(`${block}.mlp.up_proj`, VISION.intermediate, VISION.hidden, { bias: true });
    linear(`${block}.mlp.down_proj`, VISION.hidden, VISION.intermediate, { bias: true, residual: true });
  }
  norm("visual.merger.ln_q", VISION.hidden);
  linear("visual.merger.mlp.0", unit, unit, { bias: true });
  linear("visual.merger.mlp.2", hidden, unit, { bias: true });
  return weights;
}
