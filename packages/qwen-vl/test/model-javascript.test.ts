import { loadTensorFlow } from "@dramascope/tensorflow";
import { afterAll, beforeAll, expect, it } from "vitest";
import { golden, goldenJson, goldenTensors } from "./goldens.ts";
import { lossOf } from "./model/loss-of.ts";
import { difference, leakFree, loadReference, relativeDifference, type Reference } from "./support.ts";

let ref: Reference;

beforeAll(async () => {
  const loaded = await loadTensorFlow({ prefer: "wasm" });
  await loaded.tf.setBackend("cpu");
  ref = await loadReference(loaded);
});
afterAll(() => {
  ref.model.dispose();
});

it("gives the reference's features, logits, loss and adapter gradients on TensorFlow.js's own JavaScript", async () => {
  expect(ref.tf.getBackend()).toBe("cpu");
  const features = await ref.model.encodeVideos(ref.items);
  const flat = Float32Array.from((await Promise.all(features.map((one) => one.tensor.data()))).flatMap((values) => [...values]));
  expect(difference(flat, ref.features)).toBeLessThan(5e-5);
  const prompt = { ...ref.prompt, features };
  await leakFree(ref, async () => {
    const result = await ref.model.forward(prompt, { completion: ref.completions[0]!, rows: "all" });
    expect(difference(await result.logits.data(), ref.text["logits_qwen"]!.values)).toBeLessThan(1e-4);
    result.dispose();
  });
  const adapter = await ref.model.attachLora(golden("adapter"));
  const set = ref.model.trainable();
  const { loss } = await leakFree(ref, () => ref.model.logProbsWithGradient(prompt, ref.completions.slice(0, 1), { gradient: lossOf([-1]) }));
  const about = goldenJson<{ loss_f64: number; gradient_names: string[] }>("lora.json");
  expect(Math.abs(loss - about.loss_f64)).toBeLessThan(2e-5);
  const expected = await goldenTensors("lora.safetensors");
  for (const name of about.gradient_names.flatMap((module) => ["A", "B"].map((side) => `${module}.lora_${side}.weight`))) {
    expect(relativeDifference(await set.gradient(name)!.data(), expected[`f64/${name}`]!.values), name).toBeLessThan(1e-4);
  }
  adapter.dispose();
  for (const one of features) one.dispose();
});

it("decodes greedily as the reference on TensorFlow.js's own JavaScript", async () => {
  const { ids } = goldenJson<{ runs: { name: string; ids: number[] }[] }>("generate.json").runs.find(({ name }) => name === "second_greedy")!;
  const [samples] = await leakFree(ref, () => ref.model.generate([ref.second], { maxNewTokens: ids.length, temperature: 0, stopIds: [], allowAll: true }));
  expect([...samples![0]!.ids]).toEqual(ids);
});
