import { describe, expect, it, vi } from "vitest";
import type { Prompt, QwenVl } from "@dramascope/qwen-vl";
import { goldenJson } from "../goldens.ts";
import { difference, leakFree, type Reference } from "../support.ts";

interface Run {
  name: string;
  ids: number[];
  forbidden_ids?: number[];
  stop_ids?: number[];
}

/** Generated answers. */
export function generationTests(ref: Reference): void {
  const { model } = ref;
  describe("generation", () => {
    const runs = goldenJson<{ runs: Run[] }>("generate.json").runs;
    const run = (name: string): Run => runs.find((r) => r.name === name)!;

    it("decodes greedily as the reference", async () => {
      const greedy = async (prompt: Prompt, name: string, options: Partial<Parameters<QwenVl["generate"]>[1]> = {}) => {
        const { ids, stop_ids: stopIds = [] } = run(name);
        const maxNewTokens = stopIds.length > 0 ? 32 : ids.length;
        const [samples] = await leakFree(ref, () => model.generate([prompt], { maxNewTokens, temperature: 0, stopIds, allowAll: true, ...options }));
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

    it("decodes the tokens that forwards without a cache rate highest, operation by operation", async () => {
      const prompts = [ref.second, ref.prompt];
      const samples = await model.generate(prompts, { maxNewTokens: 10, temperature: 0, stopIds: [], allowAll: true });
      const uncached = await ref.load();
      vi.stubEnv("DRAMASCOPE_COMPILE", "off");
      try {
        for (const [p, prompt] of prompts.entries()) {
          const { ids } = samples[p]![0]!;
          for (let i = 0; i < ids.length; i++) {
            const result = await uncached.forward(prompt, { completion: ids.subarray(0, i) });
            const values = await result.logits.data();
            result.dispose();
            expect(values.indexOf(Math.max(...values)), `token ${i} of prompt ${p}`).toBe(ids[i]);
          }
        }
      } finally {
        vi.unstubAllEnvs();
      }
      uncached.dispose();
    });

    it("samples as the reference; a batch equals single runs", async () => {
      const { samples } = run("sampled") as unknown as { samples: { ids: number[]; logp: number[] }[] };
      const options = { maxNewTokens: 16, temperature: 1.1, topK: 30, topP: 0.92, repetitionPenalty: 1.05, seed: 20260108, stopIds: [] };
      const [batch] = await leakFree(ref, () => model.generate([ref.prompt], { ...options, n: 3 }));
      batch!.forEach(({ ids, logProbs }, i) => {
        expect([...ids]).toEqual(samples[i]!.ids);
        expect(difference(logProbs, samples[i]!.logp)).toBeLessThan(2e-4);
      });
      const [narrow] = await model.generate([ref.prompt], { ...options, n: 3, maxRows: 1 });
      expect(narrow!.map((s) => [...s.ids])).toEqual(batch!.map((s) => [...s.ids]));
      expect((await model.generate([ref.prompt], { ...options, n: 3 }))[0]).toEqual(batch);
    });

    it.each([{ temperature: 1.1 }, { temperature: 0 }, { topK: 40 }])("keeps the log-probabilities of watched ids in every place: %o", async (sampling) => {
      const watchIds = [7, 693, 0];
      const { temperature = 1 } = sampling;
      const [samples] = await leakFree(ref, () => model.generate([ref.prompt], { ...sampling, maxNewTokens: 6, n: 2, seed: 5, stopIds: [], watchIds }));
      for (const { ids, watched } of samples!) {
        const completions = Array.from(ids).flatMap((_, place) => watchIds.map((id) => [...ids.subarray(0, place), id]));
        const { logProbs } = await model.logProbs(ref.prompt, completions, { temperature: temperature || 1 });
        expect(difference(watched!, logProbs.map((one) => one.at(-1)!))).toBeLessThan(1e-4);
      }
      await expect(model.generate([ref.prompt], { maxNewTokens: 1, watchIds: [-1] })).rejects.toThrow(expect.objectContaining({ code: "BAD_OPTION" }) as Error);
    });

    it("gives the log-probabilities that scoring gives, over prompts of unequal length and rows that finish early", async () => {
      const texts = new Map<string, string>();
      const options = { maxNewTokens: 80, n: 4, seed: 3, stopIds: [693, 875, 404, 396, 321] };
      const all = await leakFree(ref, () =>
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
          expect(texts.get(`${p}/${i}`)).toBe(sample.text);
        });
      }
      const [alone] = await model.generate([ref.second], { ...options, n: 1 });
      expect([...alone![0]!.ids]).toEqual([...all[0]![0]!.ids]);
    });

    it("stops when told to, and refuses prompts that are too long", async () => {
      const controller = new AbortController();
      let tokens = 0;
      const [samples] = await leakFree(ref, () =>
        model.generate([ref.second], { maxNewTokens: 50, stopIds: [], signal: controller.signal, onToken: () => { if (++tokens === 3) controller.abort(); } }),
      );
      expect(samples![0]!.finishReason).toBe("abort");
      expect(samples![0]!.ids.length).toBe(3);
      await leakFree(ref, () => expect(model.generate([ref.prompt], { maxNewTokens: 4000 })).rejects.toThrow(/exceeds the 4096 positions/));
      expect(() => model.setActiveAdapter("nobody")).toThrow(/no adapter "nobody"/);
      await leakFree(ref, () => expect(model.generate([ref.prompt], { maxNewTokens: 0 })).rejects.toThrow(/maxNewTokens/));
    });
  });
}
