import { describe, expect, it } from "vitest";
import { goldenTensors } from "../goldens.ts";
import { difference, leakFree, type Reference } from "../support.ts";

/** Scores of completions. */
export function logProbTests(ref: Reference): void {
  const { model } = ref;
  describe("log-probabilities", () => {
    it("equal the reference at two temperatures, with entropy", async () => {
      const expected = await goldenTensors("scores.safetensors");
      for (const temperature of [1, 0.7]) {
        const { logProbs, entropy } = await leakFree(ref, () => model.logProbs(ref.prompt, ref.completions, { temperature, entropy: true }));
        const name = temperature.toFixed(1);
        logProbs.forEach((values, i) => {
          expect(difference(values, expected[`logp_T${name}_${i}`]!.values)).toBeLessThan(1e-4);
          expect(difference(entropy![i]!, expected[`entropy_T${name}_${i}`]!.values)).toBeLessThan(2e-4);
        });
      }
    });

    it("come with those of the most likely tokens", async () => {
      const [greedy] = (await model.generate([ref.prompt], { maxNewTokens: 6, temperature: 0 })).flat();
      const completions = [greedy!.ids, ...ref.completions];
      for (const completionChunk of [1, completions.length]) {
        const { logProbs, best } = await leakFree(ref, () => model.logProbs(ref.prompt, completions, { best: true, completionChunk }));
        expect(best![0]).toEqual(logProbs[0]);
        for (const [i, completion] of completions.entries()) {
          const forward = await model.forward(ref.prompt, { completion, rows: Array.from(completion, (_, t) => ref.prompt.ids.length - 1 + t) });
          const table = await forward.logits.array();
          forward.dispose();
          table.forEach((row, t) => expect(best![i]![t]! === logProbs[i]![t]!).toBe(row.indexOf(Math.max(...row)) === completion[t]));
        }
      }
      expect((await model.logProbs(ref.prompt, [[]], { best: true })).best).toEqual([new Float32Array()]);
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
      const { logProbs } = await leakFree(ref, () => model.groupLogProbs(groups));
      for (const [g, { prompt, completions }] of groups.entries()) {
        const alone = await model.logProbs(prompt, completions);
        alone.logProbs.forEach((values, i) => {
          expect(difference(logProbs[g]![i]!, values)).toBeLessThan(2e-5);
        });
      }
    });

    it("refuse ids outside the vocabulary and sequences that are too long", async () => {
      await leakFree(ref, () => expect(model.logProbs(ref.prompt, [[5, 1024]])).rejects.toThrow(/token 1 is 1024/));
      await leakFree(ref, () => expect(model.logProbs(ref.prompt, [new Array<number>(5000).fill(1)])).rejects.toThrow(/4096 positions/));
    });
  });
}
