import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { normalisationTable, openSafetensors, writeSafetensors, type LoraConfig, type QwenVl, type VisionItem } from "@dramascope/qwen-vl";
import { createRandom } from "@dramascope/schema";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { golden, goldenJson, goldenTensors } from "./goldens.ts";
import { difference, loadReference, type Reference } from "./support.ts";

const own = fileURLToPath(new URL("../../../.cache/peers/model/bin/python", import.meta.url));
/** The Python that `DRAMASCOPE_PYTHON` names, or the one of the benchmarks. */
const python = process.env["DRAMASCOPE_PYTHON"] ?? (existsSync(own) ? own : undefined);

const SEVEN = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];
const decoderModules = [0, 1].flatMap((layer) => SEVEN.map((name) => `model.language_model.layers.${layer}.${name}`));
const adapters: { name: string; config: LoraConfig; modules: string[]; fields: Record<string, unknown> }[] = [
  {
    name: "plain", config: { r: 4, alpha: 8 }, modules: decoderModules,
    fields: { r: 4, lora_alpha: 8, use_rslora: false, rank_pattern: {}, alpha_pattern: {}, target_modules: String.raw`model\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)` },
  },
  {
    name: "patterned", config: { r: 4, alpha: 8, rslora: true, targetModules: ["q_proj", "qkv", "down_proj"], excludeModules: ["blocks.1.mlp.down_proj"], rankPattern: { q_proj: 2 }, alphaPattern: { "layers.1.mlp.down_proj": 3 } },
    modules: [
      ...decoderModules.filter((module) => /q_proj|down_proj/u.test(module)),
      ...[0, 1, 2].flatMap((block) => ["attn.qkv", "mlp.down_proj"].map((name) => `model.visual.blocks.${block}.${name}`)).filter((module) => !module.endsWith("blocks.1.mlp.down_proj")),
    ],
    fields: { r: 4, lora_alpha: 8, use_rslora: true, rank_pattern: { q_proj: 2 }, alpha_pattern: { "layers.1.mlp.down_proj": 3 }, target_modules: ["q_proj", "qkv", "down_proj"], exclude_modules: ["blocks.1.mlp.down_proj"] },
  },
];

let ref: Reference;
let folder: string;
let base: Float32Array;
/** Our logits of the reference prompt by adapter, and merged. */
const ours = new Map<string, Float32Array>();

async function logitsOf(model: QwenVl): Promise<Float32Array> {
  const result = await model.forward(ref.prompt, { rows: "all" });
  const values = (await result.logits.data()) as Float32Array;
  result.dispose();
  return values;
}

beforeAll(async () => {
  ref = await loadReference();
  folder = await mkdtemp(join(tmpdir(), "dramascope-transformers-"));
  base = await logitsOf(ref.model);
  for (const { name, config } of adapters) {
    const model = await ref.load();
    await model.attachLora(config, { seed: 3 });
    const set = model.trainable();
    const random = createRandom(5);
    set.assignAll((await set.readValues()).map((values) => values.map((value) => value + 0.04 * random.normal())));
    ours.set(name, await logitsOf(model));
    await model.saveLora(join(folder, name));
    await model.mergeLora();
    ours.set(`${name}-merged`, await logitsOf(model));
    await model.saveMerged(join(folder, `${name}-merged`), name === "plain" ? {} : { names: "new", shardBytes: 200_000 });
    model.dispose();
  }
});
afterAll(async () => {
  ref.model.dispose();
  await rm(folder, { recursive: true });
});

describe("saved folders", () => {
  it.each(adapters)("of the $name adapter have PEFT's names and fields", async ({ name, modules, fields }) => {
    const file = await openSafetensors(join(folder, name, "adapter_model.safetensors"));
    await file.close();
    expect([...file.names].sort()).toEqual(modules.flatMap((module) => ["A", "B"].map((side) => `base_model.model.${module}.lora_${side}.weight`)).sort());
    expect(JSON.parse(await readFile(join(folder, name, "adapter_config.json"), "utf8"))).toMatchObject({ ...fields, peft_type: "LORA", task_type: "CAUSAL_LM", bias: "none" });
  });

  it("of merged models have the tensors of their base, with other values in the adapter's modules", async () => {
    const { weight_map: files } = goldenJson<{ weight_map: Record<string, string> }>("model/model.safetensors.index.json");
    const before = Object.assign({}, ...(await Promise.all([...new Set(Object.values(files))].map((file) => goldenTensors(`model/${file}`))))) as Awaited<ReturnType<typeof goldenTensors>>;
    const after = await openSafetensors(join(folder, "plain-merged", "model.safetensors"));
    expect([...after.names].sort()).toEqual(Object.keys(before).sort());
    for (const [name, { shape, values }] of Object.entries(before)) {
      expect(after.info(name).shape).toEqual(shape);
      const change = difference((await after.read(name)).values, values);
      if (/^model\.layers.*_proj\.weight$/u.test(name)) expect(change, name).toBeGreaterThan(1e-3);
      else expect(change, name).toBe(0);
    }
    await after.close();
  });
});

function floatsOf({ patches }: VisionItem): Float32Array {
  const table = normalisationTable();
  const columns = 3 * 2 * 14 * 14;
  return Float32Array.from(patches, (byte, i) => table[Math.floor((i % columns) / (columns / 3)) * 256 + byte]!);
}

/** Logits in transformers by name of the folder. */
async function theirLogits(names: readonly string[], interpreter: string): Promise<Map<string, Float32Array>> {
  const { prompt, items } = ref;
  const patches = items.flatMap((item) => [...floatsOf(item)]);
  await writeSafetensors(join(folder, "inputs.safetensors"), [
    { name: "ids", shape: [prompt.ids.length], values: Float32Array.from(prompt.ids) },
    { name: "positions", shape: [3, prompt.ids.length], values: Float32Array.from(prompt.positionIds) },
    { name: "patches", shape: [patches.length / 1176, 1176], values: Float32Array.from(patches) },
    { name: "grids", shape: [items.length, 3], values: Float32Array.from(items.flatMap(({ grid }) => [...grid])) },
  ]);
  const models = names.map((name) => `${name}=${name.endsWith("merged") ? join(folder, name) : `${golden("model")},${join(folder, name)}`}`);
  const script = fileURLToPath(new URL("transformers-logits.py", import.meta.url));
  execFileSync(interpreter, [script, join(folder, "inputs.safetensors"), join(folder, "outputs.safetensors"), ...models], { env: { ...process.env, HF_HUB_OFFLINE: "1" }, stdio: ["ignore", "pipe", "pipe"] });
  const file = await openSafetensors(join(folder, "outputs.safetensors"));
  const read = await Promise.all(names.map(async (name): Promise<[string, Float32Array]> => [name, (await file.read(name)).values as Float32Array]));
  await file.close();
  return new Map(read);
}

if (python === undefined) {
  process.stdout.write("not compared with transformers and PEFT: DRAMASCOPE_PYTHON names no Python that has them, and .cache/peers/model is not there\n");
} else {
  it("saved adapters and merged models give the same logits in transformers and PEFT", { timeout: 120_000 }, async () => {
    const theirs = await theirLogits([...ours.keys()], python);
    for (const [name, logits] of ours) {
      const worst = difference(theirs.get(name)!, logits);
      process.stdout.write(`${name}: logits differ from transformers' by ${worst.toExponential(1)}, from the base model's by ${difference(base, logits).toFixed(1)}\n`);
      expect(worst, name).toBeLessThan(1e-4);
      expect(difference(base, logits), name).toBeGreaterThan(0.1);
    }
  });
}
