import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { loadQwenVl, openSafetensors, planMemory, writeSafetensors, type NamedArray, type Prompt, type QwenVl, type VisionItem } from "@dramascope/qwen-vl";
import { afterAll, describe, expect, it } from "vitest";
import { golden, goldenJson } from "./goldens.ts";

const { tf } = await loadTensorFlow({ threads: 1 });
const load = (options: object = {}, folder = golden("model-new")): Promise<QwenVl> => loadQwenVl(folder, { tf, ...options });
const model = await load();
const { vocabSize } = model.config.text;
const prompt = model.prepare([{ role: "user", content: "How good is it?" }]);
const promptOf = (...ids: number[]): Prompt => ({
  ids: Int32Array.from(ids), positionIds: Int32Array.from({ length: 3 * ids.length }, (_, i) => i % ids.length), nextPosition: ids.length, segments: [{ text: ids.length }], vision: [], text: "",
});
const every = Array.from({ length: vocabSize }, (_, id) => id);
const item: VisionItem = { kind: "video", grid: [1, 2, 2], patches: new Uint8Array(4 * 1176) };
const folders: string[] = [];

/** A copy of the reference checkpoint with some JSON files changed, and its tensors mapped. */
async function changedFolder(files: Record<string, object>, change?: (tensor: NamedArray) => NamedArray): Promise<string> {
  const source = golden("model-new");
  const folder = await mkdtemp(join(tmpdir(), "dramascope-inputs-"));
  folders.push(folder);
  for (const name of await readdir(source)) await copyFile(join(source, name), join(folder, name));
  for (const [name, fields] of Object.entries(files)) {
    const old = await readFile(join(source, name), "utf8");
    await writeFile(join(folder, name), JSON.stringify({ ...(JSON.parse(old) as object), ...fields }));
  }
  if (change === undefined) return folder;
  const file = await openSafetensors(join(source, "model.safetensors"));
  const all: NamedArray[] = [];
  for (const name of file.names) all.push(change({ name, shape: file.info(name).shape, values: (await file.read(name)).values as Float32Array }));
  await file.close();
  await writeSafetensors(join(folder, "model.safetensors"), all);
  return folder;
}

/** A folder in which one value of one weight is NaN. */
const withNaN = (weight: string): Promise<string> =>
  changedFolder({}, (tensor) => (tensor.name === weight ? { ...tensor, values: tensor.values.map((value, i) => (i === 7 ? Number.NaN : value)) } : tensor));

async function refused(call: () => unknown, code: string, ...parts: string[]): Promise<void> {
  const before = tf.memory().numTensors;
  const error: unknown = await Promise.resolve().then(call).then(() => "nothing was refused", (thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: "QwenVlError", code });
  for (const part of parts) expect((error as Error).message).toContain(part);
  expect(tf.memory().numTensors).toBe(before);
}

afterAll(async () => {
  model.dispose();
  for (const folder of folders) await rm(folder, { recursive: true });
});

describe("an option that no rule knows is refused by name", () => {
  it.each<[string, unknown]>([
    ["tf", undefined], ["dtype", "float16"], ["products", "f32"], ["mrope", "Qwen"], ["queryChunk", 0], ["queryChunk", -5], ["queryChunk", Number.NaN], ["logitsChunk", 0], ["logitsChunk", 2.5], ["vocabChunk", 0], ["keepBytes", Number.NaN],
    ["keepBytes", -1], ["strict", "false"], ["planTokens", 0], ["memoryLimitBytes", Number.NaN], ["ignoreMemoryPlan", 1], ["weightCache", 7], ["onProgress", "log"],
  ])("loading with %s = %s", async (name, value) => {
    await refused(() => load({ [name]: value }), "BAD_OPTION", name);
  });

  it.each<[string, unknown]>([["dtype", "float16"], ["products", "f32"], ["queryChunk", 0]])("planning memory with %s = %s", async (name, value) => {
    await refused(() => planMemory(golden("model-new"), { [name]: value }), "BAD_OPTION", name);
  });

  it.each<[string, unknown]>([["dtype", "int8"], ["names", "hub"], ["shardBytes", 0], ["shardBytes", Number.NaN]])("saving with %s = %s", async (name, value) => {
    const folder = join(await mkdtemp(join(tmpdir(), "dramascope-inputs-")), "saved");
    await refused(() => model.saveMerged(folder, { [name]: value }), "BAD_OPTION", name);
    await expect(readdir(folder)).rejects.toThrow("ENOENT");
  });

  it.each<[string, unknown]>([
    ["temperature", -1], ["temperature", Number.NaN], ["temperature", Infinity], ["temperature", 1e-40], ["topP", 1.5], ["topP", Number.NaN], ["topK", 2.5], ["topK", -1], ["repetitionPenalty", 0], ["seed", -1], ["n", 0], ["maxRows", 0],
  ])("generating with %s = %s", async (name, value) => {
    await refused(() => model.generate([prompt], { maxNewTokens: 1, [name]: value }), "BAD_OPTION", name);
  });

  it("scoring with a temperature that logits cannot be divided by, preparing with an unknown time base", async () => {
    for (const temperature of [0, -1, Number.NaN, Infinity, 1e-40]) await refused(() => model.logProbs(prompt, [[5]], { temperature, entropy: true }), "BAD_OPTION", "temperature");
    await refused(() => model.prepare([{ role: "user", content: "x" }], { timeBase: "Pinned" as "pinned" }), "BAD_OPTION", "timeBase");
  });
});

describe("tokens", () => {
  it.each([vocabSize, -7, 999_999])("with the id %d are refused by prompt and place", async (id) => {
    const bad = promptOf(5, id);
    const where = `token 1 is ${id}`;
    await refused(() => model.forward(bad), "BAD_TOKEN", where);
    await refused(() => model.forward(prompt, { completion: [5, id] }), "BAD_TOKEN", "the completion", where);
    await refused(() => model.generate([prompt, bad], { maxNewTokens: 1 }), "BAD_TOKEN", "prompt 1", where);
    await refused(() => model.groupLogProbs([{ prompt, completions: [[5]] }, { prompt: bad, completions: [[5]] }]), "BAD_TOKEN", "prompt 1", where);
    await refused(() => model.groupLogProbs([{ prompt, completions: [[5], [6, id]] }]), "BAD_TOKEN", "completion 1 of prompt 0", where);
  });

  it("that are none at all are refused, alone and beside others", async () => {
    const empty = promptOf();
    await refused(() => model.generate([prompt, empty], { maxNewTokens: 1 }), "EMPTY_PROMPT", "prompt 1");
    await refused(() => model.generate([empty], { maxNewTokens: 1 }), "EMPTY_PROMPT", "prompt 0");
    await refused(() => model.groupLogProbs([{ prompt, completions: [[5]] }, { prompt: empty, completions: [[5]] }]), "EMPTY_PROMPT", "prompt 1");
    await refused(() => model.logProbs(empty, [[5]]), "EMPTY_PROMPT");
  });

  it("without three positions each are refused", async () => {
    const short = { ...prompt, positionIds: prompt.positionIds.subarray(1) };
    for (const call of [() => model.forward(short), () => model.generate([short], { maxNewTokens: 1 }), () => model.logProbs(short, [[5]])]) await refused(call, "BAD_POSITIONS", "positionIds");
    await refused(() => model.logProbs({ ...prompt, nextPosition: Number.NaN }, [[5]]), "BAD_POSITIONS", "nextPosition");
  });

  it.each([{ temperature: 1 }, { temperature: 0 }, { topK: 5 }])("of which each is forbidden are not made up: %j", async (options) => {
    await refused(() => model.generate([prompt], { maxNewTokens: 1, forbiddenIds: every, ...options }), "NO_TOKEN");
  });
});

describe("a checkpoint's side files", () => {
  it.each<[string, object]>([
    ["preprocessor_config.json", { image_mean: [0.5] }],
    ["preprocessor_config.json", { image_mean: ["0.5", 0.5, 0.5] }],
    ["preprocessor_config.json", { image_std: [0, 0, 0] }],
    ["preprocessor_config.json", { image_std: [0.2, -0.2, 0.2] }],
    ["preprocessor_config.json", { patch_size: 16 }],
    ["preprocessor_config.json", { temporal_patch_size: 1 }],
    ["preprocessor_config.json", { merge_size: 3 }],
    ["preprocessor_config.json", { do_normalize: false }],
    ["preprocessor_config.json", { rescale_factor: 1 }],
    ["generation_config.json", { temperature: -3 }],
    ["generation_config.json", { top_k: 2.5 }],
    ["generation_config.json", { top_p: "0.9" }],
    ["generation_config.json", { eos_token_id: ["586", 3] }],
    ["generation_config.json", { eos_token_id: 1e9 }],
    ["config.json", { eos_token_id: [3, 1e9] }],
  ])("%s with %j is refused by name", async (file, fields) => {
    const folder = await changedFolder({ [file]: fields });
    await refused(() => load({}, folder), "CONFIG_FIELD", file, Object.keys(fields)[0]!);
  });

  it("may name several stop ids, or none", async () => {
    const folder = await changedFolder({ "config.json": { eos_token_id: [7, 9] }, "generation_config.json": { eos_token_id: null, top_p: null } });
    const own = await load({}, folder);
    expect(own.generationConfig).toEqual({ eosTokenIds: [7, 9], ...(({ temperature, repetition_penalty: repetitionPenalty }) => ({ temperature, repetitionPenalty }))(goldenJson<Record<string, number>>("model-new/generation_config.json")) });
    own.dispose();
    await rm(join(folder, "generation_config.json"));
    await rm(join(folder, "preprocessor_config.json"));
    const bare = await load({}, folder);
    expect(bare.generationConfig).toEqual({ eosTokenIds: [7, 9] });
    bare.dispose();
  });
});

it("a checkpoint without a tokenizer works with ids, and makes up no text", async () => {
  const folder = await changedFolder({});
  await rm(join(folder, "tokenizer.json"));
  const own = await load({}, folder);
  const options = { maxNewTokens: 4, temperature: 0, stopIds: [], forbiddenIds: every.slice(model.tokenizer.size) };
  const [[sample], [expected]] = [(await own.generate([prompt], options))[0]!, (await model.generate([prompt], options))[0]!];
  expect(sample!.ids).toEqual(expected!.ids);
  await refused(() => sample!.text, "NO_TOKENIZER", "tokenizer.json");
  await refused(() => own.generate([prompt], { ...options, onToken: () => undefined }), "NO_TOKENIZER");
  await refused(() => own.prepare([{ role: "user", content: "x" }]), "NO_TOKENIZER");
  own.dispose();
});

describe("values that are not finite", () => {
  it("end every call with the step they were met in", async () => {
    const own = await load({}, await withNaN("model.language_model.layers.1.mlp.down_proj.weight"));
    await refused(() => own.forward(prompt), "NOT_FINITE", `row ${prompt.ids.length - 1} `);
    await refused(() => own.forward(prompt, { rows: [3, 0] }), "NOT_FINITE", "row 3 ");
    await refused(() => own.generate([prompt], { maxNewTokens: 1 }), "NOT_FINITE", "prefill");
    await refused(() => own.logProbs(prompt, [[5]], { entropy: true }), "NOT_FINITE", "token 0");
    own.dispose();
  });

  it("end an encoding with the item, whether they come from the weights or from the patches", async () => {
    const own = await load({}, await withNaN("model.visual.merger.mlp.2.weight"));
    await refused(() => own.encodeVideos([item]), "NOT_FINITE", "item 0");
    own.dispose();
    const floats = (value: number): VisionItem => ({ ...item, patches: new Float32Array(4 * 1176).fill(value) });
    await refused(() => model.encodeVideos([item, floats(0.5), floats(Infinity), item]), "NOT_FINITE", "item 2");
  });
});

it("weights are chosen by a pattern with memory as by one without", () => {
  const sets = [/weight$/u, /weight$/gu].map((pattern) => model.trainable(pattern));
  expect(sets[1]!.names).toEqual(sets[0]!.names);
  for (const set of sets) set.dispose();
});
