import { afterAll, beforeAll, expect, it } from "vitest";
import { golden, goldenJson, goldenTensors } from "./goldens.ts";
import { difference, loadReference, relativeDifference, type Reference } from "./support.ts";

let ref: Reference;

beforeAll(async () => {
  ref = await loadReference("wasm");
});
afterAll(() => {
  ref.model.dispose();
});

it("gives the reference's features, logits and log-probabilities on wasm", async () => {
  expect(ref.backend).toBe("wasm");
  const features = await ref.model.encodeVideos(ref.items);
  const flat = Float32Array.from((await Promise.all(features.map((f) => f.tensor.data()))).flatMap((v) => [...v]));
  expect(difference(flat, ref.features)).toBeLessThan(5e-5);
  const prompt = { ...ref.prompt, features };
  const before = ref.tf.memory().numTensors;
  const rows = [0, 100, 311];
  const result = await ref.model.forward({ ...ref.whole, features }, { rows });
  const all = ref.text["logits_qwen"]!.values as Float32Array;
  expect(difference(await result.logits.data(), Float32Array.from(rows.flatMap((row) => [...all.subarray(row * 1024, (row + 1) * 1024)])))).toBeLessThan(1e-4);
  result.dispose();
  const { logProbs } = await ref.model.logProbs(prompt, ref.completions);
  const expected = await goldenTensors("scores.safetensors");
  logProbs.forEach((values, i) => {
    expect(difference(values, expected[`logp_T1.0_${i}`]!.values)).toBeLessThan(1e-4);
  });
  expect(ref.tf.memory().numTensors).toBe(before);
  for (const f of features) f.dispose();
});

it("decodes greedily on wasm", async () => {
  const { ids } = goldenJson<{ runs: { name: string; ids: number[] }[] }>("generate.json").runs.find((r) => r.name === "second_greedy")!;
  const before = ref.tf.memory().numTensors;
  const [samples] = await ref.model.generate([ref.second], { maxNewTokens: ids.length, temperature: 0, stopIds: [], allowAll: true });
  expect([...samples![0]!.ids]).toEqual(ids);
  expect(ref.tf.memory().numTensors).toBe(before);
});

it("gives the reference's adapter gradients on wasm", async () => {
  const { gradient_names: modules } = goldenJson<{ gradient_names: string[] }>("lora.json");
  const expected = await goldenTensors("lora.safetensors");
  const adapter = await ref.model.attachLora(golden("adapter"));
  const set = ref.model.trainable();
  const before = ref.tf.memory().numTensors;
  await ref.model.logProbsWithGradient(ref.prompt, ref.completions.slice(0, 1), {
    gradient: ([values]) => ({ loss: 0, dLogProbs: [new Float32Array(values!.length).fill(-1 / values!.length)] }),
  });
  expect(ref.tf.memory().numTensors).toBe(before);
  for (const module of modules) {
    for (const side of ["A", "B"]) {
      const name = `${module}.lora_${side}.weight`;
      expect(relativeDifference(await set.gradient(name)!.data(), expected[`f64/${name}`]!.values), name).toBeLessThan(1e-4);
    }
  }
  set.dispose();
  adapter.dispose();
});

it("refuses matrices in bfloat16 on wasm", async () => {
  await expect(ref.load({ dtype: "bfloat16" })).rejects.toMatchObject({ name: "QwenVlError", code: "BFLOAT16_UNAVAILABLE" });
});
