import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { golden, goldenJson, goldenTensors } from "../goldens.ts";
import { difference, relativeDifference, type Reference } from "../support.ts";
import { lossOf } from "./loss-of.ts";

interface LoraGolden {
  loss_f64: number;
  gradient_names: string[];
  targets: string[];
}

/** Low-rank adapters, attached and merged. */
export function adapterTests(ref: Reference): void {
  describe("adapters", () => {
    it("equal the reference attached, off, merged and unmerged", async () => {
      const about = goldenJson<LoraGolden>("lora.json");
      const expected = await goldenTensors("lora.safetensors");
      const own = await ref.load();
      const base = await own.logProbs(ref.prompt, ref.completions);
      const adapter = await own.attachLora(golden("adapter"));
      expect([...adapter.modules].sort()).toEqual(about.targets);
      expect(adapter.hasEffect).toBe(true);

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
        expect(adapter.hasEffect).toBe(false);
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
}
