import type { QwenVlConfig } from "./config-types.ts";

/** Shape of every tensor that a checkpoint of this configuration holds, by new-style name; linears as PyTorch keeps them, [out, in]. */
export function weightShapes(config: QwenVlConfig): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const linear = (name: string, out: number, input: number, bias: boolean): void => {
    shapes.set(`${name}.weight`, [out, input]);
    if (bias) shapes.set(`${name}.bias`, [out]);
  };
  const { text, vision } = config;
  const { hiddenSize: h, headDim } = text;
  shapes.set("model.language_model.embed_tokens.weight", [text.vocabSize, h]);
  for (let i = 0; i < text.layers; i++) {
    const layer = `model.language_model.layers.${i}`;
    linear(`${layer}.self_attn.q_proj`, text.heads * headDim, h, true);
    linear(`${layer}.self_attn.k_proj`, text.kvHeads * headDim, h, true);
    linear(`${layer}.self_attn.v_proj`, text.kvHeads * headDim, h, true);
    linear(`${layer}.self_attn.o_proj`, h, text.heads * headDim, false);
    linear(`${layer}.mlp.gate_proj`, text.intermediateSize, h, false);
    linear(`${layer}.mlp.up_proj`, text.intermediateSize, h, false);
    linear(`${layer}.mlp.down_proj`, h, text.intermediateSize, false);
    shapes.set(`${layer}.input_layernorm.weight`, [h]);
    shapes.set(`${layer}.post_attention_layernorm.weight`, [h]);
  }
  shapes.set("model.language_model.norm.weight", [h]);
  if (!config.tieWordEmbeddings) linear("lm_head", text.vocabSize, h, false);

  const v = vision.hiddenSize;
  shapes.set("model.visual.patch_embed.proj.weight", [v, vision.inChannels, vision.temporalPatchSize, vision.patchSize, vision.patchSize]);
  for (let i = 0; i < vision.depth; i++) {
    const block = `model.visual.blocks.${i}`;
    linear(`${block}.attn.qkv`, 3 * v, v, true);
    linear(`${block}.attn.proj`, v, v, true);
    linear(`${block}.mlp.gate_proj`, vision.intermediateSize, v, true);
    linear(`${block}.mlp.up_proj`, vision.intermediateSize, v, true);
    linear(`${block}.mlp.down_proj`, v, vision.intermediateSize, true);
    shapes.set(`${block}.norm1.weight`, [v]);
    shapes.set(`${block}.norm2.weight`, [v]);
  }
  const merged = v * vision.spatialMergeSize ** 2;
  shapes.set("model.visual.merger.ln_q.weight", [v]);
  linear("model.visual.merger.mlp.0", merged, merged, true);
  linear("model.visual.merger.mlp.2", vision.outHiddenSize, merged, true);
  return shapes;
}
