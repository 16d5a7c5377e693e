import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { loadQwenVl, readAdapter, writeAdapter, type LoraConfig } from "@dramascope/qwen-vl";
import { afterAll, describe, expect, it } from "vitest";
import { golden } from "./goldens.ts";

const { tf } = await loadTensorFlow({ threads: 1 });
const model = await loadQwenVl(golden("model-new"), { tf });
const sizes = { r: 2, alpha: 4 };

afterAll(() => {
  model.dispose();
});

/** Modules that a configuration puts an adapter on. */
async function modulesOf(config: LoraConfig): Promise<string[]> {
  const adapter = await model.attachLora(config);
  adapter.dispose();
  return adapter.modules;
}

const all = await modulesOf({ ...sizes, targetModules: String.raw`model\.(language_model\.layers|visual\.(blocks|merger))\..*` });

describe("a configuration of an adapter", () => {
  it.each<[string, Partial<LoraConfig>, string, string]>([
    ["no rank", { r: 0 }, "BAD_OPTION", "rank r"],
    ["a rank beyond any model", { r: 2 ** 17 }, "BAD_OPTION", "rank r"],
    ["an endless alpha", { alpha: Infinity }, "BAD_OPTION", "alpha"],
    ["no rank for a module", { rankPattern: { q_proj: 0 } }, "BAD_OPTION", 'rankPattern of "q_proj"'],
    ["half a rank for a module", { rankPattern: { q_proj: 2.5 } }, "BAD_OPTION", 'rankPattern of "q_proj"'],
    ["a negative rank for a module", { rankPattern: { v_proj: -1 } }, "BAD_OPTION", 'rankPattern of "v_proj"'],
    ["an alpha for a module that is no number", { alphaPattern: { q_proj: Number.NaN } }, "BAD_OPTION", 'alphaPattern of "q_proj"'],
    ["a pattern for no module", { rankPattern: { q_porj: 2 } }, "ADAPTER_TARGETS", "q_porj"],
    ["no target", { targetModules: [] }, "ADAPTER_TARGETS", "[]"],
    ["a misspelled target beside a right one", { targetModules: ["q_proj", "v_porj"] }, "ADAPTER_TARGETS", "v_porj"],
    ["the output matrix as a target", { targetModules: ["lm_head", "q_proj"] }, "ADAPTER_TARGETS", "lm_head"],
    ["the embedding as a target", { targetModules: "model.language_model.embed_tokens|.*q_proj" }, "ADAPTER_TARGETS", "embed_tokens"],
    ["an expression that is not served", { targetModules: "(?!lm_head).*" }, "ADAPTER_PATTERN", "(?"],
  ])("with %s is refused by name and leaves nothing behind", async (_name, change, code, part) => {
    const before = tf.memory().numTensors;
    await expect(model.attachLora({ ...sizes, ...change })).rejects.toThrow(expect.objectContaining({ code, message: expect.stringContaining(part) as string }) as Error);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("draws from seeds only that are one", async () => {
    for (const seed of [-1, 0.5, Number.NaN]) await expect(model.attachLora(sizes, { seed })).rejects.toThrow(expect.objectContaining({ code: "BAD_OPTION" }) as Error);
  });

  it.each([
    String.raw`model\.language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)`,
    String.raw`.*\.(q_proj|v_proj)$`,
    String.raw`^model\.language_model\.layers\.\d+\.self_attn\.[qk]_proj$`,
    String.raw`model\.language_model\.layers\.[0-9]+\..*`,
    String.raw`.*(?:q|k)_proj`,
    String.raw`model\.visual\.[^.]+\.1\.(?:attn\.)?(?:mlp\.)?[a-z_]+`,
    String.raw`.*?attn.*`,
    String.raw`.+\.mlp\.\d`,
    String.raw`model.language_model.layers.1.mlp.(gate|up|)_?proj`,
    String.raw`(.*\.(self_attn|mlp)\.((q|k)_proj|(up|down)_proj))|model\.visual\.merger\.mlp\.2`,
  ])("takes the expression %s as JavaScript does", async (source) => {
    const whole = new RegExp(`^(?:${source})$`, "u");
    const expected = all.filter((module) => whole.test(module));
    expect(expected.length).toBeGreaterThan(0);
    expect(await modulesOf({ ...sizes, targetModules: source })).toEqual(expected);
  });

  it.each(["q_proj(", "q_proj)", "[q_proj", "q_proj\\", String.raw`\bq_proj`, "(q_proj)*", "(q_proj)+", "q{2}", "a**", "(?<n>q)", "(".repeat(9) + ")".repeat(9), "q".repeat(2001), "+"])("refuses the expression %.20s", async (source) => {
    await expect(model.attachLora({ ...sizes, targetModules: source })).rejects.toThrow(expect.objectContaining({ code: "ADAPTER_PATTERN" }) as Error);
  });
});

describe("patterns of ranks in a folder", () => {
  const read = async (change: object, rank = 3) => {
    const folder = join(await mkdtemp(join(tmpdir(), "dramascope-lora-")), "adapter");
    const { modules } = await readAdapter(golden("adapter"));
    const own = modules.map(({ module, a, b }) => {
      const r = /layers\.1\..*(?:q|up)_proj$/u.test(module) ? rank : 4;
      return { module, a: { shape: [r, a.shape[1]!], values: new Float32Array(r * a.shape[1]!) }, b: { shape: [b.shape[0]!, r], values: new Float32Array(r * b.shape[0]!) } };
    });
    await writeAdapter(folder, { config: { r: 4, alpha: 8 }, modules: own });
    const path = join(folder, "adapter_config.json");
    await writeFile(path, JSON.stringify({ ...(JSON.parse(await readFile(path, "utf8")) as object), ...change }));
    try {
      (await model.attachLora(folder)).dispose();
    } finally {
      await rm(folder, { recursive: true });
    }
  };

  it.each<[string, Record<string, number>]>([
    ["suffixes", { "layers.1.self_attn.q_proj": 3, "layers.1.mlp.up_proj": 3 }],
    ["full names", { "model.language_model.layers.1.self_attn.q_proj": 3, "model.language_model.layers.1.mlp.up_proj": 3 }],
    ["full old names", { "model.layers.1.self_attn.q_proj": 3, "model.layers.1.mlp.up_proj": 3 }],
    ["expressions", { [String.raw`^model\.language_model\.layers\.1\..*\.(q|up)_proj$`]: 3 }],
    ["expressions for suffixes", { [String.raw`layers\.1\..*\.(q_proj|up_proj)`]: 3 }],
    ["the first of two that fit", { [String.raw`1\.(mlp|self_attn)\.(q_proj|up_proj)`]: 3, q_proj: 4 }],
  ])("may be %s", async (_name, pattern) => {
    await read({ rank_pattern: pattern });
  });

  it("are wrong in other places", async () => {
    await expect(read({ rank_pattern: { q_proj: 3 } })).rejects.toThrow(expect.objectContaining({ code: "ADAPTER_MISMATCH" }) as Error);
  });

  it.each<[string, string[]]>([["a group that repeats", ["([a-z_.0-9]+)+!"]], ["more than can be tried in time", Array.from({ length: 400 }, (_, i) => `.*[a-z]*!${i}`)]])("are refused where they hold %s", async (_name, keys) => {
    await expect(read({ rank_pattern: Object.fromEntries(keys.map((key) => [key, 2])) })).rejects.toThrow(expect.objectContaining({ code: "ADAPTER_PATTERN" }) as Error);
  });

  it("cannot hang the process", async () => {
    await read({ alpha_pattern: { [`${".*[a-z]*".repeat(240)}!`]: 2, [`${".*[a-z.]*".repeat(190)}?`]: 2 } }, 4);
  });
});
