import { describe, expect, it } from "vitest";
import type { CompletionGroup, QwenVl, TrainableSet } from "@dramascope/qwen-vl";
import { golden } from "../goldens.ts";
import { difference, leakFree, relativeDifference, type Reference } from "../support.ts";
import { lossOf } from "./loss-of.ts";

const COMPLETIONS = [[5, 6, 7], [9], [11, 12, 3, 4]];
/** Log-probabilities of the first completion under seed 7: PEFT's, its dropout replaced by our masks. */
const EXPECTED = [-7.5438614, -10.1812572, -11.0223808];
const loss = lossOf([-1, 0.4, -0.6]);

interface Outcome {
  logProbs: Float32Array[];
  gradients: Float32Array[];
}

async function gradientsOf(model: QwenVl, set: TrainableSet, prompt: Reference["second"], dropoutSeed?: number): Promise<Outcome> {
  set.zeroGradients();
  const { logProbs } = await model.logProbsWithGradient(prompt, COMPLETIONS, { gradient: loss, ...(dropoutSeed === undefined ? {} : { dropoutSeed }) });
  return { logProbs, gradients: await set.readGradients() };
}

/** Training with dropout. */
export function dropoutTests(ref: Reference): void {
  describe("dropout", () => {
    it("drops the same for the same seed, whatever is kept, computed before or left behind by an error", async () => {
      const own = await ref.load();
      await own.attachLora(golden("adapter"), { dropout: 0.3 });
      const set = own.trainable();
      const plain = await own.logProbs(ref.second, COMPLETIONS);
      const first = await gradientsOf(own, set, ref.second, 7);
      const other = await gradientsOf(own, set, ref.second, 8);
      await leakFree(ref, () => expect(own.logProbsWithGradient(ref.second, COMPLETIONS, { dropoutSeed: 7, gradient: () => { throw new Error("stop"); } })).rejects.toThrow("stop"));
      expect(await leakFree(ref, () => gradientsOf(own, set, ref.second, 7))).toEqual(first);
      expect(difference(first.logProbs[0]!, plain.logProbs[0]!)).toBeGreaterThan(1e-3);
      expect(difference(other.logProbs[0]!, first.logProbs[0]!)).toBeGreaterThan(1e-3);
      const frugal = await ref.load({ keepBytes: 0, queryChunk: 7, logitsChunk: 16, vocabChunk: 100 });
      await frugal.attachLora(golden("adapter"), { dropout: 0.3 });
      const computedTwice = await gradientsOf(frugal, frugal.trainable(), ref.second, 7);
      computedTwice.gradients.forEach((values, i) => {
        expect(relativeDifference(values, first.gradients[i]!), set.names[i]).toBeLessThan(1e-5);
      });
      expect(difference(first.logProbs[0]!, EXPECTED)).toBeLessThan(1e-4);
      frugal.dispose();
      own.dispose();
    });

    it("gives the gradients of the loss that is left, in decoder, tower and merger, alone or in one pass", async () => {
      const own = await ref.load();
      await own.attachLora({ r: 2, alpha: 4, dropout: 0.2, targetModules: ["qkv", "proj", "mlp.0", "mlp.2", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] }, { seed: 5 });
      const set = own.trainable();
      const values = (await set.readValues()).map((v, i) => v.map((x, j) => x + 0.05 * Math.cos(i + 3 * j)));
      set.assignAll(values);
      const groups: CompletionGroup[] = [
        { prompt: ref.second, completions: [[5, 6, 7], [9]] },
        { prompt: ref.second, completions: [[11, 12]] },
      ];
      const run = async (): Promise<number> => {
        const result = await own.groupLogProbsWithGradient(groups, {
          dropoutSeed: 3,
          gradient: (logProbs) => {
            const parts = logProbs.map(lossOf([-0.5, 0.7]));
            return { loss: parts[0]!.loss + parts[1]!.loss, dLogProbs: parts.map((p) => p.dLogProbs) };
          },
        });
        return result.loss;
      };
      await leakFree(ref, run);
      const gradients = await set.readGradients();
      for (const part of ["visual.blocks.0.attn", "visual.blocks.1.mlp", "merger.mlp", "layers.0.self_attn", "layers.1.mlp"]) {
        const along = gradients.map((gradient, i) => (set.names[i]!.includes(part) ? gradient : new Float32Array(gradient.length)));
        const square = along.reduce((sum, gradient) => gradient.reduce((a, b) => a + b * b, sum), 0);
        const step = 4e-3 / Math.sqrt(square);
        const lossAt = async (distance: number): Promise<number> => {
          set.assignAll(values.map((v, i) => v.map((x, j) => x + distance * along[i]![j]!)));
          return run();
        };
        const slope = ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
        expect(Math.abs(slope / square - 1), part).toBeLessThan(2e-2);
      }
      own.dispose();
    });

    it("leaves a prompt and a completion what they have in any company", async () => {
      const own = await ref.load();
      await own.attachLora(golden("adapter"), { dropout: 0.3 });
      own.trainable();
      const together = await own.groupLogProbsWithGradient([{ prompt: ref.second, completions: COMPLETIONS }, { prompt: ref.prompt, completions: [[5, 6]] }], {
        dropoutSeed: 7, gradient: (logProbs) => ({ loss: 0, dLogProbs: logProbs }),
      });
      const alone = await own.logProbsWithGradient(ref.second, COMPLETIONS.slice(0, 1), { dropoutSeed: 7, gradient: loss });
      expect(difference(together.logProbs[0]![0]!, alone.logProbs[0]!)).toBeLessThan(1e-4);
      own.dispose();
    });

    it("touches nothing but training, and not the training of weights", async () => {
      const results = [];
      for (const dropout of [0, 0.5]) {
        const own = await ref.load();
        await own.attachLora(golden("adapter"), { dropout });
        const forward = await own.forward(ref.second);
        const set = own.trainable(/layers\.1\.mlp\.down_proj\.weight$/u);
        const trained = await gradientsOf(own, set, ref.second);
        set.dispose();
        const sampled = await own.generate([ref.second], { maxNewTokens: 6, n: 2, seed: 1 });
        const scored = await own.logProbs(ref.second, COMPLETIONS, { entropy: true });
        const logits = await forward.logits.data();
        forward.dispose();
        await own.mergeLora();
        results.push({ trained, sampled, scored, logits, merged: await own.logProbs(ref.second, COMPLETIONS) });
        own.dispose();
      }
      expect(results[1]).toEqual(results[0]);
    });

    it("asks for a seed", async () => {
      const own = await ref.load();
      await own.attachLora(golden("adapter"), { dropout: 0.05 });
      own.trainable();
      await leakFree(ref, async () => {
        await expect(own.logProbsWithGradient(ref.second, COMPLETIONS, { gradient: loss })).rejects.toThrow(/trains with dropout 0\.05: dropoutSeed is missing/u);
        await expect(own.logProbsWithGradient(ref.second, COMPLETIONS, { gradient: loss, dropoutSeed: 1.5 })).rejects.toThrow(/dropoutSeed must be an integer/u);
      });
      own.dispose();
    });
  });
}
