import { copyFile, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSafetensors, QwenVlError, writeSafetensors, type LoadOptions, type NamedArray, type Prompt, type QwenVl } from "@dramascope/qwen-vl";
import { golden, goldenJson, goldenTensors } from "./goldens.ts";
import { difference, loadReference, relativeDifference, type Reference } from "./support.ts";

let ref: Reference;
let model: QwenVl;

beforeAll(async () => {
  ref = await loadReference();
  model = ref.model;
  if (ref.backend === "wasm") process.stdout.write("no native TensorFlow on this machine: these tests run on wasm\n");
});
afterAll(() => {
  const before = ref.tf.memory().numTensors;
  model.dispose();
  model.dispose();
  expect(ref.tf.memory().numTensors).toBeLessThan(before);
});

/** Runs an action and expects the tensor count unchanged. */
async function leakFree<T>(action: () => Promise<T>): Promise<T> {
  const before = ref.tf.memory().numTensors;
  const result = await action();
  expect(ref.tf.memory().numTensors).toBe(before);
  return result;
}

interface Run {
  name: string;
  ids: number[];
  forbidden_ids?: number[];
  stop_ids?: number[];
}

describe("vision", () => {
  it("gives the reference's features, encoded together or one by one", async () => {
    const together = await leakFree(async () => {
      const features = await model.encodeVideos(ref.items);
      const values = await Promise.all(features.map((f) => f.tensor.data()));
      for (const f of features) f.dispose();
      return values;
    });
    const flat = Float32Array.from(together.flatMap((v) => [...v]));
    expect(difference(flat, ref.features)).toBeLessThan(5e-5);
    const [alone] = await model.encodeVideos([ref.items[1]!]);
    expect(difference(await alone!.tensor.data(), together[1]!)).toBeLessThan(1e-5);
    alone!.dispose();
  });

  it("batches items of one grid", async () => {
    const many = await model.encodeVideos([ref.items[1]!, ref.items[0]!, ref.items[1]!, ref.items[1]!]);
    const values = await Promise.all(many.map((f) => f.tensor.data()));
    expect(difference(values[0]!, ref.features.subarray(ref.features.length - values[0]!.length))).toBeLessThan(5e-5);
    expect(difference(values[3]!, values[0]!)).toBeLessThan(1e-5);
    expect(difference(values[1]!, ref.features.subarray(0, values[1]!.length))).toBeLessThan(5e-5);
    for (const f of many) f.dispose();
  });
});

describe("logits", () => {
  const logitsOf = async (m: QwenVl, prompt: Prompt, options: Parameters<QwenVl["forward"]>[1] = {}): Promise<Float32Array> =>
    leakFree(async () => {
      const result = await m.forward(prompt, options);
      const values = (await result.logits.data()) as Float32Array;
      result.dispose();
      return values;
    });

  it("equal the reference on all rows and repeat bit by bit", async () => {
    const first = await logitsOf(model, ref.whole, { rows: "all" });
    const worst = difference(first, ref.text["logits_qwen"]!.values);
    expect(worst).toBeLessThan(1e-4);
    expect(await logitsOf(model, ref.whole, { rows: "all" })).toEqual(first);
  });

  it("take a completion, other positions and chosen rows", async () => {
    const tail = ref.text["logits_hf5_tail"]!;
    const at = ref.prompt.ids.length - 1;
    const rows = Array.from({ length: tail.shape[0]! }, (_, i) => at + i);
    const positionIds = Int32Array.from(ref.text["position_ids_hf5"]!.values);
    expect(difference(await logitsOf(model, ref.prompt, { completion: ref.completions[0]!, rows, positionIds }), tail.values)).toBeLessThan(1e-4);
    expect(difference(await logitsOf(model, ref.hf5, { completion: ref.completions[0]!, rows }), tail.values)).toBeLessThan(1e-4);
  });

  it("equal the reference for an image, with features given or not", async () => {
    const expected = ref.text["second_logits_qwen_last"]!.values;
    expect(difference(await logitsOf(model, ref.second), expected)).toBeLessThan(1e-4);
    const features = await model.encodeVideos(ref.second.vision);
    expect(difference(await logitsOf(model, { ...ref.second, features }), expected)).toBeLessThan(1e-4);
    for (const f of features) f.dispose();
  });

  it("give a token the same logits whatever follows it", async () => {
    const long = ref.model.prepare([{ role: "user", content: "one two three ".repeat(150) }]);
    const [all, part] = [long.ids.length, 60];
    expect(all).toBeGreaterThan(400);
    const short = { ...long, ids: long.ids.slice(0, part), positionIds: Int32Array.from({ length: 3 * part }, (_, i) => i % part), segments: [{ text: part }], nextPosition: part };
    const few = await logitsOf(model, short, { rows: "all" });
    const many = await logitsOf(model, long, { rows: "all" });
    expect(difference(many.subarray(0, few.length), few)).toBeLessThan(1e-4);
  });

  it("agree for small chunks and for the folder with new names", async () => {
    const whole = await logitsOf(model, ref.whole, { rows: "all" });
    const chunked = await ref.load({ queryChunk: 7, logitsChunk: 5 });
    expect(difference(await logitsOf(chunked, ref.whole, { rows: "all" }), whole)).toBeLessThan(1e-4);
    chunked.dispose();
    const renamed = await ref.load({}, golden("model-new"));
    expect(await logitsOf(renamed, ref.whole, { rows: "all" })).toEqual(whole);
    renamed.dispose();
  });

  it("refuse prompts whose vision tokens do not fit", async () => {
    await leakFree(() => expect(model.forward({ ...ref.prompt, vision: ref.items.slice(1) })).rejects.toThrow(/204 vision tokens in the text, 24 features from 1 items/));
    await leakFree(() => expect(model.forward({ ...ref.prompt, vision: [ref.items[1]!, { ...ref.items[1]!, patches: new Uint8Array(3) }] })).rejects.toThrow(QwenVlError));
  });
});

describe("log-probabilities", () => {
  it("equal the reference at two temperatures, with entropy", async () => {
    const expected = await goldenTensors("scores.safetensors");
    for (const temperature of [1, 0.7]) {
      const { logProbs, entropy } = await leakFree(() => model.logProbs(ref.prompt, ref.completions, { temperature, entropy: true }));
      const name = temperature.toFixed(1);
      logProbs.forEach((values, i) => {
        expect(difference(values, expected[`logp_T${name}_${i}`]!.values)).toBeLessThan(1e-4);
        expect(difference(entropy![i]!, expected[`entropy_T${name}_${i}`]!.values)).toBeLessThan(2e-4);
      });
    }
  });

  it("are the same for a group and for single completions", async () => {
    const together = await model.logProbs(ref.prompt, ref.completions);
    for (const [i, completion] of ref.completions.entries()) {
      const alone = await model.logProbs(ref.prompt, [completion]);
      expect(difference(alone.logProbs[0]!, together.logProbs[i]!)).toBeLessThan(2e-5);
    }
    expect((await model.logProbs(ref.prompt, ref.completions)).logProbs).toEqual(together.logProbs);
    expect((await model.logProbs(ref.prompt, [])).logProbs).toEqual([]);
    expect((await model.logProbs(ref.prompt, [[], [7]])).logProbs.map((v) => v.length)).toEqual([0, 1]);
  });

  it("are the same for several groups in one pass", async () => {
    const groups = [
      { prompt: ref.prompt, completions: ref.completions },
      { prompt: ref.second, completions: [[5, 6, 7]] },
    ];
    const { logProbs } = await leakFree(() => model.groupLogProbs(groups));
    for (const [g, { prompt, completions }] of groups.entries()) {
      const alone = await model.logProbs(prompt, completions);
      alone.logProbs.forEach((values, i) => {
        expect(difference(logProbs[g]![i]!, values)).toBeLessThan(2e-5);
      });
    }
  });

  it("refuse ids outside the vocabulary and sequences that are too long", async () => {
    await leakFree(() => expect(model.logProbs(ref.prompt, [[5, 1024]])).rejects.toThrow(/token 1 is 1024/));
    await leakFree(() => expect(model.logProbs(ref.prompt, [new Array<number>(5000).fill(1)])).rejects.toThrow(/4096 positions/));
  });
});

interface GradGolden {
  advantages: number[];
  group_temperature: number;
  losses: Record<string, number>;
  names: string[];
}

/** Mean negative log-likelihood, or the weighted group loss, with its derivative. */
const lossOf = (weights: number[]) => (logProbs: Float32Array[]) => {
  let loss = 0;
  const dLogProbs = logProbs.map((values, i) => {
    const each = weights[i]! / values.length;
    for (const value of values) loss += each * value;
    return new Float32Array(values.length).fill(each);
  });
  return { loss, dLogProbs };
};

describe("gradients", () => {
  it("equal the reference for decoder, embedding, norms and tower", async () => {
    const about = goldenJson<GradGolden>("grads.json");
    const expected = await goldenTensors("grads.safetensors");
    const rows = Array.from(expected["embedding_rows"]!.values);
    const escaped = about.names.map((name) => name.replaceAll(".", "\\."));
    const set = model.trainable(new RegExp(`^(${escaped.join("|")})$`, "u"));
    expect([...set.names].sort()).toEqual([...about.names].sort());
    const cases = [
      { name: "nll", completions: ref.completions.slice(0, 1), weights: [-1], temperature: 1 },
      { name: "group", completions: ref.completions, weights: about.advantages.map((a) => -a / 3), temperature: about.group_temperature },
    ];
    for (const { name, completions, weights, temperature } of cases) {
      set.zeroGradients();
      const { loss } = await leakFree(() => model.logProbsWithGradient(ref.prompt, completions, { temperature, gradient: lossOf(weights) }));
      expect(Math.abs(loss - about.losses[`${name}_f64`]!)).toBeLessThan(2e-5);
      let compared = 0;
      for (const parameter of about.names) {
        const gold = expected[`${name}/f64/${parameter}`];
        if (gold === undefined) continue;
        const all = await set.gradient(parameter)!.data();
        const own = parameter.includes("embed_tokens") ? Float32Array.from(rows.flatMap((row) => [...all.subarray(row * 64, (row + 1) * 64)])) : all;
        expect(relativeDifference(own, gold.values), parameter).toBeLessThan(1e-4);
        compared++;
      }
      expect(compared).toBeGreaterThan(10);
    }
    const once = await set.readGradients();
    const frugal = await ref.load({ keepBytes: 0, queryChunk: 7, logitsChunk: 16 });
    const same = frugal.trainable(new RegExp(`^(${escaped.join("|")})$`, "u"));
    const group = cases[1]!;
    await frugal.logProbsWithGradient(ref.prompt, group.completions, { temperature: group.temperature, gradient: lossOf(group.weights) });
    (await same.readGradients()).forEach((values, i) => {
      expect(relativeDifference(values, once[i]!), same.names[i]).toBeLessThan(1e-5);
    });
    frugal.dispose();
    await model.logProbsWithGradient(ref.prompt, ref.completions, { temperature: about.group_temperature, gradient: lossOf(about.advantages.map((a) => -a / 3)) });
    set.scaleGradients(0.5);
    (await set.readGradients()).forEach((values, i) => {
      expect(relativeDifference(values, once[i]!)).toBeLessThan(1e-5);
    });
    set.dispose();
  });

  it("add up over groups, for adapters of decoder and tower, alone or in one pass", async () => {
    const own = await ref.load();
    await own.attachLora({ r: 2, alpha: 4, targetModules: ["qkv", "mlp.2", "o_proj", "up_proj"] }, { seed: 5 });
    const set = own.trainable();
    expect(set.names.filter((n) => n.startsWith("model.visual.")).length).toBe(2 * (3 + 3 + 1));
    const start = await set.readValues();
    set.assignAll(start.map((v, i) => v.map((x, j) => x + 0.05 * Math.cos(i + 3 * j))));
    const groups = [
      { prompt: ref.second, completions: [[5, 6, 7], [9]] },
      { prompt: ref.second, completions: [[11, 12]] },
    ];
    const loss = lossOf([-0.5, 0.7]);
    for (const { prompt, completions } of groups) await own.logProbsWithGradient(prompt, completions, { gradient: loss });
    const apart = await set.readGradients();
    set.zeroGradients();
    const together = await own.groupLogProbsWithGradient(groups, {
      gradient: (logProbs) => {
        const parts = logProbs.map(loss);
        return { loss: parts[0]!.loss + parts[1]!.loss, dLogProbs: parts.map((p) => p.dLogProbs) };
      },
    });
    const sums = await set.readGradients();
    sums.forEach((values, i) => {
      expect(relativeDifference(values, apart[i]!), set.names[i]).toBeLessThan(1e-4);
    });

    // Along the gradient the loss falls as fast as its square norm says.
    const values = await set.readValues();
    const lossAt = async (step: number): Promise<number> => {
      set.assignAll(values.map((v, i) => v.map((x, j) => x + step * sums[i]![j]!)));
      const { logProbs } = await own.groupLogProbs(groups);
      return logProbs.map(loss).reduce((sum, part) => sum + part.loss, 0);
    };
    const norm = await set.gradientNorm();
    const step = 2e-3 / norm;
    const slope = ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
    expect(Math.abs(slope / norm ** 2 - 1)).toBeLessThan(2e-2);
    expect(Number.isFinite(together.loss)).toBe(true);
    own.dispose();
  });

  it("come with a loud error when the logits are not finite", async () => {
    const own = await ref.load();
    const set = own.trainable(/language_model\.norm\.weight$/u);
    set.assignAll([new Float32Array(64).fill(Number.NaN)]);
    await leakFree(() => expect(own.logProbs(ref.second, [[3]])).rejects.toThrow(/logits are not finite/));
    await leakFree(() => expect(own.generate([ref.second], { maxNewTokens: 2 })).rejects.toThrow(/logits of prefill are not finite/));
    own.dispose();
    await expect(own.logProbs(ref.second, [[3]])).rejects.toThrow(/was disposed/);
  });

  it("refuse a loss that is not finite and leave nothing behind", async () => {
    const set = model.trainable(/layers\.1\.mlp\.down_proj\.weight$/u);
    const bad = { gradient: (p: Float32Array[]) => ({ loss: Number.NaN, dLogProbs: p }) };
    await leakFree(() => expect(model.logProbsWithGradient(ref.second, [[3, 4]], bad)).rejects.toThrow(/the loss is NaN/));
    expect(await set.gradientNorm()).toBe(0);
    set.dispose();
  });
});

interface LoraGolden {
  loss_f64: number;
  gradient_names: string[];
  targets: string[];
}

describe("adapters", () => {
  it("equal the reference attached, off, merged and unmerged", async () => {
    const about = goldenJson<LoraGolden>("lora.json");
    const expected = await goldenTensors("lora.safetensors");
    const own = await ref.load();
    const base = await own.logProbs(ref.prompt, ref.completions);
    const adapter = await own.attachLora(golden("adapter"));
    expect([...adapter.modules].sort()).toEqual(about.targets);

    const { logProbs } = await own.logProbs(ref.prompt, ref.completions);
    logProbs.forEach((values, i) => {
      expect(difference(values, expected[i === 0 ? "logp" : `logp_${i}`]!.values)).toBeLessThan(1e-4);
    });
    expect(difference(base.logProbs[0]!, expected["logp_adapter_off"]!.values)).toBeLessThan(1e-4);
    expect((await own.logProbs(ref.prompt, ref.completions, { adapter: "none" })).logProbs).toEqual(base.logProbs);

    const set = own.trainable();
    expect(set.names.length).toBe(28);
    const { loss } = await own.logProbsWithGradient(ref.prompt, ref.completions.slice(0, 1), { gradient: lossOf([-1]) });
    expect(Math.abs(loss - about.loss_f64)).toBeLessThan(2e-5);
    for (const module of about.gradient_names) {
      for (const side of ["A", "B"]) {
        const name = `${module}.lora_${side}.weight`;
        expect(relativeDifference(await set.gradient(name)!.data(), expected[`f64/${name}`]!.values), name).toBeLessThan(1e-4);
      }
    }
    await expect(own.logProbsWithGradient(ref.prompt, [[1]], { adapter: "none", gradient: lossOf([1]) })).rejects.toThrow(/belongs to adapter/);

    const rows = Array.from(ref.completions[0]!, (_, i) => ref.prompt.ids.length - 1 + i);
    const read = async (): Promise<Float32Array> => {
      const result = await own.forward(ref.prompt, { completion: ref.completions[0]!, rows });
      const values = (await result.logits.data()) as Float32Array;
      result.dispose();
      return values;
    };
    const attached = await read();
    expect(difference(attached, expected["logits_completion"]!.values)).toBeLessThan(2e-4);
    await own.mergeLora();
    expect(difference(await read(), attached)).toBeLessThan(2e-4);
    expect(difference(await read(), expected["merged_logits_completion"]!.values)).toBeLessThan(2e-4);
    const merged = own.trainable(/layers\.0\.self_attn\.k_proj\.weight$/u);
    const [weight] = await merged.readValues();
    expect(difference(weight!, expected["merged/model.language_model.layers.0.self_attn.k_proj.weight"]!.values)).toBeLessThan(1e-6);
    merged.dispose();
    await own.unmergeLora();
    expect(await read()).toEqual(attached);
    own.setActiveAdapter("none");
    expect((await own.logProbs(ref.prompt, ref.completions)).logProbs).toEqual(base.logProbs);
    own.dispose();
  });

  it("survive saving and loading, and generate like their merged form", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-qwen-vl-"));
    const own = await ref.load();
    const before = ref.tf.memory().numTensors;
    try {
      const adapter = await own.attachLora({ r: 4, alpha: 8, rankPattern: { q_proj: 2 }, rslora: true }, { seed: 11, name: "fresh" });
      const set = own.trainable();
      const values = await set.readValues();
      expect(Math.max(...values[set.names.findIndex((n) => n.includes("lora_A"))]!.map(Math.abs))).toBeLessThanOrEqual(1 / 8);
      const changed = values.map((v, i) => v.map((x, j) => x + 0.02 * Math.sin(i + j)));
      set.assignAll(changed);
      expect(await set.readValues()).toEqual(changed);
      const scored = await own.logProbs(ref.second, [[5, 6, 7]]);
      await own.saveLora(join(folder, "saved"));
      own.setActiveAdapter("none");
      await own.attachLora(join(folder, "saved"));
      expect((await own.logProbs(ref.second, [[5, 6, 7]])).logProbs).toEqual(scored.logProbs);
      const [unmerged] = await own.generate([ref.second], { maxNewTokens: 8, temperature: 0 });
      await own.mergeLora();
      const [merged] = await own.generate([ref.second], { maxNewTokens: 8, temperature: 0 });
      expect(merged![0]!.ids).toEqual(unmerged![0]!.ids);
      await own.saveMerged(join(folder, "merged"), { shardBytes: 300_000, names: "new" });
      expect((await readdir(join(folder, "merged"))).filter((n) => n.endsWith(".safetensors")).length).toBeGreaterThan(2);
      const reloaded = await ref.load({}, join(folder, "merged"));
      expect(difference((await reloaded.logProbs(ref.second, [[5, 6, 7]])).logProbs[0]!, scored.logProbs[0]!)).toBeLessThan(1e-4);
      reloaded.dispose();
      await writeFile(join(folder, "merged", "thesis.docx"), "x");
      await expect(own.saveMerged(join(folder, "merged"))).rejects.toThrow(/holds more than a checkpoint: thesis\.docx/u);
      await own.unmergeLora();
      set.dispose();
      adapter.dispose();
    } finally {
      own.dispose();
      await rm(folder, { recursive: true });
    }
    expect(ref.tf.memory().numTensors).toBeLessThan(before);
  });
});

describe("generation", () => {
  const runs = goldenJson<{ runs: Run[] }>("generate.json").runs;
  const run = (name: string): Run => runs.find((r) => r.name === name)!;

  it("decodes greedily as the reference", async () => {
    const greedy = async (prompt: Prompt, name: string, options: Partial<Parameters<QwenVl["generate"]>[1]> = {}) => {
      const { ids, stop_ids: stopIds = [] } = run(name);
      const maxNewTokens = stopIds.length > 0 ? 32 : ids.length;
      const [samples] = await leakFree(() => model.generate([prompt], { maxNewTokens, temperature: 0, stopIds, allowAll: true, ...options }));
      expect([...samples![0]!.ids], name).toEqual(ids);
      return samples![0]!;
    };
    expect((await greedy(ref.prompt, "greedy")).finishReason).toBe("length");
    await greedy(ref.prompt, "greedy_forbidden", { allowAll: false });
    await greedy(ref.hf5, "greedy_hf5");
    await greedy(ref.hf5, "greedy_hf5_penalty", { repetitionPenalty: 1.3 });
    expect((await greedy(ref.prompt, "greedy_stop")).finishReason).toBe("stop");
    await greedy(ref.second, "second_greedy");
  });

  it("samples as the reference; a batch equals single runs", async () => {
    const { samples } = run("sampled") as unknown as { samples: { ids: number[]; logp: number[] }[] };
    const options = { maxNewTokens: 16, temperature: 1.1, topK: 30, topP: 0.92, repetitionPenalty: 1.05, seed: 20260108, stopIds: [] };
    const [batch] = await leakFree(() => model.generate([ref.prompt], { ...options, n: 3 }));
    batch!.forEach(({ ids, logProbs }, i) => {
      expect([...ids]).toEqual(samples[i]!.ids);
      expect(difference(logProbs, samples[i]!.logp)).toBeLessThan(2e-4);
    });
    const [narrow] = await model.generate([ref.prompt], { ...options, n: 3, maxRows: 1 });
    expect(narrow!.map((s) => [...s.ids])).toEqual(batch!.map((s) => [...s.ids]));
    expect((await model.generate([ref.prompt], { ...options, n: 3 }))[0]).toEqual(batch);
  });

  it("gives the log-probabilities that scoring gives, over prompts of unequal length and rows that finish early", async () => {
    const texts = new Map<string, string>();
    const options = { maxNewTokens: 80, n: 4, seed: 3, stopIds: [693, 875, 404, 396, 321] };
    const all = await leakFree(() =>
      model.generate([ref.second, ref.prompt, ref.second], {
        ...options,
        onToken: ({ prompt, sample, text }) => texts.set(`${prompt}/${sample}`, (texts.get(`${prompt}/${sample}`) ?? "") + text),
      }),
    );
    expect(new Set(all.flat().map((s) => s.ids.length)).size).toBeGreaterThan(3);
    for (const [p, prompt] of [ref.second, ref.prompt, ref.second].entries()) {
      const { logProbs } = await model.logProbs(prompt, all[p]!.map((s) => s.ids));
      all[p]!.forEach((sample, i) => {
        expect(difference(sample.logProbs, logProbs[i]!)).toBeLessThan(1e-4);
        expect(sample.finishReason).toBe(sample.ids.length === 80 && !options.stopIds.includes(sample.ids.at(-1)!) ? "length" : "stop");
        if (!sample.text.endsWith("\uFFFD")) expect(texts.get(`${p}/${i}`)).toBe(sample.text);
      });
    }
    const [alone] = await model.generate([ref.second], { ...options, n: 1 });
    expect([...alone![0]!.ids]).toEqual([...all[0]![0]!.ids]);
  });

  it("stops when told to, and refuses prompts that are too long", async () => {
    const controller = new AbortController();
    let tokens = 0;
    const [samples] = await leakFree(() =>
      model.generate([ref.second], { maxNewTokens: 50, stopIds: [], signal: controller.signal, onToken: () => { if (++tokens === 3) controller.abort(); } }),
    );
    expect(samples![0]!.finishReason).toBe("abort");
    expect(samples![0]!.ids.length).toBe(3);
    await leakFree(() => expect(model.generate([ref.prompt], { maxNewTokens: 4000 })).rejects.toThrow(/exceeds the 4096 positions/));
    expect(() => model.setActiveAdapter("nobody")).toThrow(/no adapter "nobody"/);
    await leakFree(() => expect(model.generate([ref.prompt], { maxNewTokens: 0 })).rejects.toThrow(/maxNewTokens/));
  });
});

describe("loading", () => {
  it("reports what it read and honours an abort", async () => {
    expect(model.info.parameters).toBe(283_180);
    const seen: number[] = [];
    const controller = new AbortController();
    const before = ref.tf.memory().numTensors;
    const loading = ref.load({ signal: controller.signal, onProgress: ({ loadedBytes, totalBytes }) => { seen.push(loadedBytes / totalBytes); if (seen.length === 3) controller.abort(); } });
    await expect(loading).rejects.toThrow();
    expect(seen.length).toBe(3);
    expect(ref.tf.memory().numTensors).toBe(before);
  });

  it("names the folder that is not there", async () => {
    await expect(ref.load({}, join(tmpdir(), "dramascope-no-such-model"))).rejects.toThrow(/config\.json cannot be read/);
  });

  it("names missing, unknown and misshapen tensors and leaves nothing behind", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-qwen-vl-"));
    const file = await openSafetensors(golden("model-new/model.safetensors"));
    const before = ref.tf.memory().numTensors;
    try {
      const all: NamedArray[] = [];
      for (const name of file.names) all.push({ name, shape: file.info(name).shape, values: (await file.read(name)).values as Float32Array });
      await copyFile(golden("model-new/config.json"), join(folder, "config.json"));
      const loading = async (tensors: NamedArray[], options: Partial<LoadOptions> = {}): Promise<QwenVl> => {
        await writeSafetensors(join(folder, "model.safetensors"), tensors);
        return ref.load(options, folder);
      };
      const norm = "model.language_model.norm.weight";
      await expect(loading(all.filter(({ name }) => name !== norm))).rejects.toThrow(`lacks ${norm}`);
      const extra = [...all, { name: "model.surplus", shape: [1], values: new Float32Array(1) }];
      await expect(loading(extra)).rejects.toThrow(/unknown tensors model\.language_model\.surplus/);
      (await loading(extra, { strict: false })).dispose();
      const short = all.map((tensor) => (tensor.name === norm ? { ...tensor, shape: [32], values: tensor.values.subarray(0, 32) } : tensor));
      await expect(loading(short)).rejects.toThrow(/has shape \[32\], the configuration asks for \[64\]/);
      expect(ref.tf.memory().numTensors).toBe(before);
    } finally {
      await file.close();
      await rm(folder, { recursive: true });
    }
  });
});
