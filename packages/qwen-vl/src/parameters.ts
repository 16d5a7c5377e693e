import type { TensorLike } from "@dramascope/tensorflow";
import type { Tensor } from "./tensor-types.ts";

/** Tensors of one linear under the chosen adapter. */
export interface ModuleTensors {
  /** [in, out]. */
  weight: TensorLike;
  bias?: TensorLike | undefined;
  /** Low-rank part that is not folded into the weight; `kept`, bool [rows, in], is the mask of a dropout. */
  lora?: { a: Tensor; b: Tensor; scale: number; kept?: Tensor } | undefined;
}

/** The parameters a call works with; names are new-style. */
export interface ParameterView {
  /** Norm weight by full tensor name. */
  tensor(name: string): TensorLike;
  /** Blocks over the vocabulary of the embedding or the output matrix by full tensor name. */
  blocks(name: string): readonly TensorLike[];
  /** A linear by module name. */
  module(name: string): ModuleTensors;
}

/** Where the parameters of a block live: `prefix.suffix` for each local name. */
export interface BlockNames {
  /** Name of the block, such as `model.language_model.layers.3`. */
  prefix: string;
  /** Module suffix by local linear name. */
  linears: Readonly<Record<string, string>>;
  /** Local names of the norms, equal to their suffixes. */
  norms: readonly string[];
}

/** Parameters of one block as inputs of its body. */
export interface BlockInputs {
  tensors: Record<string, TensorLike>;
  /** Scale of the low-rank part by local linear name. */
  loraScales: Record<string, number>;
}

/** Collects the inputs of a block. */
export function blockInputs(view: ParameterView, names: BlockNames): BlockInputs {
  const tensors: Record<string, TensorLike> = {};
  const loraScales: Record<string, number> = {};
  for (const norm of names.norms) tensors[`${norm}.weight`] = view.tensor(`${names.prefix}.${norm}.weight`);
  for (const [local, suffix] of Object.entries(names.linears)) {
    const module = view.module(`${names.prefix}.${suffix}`);
    tensors[`${local}.weight`] = module.weight;
    if (module.bias !== undefined) tensors[`${local}.bias`] = module.bias;
    if (module.lora === undefined) continue;
    tensors[`${local}.lora_A`] = module.lora.a;
    tensors[`${local}.lora_B`] = module.lora.b;
    if (module.lora.kept !== undefined) tensors[`${local}.lora_kept`] = module.lora.kept;
    loraScales[local] = module.lora.scale;
  }
  return { tensors, loraScales };
}

/** Full parameter name of a local one: `q_proj.lora_A` -> `….self_attn.q_proj.lora_A.weight`. */
export function fullName(names: BlockNames, local: string): string {
  const dot = local.lastIndexOf(".");
  const base = local.slice(0, dot);
  const kind = local.slice(dot + 1);
  const path = `${names.prefix}.${names.linears[base] ?? base}.${kind}`;
  return kind.startsWith("lora_") ? `${path}.weight` : path;
}

/** Names of a decoder layer. */
export function decoderLayerNames(index: number): BlockNames {
  const linears: Record<string, string> = {};
  for (const name of ["q_proj", "k_proj", "v_proj", "o_proj"]) linears[name] = `self_attn.${name}`;
  for (const name of ["gate_proj", "up_proj", "down_proj"]) linears[name] = `mlp.${name}`;
  return { prefix: `model.language_model.layers.${index}`, linears, norms: ["input_layernorm", "post_attention_layernorm"] };
}

/** Names of a block of the tower. */
export function visionBlockNames(index: number): BlockNames {
  const linears = ["attn.qkv", "attn.proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];
  return { prefix: `model.visual.blocks.${index}`, linears: Object.fromEntries(linears.map((l) => [l, l])), norms: ["norm1", "norm2"] };
}

/** Names of the tower's merger. */
export const MERGER_NAMES: BlockNames = { prefix: "model.visual.merger", linears: { "mlp.0": "mlp.0", "mlp.2": "mlp.2" }, norms: ["ln_q"] };

/** Inputs of a body: the blocks of a matrix under `NAME.0`, `NAME.1`, … */
export function blockedInputs(name: string, blocks: readonly TensorLike[]): Record<string, TensorLike> {
  return Object.fromEntries(blocks.map((block, i) => [`${name}.${i}`, block]));
}

/** The values of {@link blockedInputs} inside a body. */
export function blockedValues<V>(name: string, values: Readonly<Record<string, V>>): V[] {
  const out: V[] = [];
  for (let value = values[`${name}.0`]; value !== undefined; value = values[`${name}.${out.length}`]) out.push(value);
  return out;
}

/** Embedding matrix. */
export const EMBEDDING = "model.language_model.embed_tokens.weight";
/** Weight of the norm before the head. */
export const FINAL_NORM = "model.language_model.norm.weight";
/** Output matrix of untied checkpoints. */
export const LM_HEAD = "lm_head.weight";
/** Patch embedding; module name. */
export const PATCH_EMBED = "model.visual.patch_embed.proj";
