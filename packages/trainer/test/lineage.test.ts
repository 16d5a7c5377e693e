import { mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadQwenVl, readAdapter, writeAdapter, type QwenVl, type Tf } from "@dramascope/qwen-vl";
import { sha256File, type GrpoSample, type RewardBreakdown, type SftSample } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { createSampleEncoder, mergeAdapter, readLineage, trainGrpo, trainSft, type GrpoConfigInput, type SampleEncoder, type TimeBase } from "@dramascope/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { judgeMerge } from "../src/merge-adapter.ts";

const demoBase = fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url));
let tf: Tf;
let model: QwenVl;
let base: string;
let start: string;
const encoderOf = (timeBase: TimeBase): SampleEncoder => createSampleEncoder({ model, timeBase, loadFrames: () => Promise.reject(new Error("there are no videos")) });
const core = (i: number) => ({ sampleId: `s${i}`, messages: [{ role: "user" as const, content: `Retell drama ${i}.` }], videos: [] });
beforeAll(async () => {
  ({ tf } = await loadTensorFlow({ threads: 1 }));
  model = await loadQwenVl(demoBase, { tf });
  base = await mkdtemp(join(tmpdir(), "dramascope-lineage-"));
  const samples = Array.from({ length: 2 }, (_, i): SftSample => ({ ...core(i), kind: "sft", target: `Revenge of red ${i}.` }));
  start = (await trainSft({ runDir: join(base, "sft"), lora: { r: 2 }, learningRate: 1e-2, epochs: 1, batchSize: 2 }, samples, { model, encoder: encoderOf("true-fps"), modelHash: "base-hash" })).adapter!;
});
afterAll(() => model.dispose());

const grpo = (run: string, timeBase: TimeBase, settings: Partial<GrpoConfigInput> = {}, modelHash = "base-hash", versionAt = (_step: number): string => "rewards@1"): ReturnType<typeof trainGrpo> =>
  trainGrpo({ runDir: join(base, run), adapter: start, learningRate: 1e-2, steps: 2, promptsPerStep: 1, numGenerations: 2, maxCompletionLength: 4, saveSteps: 1, keepCheckpoints: 1, ...settings }, Array.from({ length: 2 }, (_, i): GrpoSample => ({ ...core(i), kind: "grpo", quality: 3, caption: "x", comments: [] })), {
    model, encoder: encoderOf(timeBase), modelHash,
    reward: (items, { step }) => Promise.resolve(items.map((_, i): RewardBreakdown => ({ caption: i / step, comments: 0, accuracy: 0, format: 0, total: 0, reasons: [], version: versionAt(step) }))),
  });

describe("an adapter", () => {
  it("knows what it was made of, back to the base", async () => {
    const { adapter } = await grpo("grpo", "true-fps");
    const parent = await readLineage(start);
    expect(parent).toMatchObject({ kind: "sft", model: "base-hash", parent: null, ancestors: [], timeBase: "true-fps", reference: null, rewardVersion: null });
    const parentHash = await sha256File(join(start, "adapter_model.safetensors"));
    const child = await readLineage(adapter!);
    expect(child).toMatchObject({ kind: "grpo", model: "base-hash", parent: parentHash, timeBase: "true-fps", reference: "start", rewardVersion: "rewards@1", ancestors: [{ kind: "sft", sha256: parentHash, identity: parent!.identity }] });
    expect(child!.promptHash).toBe(parent!.promptHash);
    expect(Object.keys(child!.versions)).toEqual(["trainer", "node"]);
    const third = await grpo("third", "true-fps", { adapter: adapter!, beta: 0 });
    expect((await readLineage(third.adapter!))!).toMatchObject({ reference: null, ancestors: [{ kind: "sft" }, { kind: "grpo", identity: child!.identity }] });
    // The first step's rewards were higher than the second's.
    expect(await readFile(join(base, "grpo", "best"), "utf8")).toBe("checkpoint-000001\n");
    expect((await readdir(join(base, "grpo"))).filter((name) => name.startsWith("checkpoint"))).toEqual(["checkpoint-000001", "checkpoint-000002"]);
  });

  it("is not trained on with another time base or base model", async () => {
    await expect(grpo("pinned", "pinned")).rejects.toMatchObject({ code: "TIME_BASE_MISMATCH", message: expect.stringMatching(/was trained with time base true-fps, this run has pinned/u) as string });
    await expect(grpo("other", "true-fps", {}, "other-hash")).rejects.toMatchObject({ code: "MODEL_MISMATCH" });
  });

  it("needs a history that can be read, or none", async () => {
    const folder = join(base, "foreign");
    await trainSft({ runDir: folder, lora: { r: 2 }, epochs: 1, batchSize: 2 }, [{ ...core(0), kind: "sft", target: "x" }], { model, encoder: encoderOf("pinned") });
    await writeFile(join(folder, "adapter", "run-manifest.json"), `{"format":"something else"}`);
    await expect(grpo("broken", "pinned", { adapter: join(folder, "adapter") })).rejects.toMatchObject({ code: "LINEAGE_INVALID" });
    expect(await readLineage(demoBase)).toBeUndefined();
  });
});

it("ends a run whose rewards change their version, also after a restart", async () => {
  const versions = (step: number): string => (step < 3 ? "rewards@1" : "rewards@2");
  await expect(grpo("versions", "true-fps", { steps: 4 }, "base-hash", versions)).rejects.toMatchObject({ code: "REWARD_VERSION", message: expect.stringContaining('"rewards@2", the run began with "rewards@1"') as string });
  await expect(grpo("versions", "true-fps", { steps: 4 }, "base-hash", versions)).rejects.toMatchObject({ code: "REWARD_VERSION" });
  expect(await readFile(join(base, "versions", "latest"), "utf8")).toBe("checkpoint-000002\n");
});

/** An adapter whose B matrices hold values up to `size`. */
async function adapterOf(name: string, size: number): Promise<string> {
  const { config, modules } = await readAdapter(start);
  const folder = join(base, name);
  await writeAdapter(folder, { config, modules: modules.map((module) => ({ ...module, b: { ...module.b, values: module.b.values.map((_, i) => size * Math.sin(i)) } })) });
  return folder;
}

describe("a merge", () => {
  it.each([["float32", 1e-4], ["bfloat16", 2 ** -5], ["float16", 2 ** -8]] as const)("into %s has the logits of base and adapter", async (dtype, tolerance) => {
    const out = join(base, `merged-${dtype}`);
    const result = await mergeAdapter(demoBase, await adapterOf(`strong-${dtype}`, 0.1), out, { tf, dtype, verify: "logits" });
    expect(result.dtype).toBe(dtype);
    expect(result.difference).toBeLessThan(tolerance);
    expect(result.difference).toBeLessThan(result.effect! / 2);
    expect(await readdir(out)).toEqual(expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json"]));
  });

  it("that fails leaves the former model as it was, and one that does not replaces it", async () => {
    const [out, weak, none] = [join(base, "judge"), await adapterOf("weak", 1e-4), await adapterOf("none", 0)];
    await mergeAdapter(demoBase, start, out, { tf, dtype: "float32" });
    const weights = await sha256File(join(out, "model.safetensors"));
    for (const adapter of [weak, none]) await expect(mergeAdapter(demoBase, adapter, out, { tf, dtype: "bfloat16", verify: "logits" })).rejects.toMatchObject({ code: "MERGE_UNPROVEN" });
    await expect(mergeAdapter(demoBase, start, out, { tf, signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    expect(await sha256File(join(out, "model.safetensors"))).toBe(weights);
    await mergeAdapter(demoBase, weak, out, { tf, dtype: "float32", verify: "logits" });
    expect(await sha256File(join(out, "model.safetensors"))).not.toBe(weights);
    expect((await readdir(base)).filter((name) => name.startsWith("."))).toEqual([]);
  });

  it.each([
    ["a lost adapter of small effect", { dtype: "bfloat16", difference: 1.4e-3, effect: 1.4e-3 }, "MERGE_UNPROVEN"],
    ["an adapter below the rounding of float16", { dtype: "float16", difference: 2e-3, effect: 1e-3 }, "MERGE_UNPROVEN"],
    ["an adapter without effect", { dtype: "float32", difference: 0, effect: 0 }, "MERGE_UNPROVEN"],
    ["a lost adapter of large effect", { dtype: "float32", difference: 0.2, effect: 0.2 }, "MERGE_DIFFERS"],
    ["logits that are no numbers", { dtype: "float32", difference: NaN, effect: 0.2 }, "MERGE_DIFFERS"],
  ] as const)("does not pass with %s", (_what, found, code) => {
    expect(() => judgeMerge(found)).toThrow(expect.objectContaining({ code }));
  });

  it("replaces nothing but a checkpoint, and not its base", async () => {
    const other = join(base, "papers");
    await mkdir(other);
    await writeFile(join(other, "thesis.txt"), "x");
    for (const out of [other, demoBase, join(other, "thesis.txt")]) await expect(mergeAdapter(demoBase, start, out, { tf })).rejects.toMatchObject({ code: "CHECKPOINT_FOLDER" });
    expect(await readdir(other)).toEqual(["thesis.txt"]);
  });

  it("leaves nothing behind when it cannot be made", async () => {
    await expect(mergeAdapter(demoBase, join(base, "nowhere"), join(base, "unmade"), { tf })).rejects.toMatchObject({ code: "ADAPTER_INVALID" });
    expect(await readdir(base)).not.toContain("unmade");
  });
});
