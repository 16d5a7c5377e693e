import { describe, expect, it } from "vitest";
import { goldenJson, goldenTensors } from "../goldens.ts";
import { leakFree, relativeDifference, type Reference } from "../support.ts";
import { lossOf } from "./loss-of.ts";

interface GradGolden {
  advantages: number[];
  group_temperature: number;
  losses: Record<string, number>;
  names: string[];
}

/** Gradients of weights and adapters. */
export function gradientTests(ref: Reference): void {
  const { model } = ref;
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
        const { loss } = await leakFree(ref, () => model.logProbsWithGradient(ref.prompt, completions, { temperature, gradient: lossOf(weights) }));
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
      const frugal = await ref.load({ keepBytes: 0, queryChunk: 7, logitsChunk: 16, vocabChunk: 100 });
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

    it("that stop at the prefix are those of all that the prompt's keys and values do not depend on, and reach neither prompt nor tower", async () => {
      const select = /embed_tokens|layers\.\d\.self_attn\.[qk]_proj\.weight|layers\.1\.mlp\.|language_model\.norm|merger/u;
      const completions = [[21, 22, 23], [24]];
      const run = async (options: { stopPrefixGradient?: boolean; keepBytes?: number }) => {
        const own = await ref.load(options);
        const set = own.trainable(select);
        const { logProbs } = await leakFree(ref, () => own.logProbsWithGradient(ref.second, completions, { ...options, gradient: lossOf([-1, 0.6]) }));
        const gradients = new Map((await set.readGradients()).map((values, i) => [set.names[i]!, values]));
        own.dispose();
        return { logProbs, gradients };
      };
      const flowing = await run({});
      const stopped = await run({ stopPrefixGradient: true });
      const frugal = await run({ stopPrefixGradient: true, keepBytes: 0 });
      expect(frugal).toEqual(stopped);
      expect(stopped.logProbs).toEqual(flowing.logProbs);
      for (const [name, values] of stopped.gradients) {
        const all = flowing.gradients.get(name)!;
        if (/layers\.1\.(?:mlp|self_attn\.q_proj)|language_model\.norm/u.test(name)) expect(relativeDifference(values, all), name).toBeLessThan(1e-5);
        else if (name.includes("merger")) expect(values.every((value) => value === 0), name).toBe(true);
        else expect(relativeDifference(values, all), name).toBeGreaterThan(1e-3);
      }
      const [embedding, allEmbedding] = [stopped, flowing].map(({ gradients }) => gradients.get("model.language_model.embed_tokens.weight")!) as [Float32Array, Float32Array];
      const row = (values: Float32Array, id: number): Float32Array => values.subarray(id * 64, (id + 1) * 64);
      const last = ref.second.ids.at(-1)!;
      for (const id of [21, 22]) {
        expect(ref.second.ids).not.toContain(id);
        expect(relativeDifference(row(embedding, id), row(allEmbedding, id)), `token ${id}`).toBeLessThan(1e-5);
      }
      for (const id of ref.second.ids) if (id !== last) expect(row(embedding, id).every((value) => value === 0), `token ${id}`).toBe(true);
      expect(row(embedding, last).some((value) => value !== 0)).toBe(true);
    });

    it.each([{}, { stopPrefixGradient: true }])("are the same where completions are computed in chunks, %j", async (options) => {
      const completions = [[21, 22, 23], [24], [25, 26], [], [27, 28, 29, 30]];
      const own = await ref.load();
      const weights = own.trainable(/embed_tokens|layers\.\d\.(?:self_attn\.[kv]_proj|mlp\.up_proj|input_layernorm)|language_model\.norm|merger/u);
      const results = [];
      for (const completionChunk of [undefined, 1, 3, 9]) {
        weights.zeroGradients();
        const scoring = completionChunk === undefined ? {} : { completionChunk };
        const gradient = lossOf([-1, 0.6, 0.3, 0, -0.2]);
        const result = await leakFree(ref, () => own.logProbsWithGradient(ref.second, completions, { ...options, ...scoring, entropy: true, temperature: 0.8, gradient: (logProbs) => gradient(logProbs) }));
        const alone = await own.logProbs(ref.second, completions, { ...scoring, entropy: true, temperature: 0.8 });
        results.push({ result, alone, gradients: await weights.readGradients() });
      }
      const [whole, ...chunked] = results;
      for (const { result, alone, gradients } of chunked) {
        for (const { logProbs, entropy } of [result, alone]) {
          logProbs.forEach((row, i) => { if (row.length > 0) expect(relativeDifference(row, whole!.result.logProbs[i]!)).toBeLessThan(1e-5); });
          entropy!.forEach((row, i) => { if (row.length > 0) expect(relativeDifference(row, whole!.result.entropy![i]!)).toBeLessThan(1e-5); });
        }
        gradients.forEach((values, i) => {
          if (whole!.gradients[i]!.some((value) => value !== 0)) expect(relativeDifference(values, whole!.gradients[i]!), weights.names[i]).toBeLessThan(1e-5);
          else expect(values.every((value) => value === 0), weights.names[i]).toBe(true);
        });
      }
      await own.attachLora({ r: 2, alpha: 4, dropout: 0.3, targetModules: ["k_proj", "up_proj", "qkv"] });
      const adapter = own.trainable();
      adapter.assignAll((await adapter.readValues()).map((values, k) => values.map((value, i) => value + 0.05 * Math.cos(3 * i + k))));
      const dropped = async (scoring: { completionChunk?: number }): Promise<Float32Array[]> => {
        adapter.zeroGradients();
        await own.groupLogProbsWithGradient([{ prompt: ref.second, completions }, { prompt: ref.prompt, completions: [[5, 6]] }], {
          ...options, ...scoring, dropoutSeed: 7, gradient: (logProbs) => ({ loss: 1, dLogProbs: logProbs.map((group) => group.map((row) => row.map((_, i) => Math.cos(i)))) }),
        });
        return adapter.readGradients();
      };
      const all = await dropped({});
      (await dropped({ completionChunk: 2 })).forEach((values, i) => {
        if (all[i]!.some((value) => value !== 0)) expect(relativeDifference(values, all[i]!), adapter.names[i]).toBeLessThan(1e-5);
      });
      await expect(own.logProbs(ref.second, completions, { completionChunk: 0 })).rejects.toMatchObject({ code: "BAD_OPTION" });
      own.dispose();
    });

    it("repeat bit by bit", async () => {
      const set = model.trainable(/layers\.0\.|merger|embed_tokens/u);
      const once = async (): Promise<Float32Array[]> => {
        set.zeroGradients();
        await model.logProbsWithGradient(ref.second, [[5, 6], [7]], { gradient: lossOf([-1, 0.5]) });
        return set.readGradients();
      };
      const first = await once();
      expect(Math.max(...first[0]!)).toBeGreaterThan(0);
      expect(await once()).toEqual(first);
      set.dispose();
    });

    it("come with a loud error when the logits are not finite", async () => {
      const own = await ref.load();
      const set = own.trainable(/language_model\.norm\.weight$/u);
      set.assignAll([new Float32Array(64).fill(Number.NaN)]);
      await leakFree(ref, () => expect(own.logProbs(ref.second, [[3]])).rejects.toThrow(/logits are not finite/));
      await leakFree(ref, () => expect(own.generate([ref.second], { maxNewTokens: 2 })).rejects.toThrow(/logits of prefill are not finite/));
      own.dispose();
      await expect(own.logProbs(ref.second, [[3]])).rejects.toThrow(/was disposed/);
    });

    it("refuse a loss that is not finite and leave nothing behind", async () => {
      const set = model.trainable(/layers\.1\.mlp\.down_proj\.weight$/u);
      const bad = { gradient: (p: Float32Array[]) => ({ loss: Number.NaN, dLogProbs: p }) };
      await leakFree(ref, () => expect(model.logProbsWithGradient(ref.second, [[3, 4]], bad)).rejects.toThrow(/the loss is NaN/));
      expect(await set.gradientNorm()).toBe(0);
      set.dispose();
    });
  });
}
