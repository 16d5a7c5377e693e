import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Prompt, QwenVl } from "@dramascope/qwen-vl";
import { golden } from "./goldens.ts";
import { difference, relativeDifference, loadReference, type Reference } from "./support.ts";

const DEMO = fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url));
const NATIVE = "needs a native TensorFlow through koffi";
let ref: Reference;
let folder: string;
beforeAll(async () => {
  ref = await loadReference();
  folder = await mkdtemp(join(tmpdir(), "dramascope-bfloat16-"));
});
afterAll(async () => {
  ref.model.dispose();
  await rm(folder, { recursive: true });
});

const handles = (): number => (ref.tf.backend() as unknown as { binding: { getNumOfTensors(): number } }).binding.getNumOfTensors();
const logits = async (model: QwenVl, prompt: Prompt, adapter = "active"): Promise<Float32Array> => {
  const out = await model.forward(prompt, { rows: "all", adapter });
  const values = (await out.logits.data()) as Float32Array;
  out.dispose();
  return values;
};
const greedy = async (model: QwenVl, prompt: Prompt): Promise<{ ids: Int32Array; logProbs: Float32Array }> =>
  (await model.generate([prompt], { maxNewTokens: 24, temperature: 0, stopIds: [] }))[0]![0]!;

/** Attaches an adapter whose two sides are not zero, and gives the gradients of a mean log-probability. */
async function adapterGradients(model: QwenVl, prompt: Prompt, completions: readonly ArrayLike<number>[]): Promise<Float32Array> {
  await model.attachLora({ r: 4, alpha: 8 }, { seed: 3 });
  const set = model.trainable();
  const values = await set.readValues();
  set.assignAll(values.map((one, k) => one.map((value, i) => (value === 0 ? 0.02 * Math.sin(7 * i + k) : value))));
  await model.logProbsWithGradient(prompt, completions, { gradient: (logProbs) => ({ loss: 0, dLogProbs: logProbs.map((one) => one.map(() => -1 / one.length)) }) });
  return Float32Array.from((await set.readGradients()).flatMap((one) => [...one]));
}

describe("matrices in bfloat16", () => {
  it("take half the memory, answer as float32 does within the rounding, and are given back", async ({ skip }) => {
    skip(ref.backend === "wasm", NATIVE);
    const before = handles();
    const [wide, narrow] = [await ref.load({}, DEMO), await ref.load({ dtype: "bfloat16" }, DEMO)];
    expect(narrow.info.dtype).toBe("bfloat16");
    expect(narrow.info.weightBytes / wide.info.weightBytes).toBeLessThan(0.503);
    const prompt = wide.prepare([{ role: "user", content: "How good is it?" }]);
    expect(relativeDifference(await logits(narrow, prompt), await logits(wide, prompt))).toBeLessThan(2e-2);
    expect((await greedy(narrow, prompt)).ids).toEqual((await greedy(wide, prompt)).ids);
    narrow.dispose();
    wide.dispose();
    expect(handles()).toBe(before);
  });

  it("are those of the file, and rounded to nearest even from wider files", async ({ skip }) => {
    skip(ref.backend === "wasm", NATIVE);
    await ref.model.saveMerged(join(folder, "rounded"), { dtype: "bfloat16" });
    const bytes = await readFile(join(folder, "rounded", "model.safetensors"));
    for (const [from, to] of [[golden("model"), "from-float32"], [join(folder, "rounded"), "from-bfloat16"]] as const) {
      const model = await ref.load({ dtype: "bfloat16" }, from);
      await model.saveMerged(join(folder, to));
      model.dispose();
      expect((await readFile(join(folder, to, "model.safetensors"))).equals(bytes)).toBe(true);
    }
  });

  it("widened for their products give what float32 gives, gradients included", async ({ skip }) => {
    skip(ref.backend === "wasm", NATIVE);
    await ref.model.saveMerged(join(folder, "same"), { dtype: "bfloat16" });
    const [wide, narrow] = [await ref.load({}, join(folder, "same")), await ref.load({ dtype: "bfloat16", products: "float32" }, join(folder, "same"))];
    expect(relativeDifference(await logits(narrow, ref.second), await logits(wide, ref.second))).toBeLessThan(1e-6);
    const [expected, found] = [await adapterGradients(wide, ref.second, ref.completions), await adapterGradients(narrow, ref.second, ref.completions)];
    expect(relativeDifference(found, expected)).toBeLessThan(1e-5);
    expect((await greedy(narrow, ref.second)).ids).toEqual((await greedy(wide, ref.second)).ids);
    wide.dispose();
    narrow.dispose();
  });

  it("carry float32 adapters: gradients near those of float32, generation as scoring, merged and back", async ({ skip }) => {
    skip(ref.backend === "wasm", NATIVE);
    const [wide, narrow] = [await ref.load(), await ref.load({ dtype: "bfloat16" })];
    const before = await logits(narrow, ref.second);
    const [expected, found] = [await adapterGradients(wide, ref.second, ref.completions), await adapterGradients(narrow, ref.second, ref.completions)];
    expect(relativeDifference(found, expected)).toBeLessThan(3e-2);
    const { ids, logProbs } = await greedy(narrow, ref.second);
    expect(difference((await narrow.logProbs(ref.second, [ids])).logProbs[0]!, logProbs)).toBeLessThan(1e-3);
    const attached = await logits(narrow, ref.second);
    const held = handles();
    await narrow.mergeLora();
    expect(relativeDifference(await logits(narrow, ref.second), attached)).toBeLessThan(4e-2);
    expect(await logits(narrow, ref.second, "none")).toEqual(before);
    await narrow.unmergeLora();
    expect(await logits(narrow, ref.second)).toEqual(attached);
    expect(await logits(narrow, ref.second, "none")).toEqual(before);
    expect(handles()).toBeLessThanOrEqual(held);
    wide.dispose();
    narrow.dispose();
  });

  it("are not trained, norms and biases are", async ({ skip }) => {
    skip(ref.backend === "wasm", NATIVE);
    const model = await ref.load({ dtype: "bfloat16" });
    expect(() => model.trainable(/q_proj/u)).toThrow("q_proj.weight is kept in bfloat16");
    const set = model.trainable(/norm|bias/u);
    await model.logProbsWithGradient(ref.second, ref.completions, { gradient: (logProbs) => ({ loss: 0, dLogProbs: logProbs.map((one) => one.map(() => -1)) }) });
    expect(await set.gradientNorm()).toBeGreaterThan(0);
    model.dispose();
  });
});
