/**
 * Loads a synthetic checkpoint with the shapes of a 3B model in child processes and compares their peak memory with the weights:
 *
 *   node --conditions=@dramascope/source tools/bench/load-big.ts [--layers 14] [--blocks 4]
 *
 * The files (float32, shards of 1 GiB) stand in a temporary folder and are removed at the end.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { describeMemoryPlan, loadQwenVl, planMemory, QwenVlError } from "@dramascope/qwen-vl";
import { createRandom } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";

const VOCAB = 151_936;
const HIDDEN = 2048;
const SHARD_BYTES = 2 ** 30;
/** Peak memory may be this part of the weights, above what a process without a model takes. */
const BAR = 1.1;

const { values: options } = parseArgs({ options: { layers: { type: "string", default: "14" }, blocks: { type: "string", default: "4" }, child: { type: "string" } } });

/** Sizes of the 3B model, fewer layers. */
function configuration(layers: number, blocks: number): object {
  return {
    model_type: "qwen2_5_vl", hidden_size: HIDDEN, intermediate_size: 11008, num_hidden_layers: layers, num_attention_heads: 16, num_key_value_heads: 2, vocab_size: VOCAB, rms_norm_eps: 1e-6,
    max_position_embeddings: 128_000, rope_theta: 1e6, rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] }, tie_word_embeddings: true, torch_dtype: "float32",
    eos_token_id: 151_645, vision_start_token_id: 151_652, vision_end_token_id: 151_653, image_token_id: 151_655, video_token_id: 151_656,
    vision_config: {
      depth: blocks, hidden_size: 1280, intermediate_size: 3420, num_heads: 16, out_hidden_size: HIDDEN, patch_size: 14, temporal_patch_size: 2, spatial_merge_size: 2, window_size: 112,
      fullatt_block_indexes: [blocks - 1], tokens_per_second: 2, in_channels: 3,
    },
  };
}

function shapes(layers: number, blocks: number): Map<string, number[]> {
  const all = new Map<string, number[]>([["model.embed_tokens.weight", [VOCAB, HIDDEN]], ["model.norm.weight", [HIDDEN]]]);
  const linear = (name: string, out: number, input: number, bias: boolean): void => {
    all.set(`${name}.weight`, [out, input]);
    if (bias) all.set(`${name}.bias`, [out]);
  };
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    for (const [name, out, bias] of [["q_proj", 2048, true], ["k_proj", 256, true], ["v_proj", 256, true], ["o_proj", 2048, false]] as const) linear(`${layer}.self_attn.${name}`, out, HIDDEN, bias);
    for (const [name, out, input] of [["gate_proj", 11008, HIDDEN], ["up_proj", 11008, HIDDEN], ["down_proj", HIDDEN, 11008]] as const) linear(`${layer}.mlp.${name}`, out, input, false);
    for (const norm of ["input_layernorm", "post_attention_layernorm"]) all.set(`${layer}.${norm}.weight`, [HIDDEN]);
  }
  all.set("visual.patch_embed.proj.weight", [1280, 3, 2, 14, 14]);
  for (let i = 0; i < blocks; i++) {
    const block = `visual.blocks.${i}`;
    for (const [name, out, input] of [["attn.qkv", 3840, 1280], ["attn.proj", 1280, 1280], ["mlp.gate_proj", 3420, 1280], ["mlp.up_proj", 3420, 1280], ["mlp.down_proj", 1280, 3420]] as const) linear(`${block}.${name}`, out, input, true);
    for (const norm of ["norm1", "norm2"]) all.set(`${block}.${norm}.weight`, [1280]);
  }
  all.set("visual.merger.ln_q.weight", [1280]);
  linear("visual.merger.mlp.0", 5120, 5120, true);
  linear("visual.merger.mlp.2", HIDDEN, 5120, true);
  return all;
}

/** Writes shards of the given tensors; their values repeat one block of small random numbers. */
async function writeCheckpoint(folder: string, layers: number, blocks: number): Promise<number> {
  const random = createRandom(1);
  const block = Buffer.from(Float32Array.from({ length: 2 ** 20 }, () => 0.04 * (random.uniform() - 0.5)).buffer);
  const shards: [string, number[]][][] = [[]];
  let size = 0;
  let total = 0;
  for (const [name, shape] of shapes(layers, blocks)) {
    const bytes = shape.reduce((a, b) => a * b, 4);
    if (size > 0 && size + bytes > SHARD_BYTES) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)!.push([name, shape]);
    size += bytes;
    total += bytes;
  }
  const map: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const file = `model-${String(i + 1).padStart(5, "0")}-of-${String(shards.length).padStart(5, "0")}.safetensors`;
    const header: Record<string, unknown> = {};
    let at = 0;
    for (const [name, shape] of shard) {
      const bytes = shape.reduce((a, b) => a * b, 4);
      header[name] = { dtype: "F32", shape, data_offsets: [at, (at += bytes)] };
      map[name] = file;
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const out = await open(join(folder, file), "w");
    await out.writeFile(Buffer.concat([length, text]));
    for (let left = at; left > 0; left -= block.length) await out.writeFile(block.subarray(0, Math.min(left, block.length)));
    await out.close();
  }
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: { total_size: total }, weight_map: map }));
  await writeFile(join(folder, "config.json"), JSON.stringify(configuration(layers, blocks)));
  return total;
}

interface ChildTask {
  /** Checkpoint to load; without one the child only starts TensorFlow. */
  folder?: string;
  dtype?: "float32" | "bfloat16";
  memoryLimitBytes?: number;
  weightCache?: string;
}

interface ChildResult {
  /** Peak resident bytes of the process. */
  peak: number;
  weightBytes: number;
  seconds: number;
  /** The refusal, when there was one. */
  refused?: string;
}

const peakBytes = (): number => 1024 * Number(/^VmHWM:\s+(\d+) kB$/mu.exec(readFileSync("/proc/self/status", "utf8"))![1]);

async function child({ folder, ...rest }: ChildTask): Promise<ChildResult> {
  const { tf } = await loadTensorFlow();
  // The library asks for its first memory with the first operation.
  await tf.ones([8, 8]).matMul(tf.ones([8, 8])).data();
  if (folder === undefined) return { peak: peakBytes(), weightBytes: 0, seconds: 0 };
  const from = performance.now();
  let said = 0;
  try {
    const model = await loadQwenVl(folder, {
      tf, ...rest, planTokens: 1,
      onProgress: ({ loadedBytes, totalBytes }) => {
        if (loadedBytes / totalBytes < said + 0.1) return;
        said = loadedBytes / totalBytes;
        process.stderr.write(` ${Math.round(100 * said)} %`);
      },
    });
    process.stderr.write("\n");
    const result = { peak: peakBytes(), weightBytes: model.info.weightBytes, seconds: (performance.now() - from) / 1000 };
    model.dispose();
    return result;
  } catch (error) {
    if (!QwenVlError.isInstance(error)) throw error;
    return { peak: peakBytes(), weightBytes: 0, seconds: (performance.now() - from) / 1000, refused: `${error.code}: ${error.message}\n${error.hint ?? ""}` };
  }
}

async function inChild(task: ChildTask): Promise<ChildResult> {
  const running = promisify(execFile)(process.execPath, ["--conditions=@dramascope/source", fileURLToPath(import.meta.url), "--child", JSON.stringify(task)], { encoding: "utf8" });
  running.child.stderr?.pipe(process.stderr);
  return JSON.parse((await running).stdout) as ChildResult;
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "dramascope-load-big-"));
  try {
    const total = await writeCheckpoint(folder, Number(options.layers), Number(options.blocks));
    say(`checkpoint of ${gigabytes(total)} in float32: ${options.layers} decoder layers, ${options.blocks} vision blocks, embedding ${VOCAB} × ${HIDDEN}`);
    const { peak: base } = await inChild({});
    say(`a process with TensorFlow and no model: ${gigabytes(base)}`);
    for (const dtype of ["float32", "bfloat16"] as const) {
      say(describeMemoryPlan(await planMemory(folder, { dtype, tokens: 1 })).split("\n").slice(0, 2).join("\n"));
      const { peak, weightBytes, seconds } = await inChild({ folder, dtype });
      const ratio = (peak - base) / weightBytes;
      say(`${dtype}: ${gigabytes(weightBytes)} of weights in ${seconds.toFixed(1)} s, peak ${gigabytes(peak)}: above the bare process ${ratio.toFixed(3)} of the weights, ${gigabytes(peak - base - weightBytes)} more than they; at most ${BAR}: ${ratio <= BAR ? "met" : "not met"}`);
    }
    for (const load of ["first", "next"]) {
      const { peak, seconds } = await inChild({ folder, dtype: "float32", weightCache: join(folder, "cache") });
      say(`float32, ${load} load with a weight cache: ${seconds.toFixed(2)} s, peak ${gigabytes(peak)}`);
    }
    const { refused, peak } = await inChild({ folder, memoryLimitBytes: 2e9 });
    say(`with 2 GB allowed (peak ${gigabytes(peak)}):\n${refused ?? "it loaded, which it should not"}`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (options.child === undefined) await main();
else process.stdout.write(JSON.stringify(await child(JSON.parse(options.child) as ChildTask)));
