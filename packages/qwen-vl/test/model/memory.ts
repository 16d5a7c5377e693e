import { describe, expect, it } from "vitest";
import { golden } from "../goldens.ts";
import { nativeTensors, type Reference } from "../support.ts";
import { lossOf } from "./loss-of.ts";

const abortedSignal = (): AbortSignal => AbortSignal.abort(new Error("stop"));

/** Rules of memory: calls leave nothing behind, whole, failed or stopped; disposal frees everything. */
export function memoryTests(ref: Reference): void {
  const { tf, second } = ref;
  const held = (): number[] => [tf.memory().numTensors, nativeTensors(tf)];

  describe("memory", () => {
    it("holds as many tensors after any public call as before it, also when it fails or is stopped", async () => {
      const model = await ref.load();
      await model.attachLora({ r: 2, alpha: 4 }, { seed: 1 });
      const set = model.trainable();
      const gradient = lossOf([-1]);
      const calls: Record<string, () => Promise<unknown>> = {
        encodeVideos: async () => { for (const features of await model.encodeVideos(second.vision)) features.dispose(); },
        forward: async () => { (await model.forward(second, { completion: [5] })).dispose(); },
        logProbs: () => model.logProbs(second, [[5, 6]], { entropy: true }),
        logProbsWithGradient: () => model.logProbsWithGradient(second, [[5, 6]], { gradient }),
        generate: () => model.generate([second], { maxNewTokens: 3, n: 3, stopIds: [] }),
        readGradients: () => set.readGradients(),
        "merge and unmerge": async () => { await model.mergeLora(); await model.unmergeLora(); },
        "attach and dispose": async () => { (await model.attachLora(golden("adapter"), { name: "other" })).dispose(); model.setActiveAdapter("default"); },
      };
      const wrong = { ...second, vision: [] };
      const failing: Record<string, () => Promise<unknown>> = {
        encodeVideos: () => model.encodeVideos([{ ...second.vision[0]!, patches: new Uint8Array(1) }]),
        "encodeVideos stopped": () => model.encodeVideos(second.vision, { signal: abortedSignal() }),
        forward: () => model.forward(wrong),
        logProbs: () => model.logProbs(wrong, [[5]]),
        "logProbs stopped": () => model.logProbs(second, [[5]], { signal: abortedSignal() }),
        logProbsWithGradient: () => model.logProbsWithGradient(second, [[5]], { gradient: () => { throw new Error("no loss"); } }),
        "logProbsWithGradient stopped": () => model.logProbsWithGradient(second, [[5]], { gradient, signal: abortedSignal() }),
        "logProbsWithGradient stopped midway": () => {
          const controller = new AbortController();
          return model.logProbsWithGradient(second, [[5]], { signal: controller.signal, gradient: (logProbs) => { controller.abort(); return gradient(logProbs); } });
        },
        generate: () => model.generate([second, wrong], { maxNewTokens: 3 }),
      };
      for (const call of [...Object.values(calls), ...Object.values(failing)]) await call().catch(() => undefined);
      const before = held();
      for (let round = 0; round < 3; round++) {
        for (const [name, call] of Object.entries(calls)) {
          await call();
          expect(held(), name).toEqual(before);
        }
        for (const [name, call] of Object.entries(failing)) {
          await expect(call(), name).rejects.toThrow();
          expect(held(), name).toEqual(before);
        }
      }
      model.dispose();
    });

    it("is all given back by dispose, whose second call does nothing; using the model afterwards is an error", async () => {
      const use = async () => {
        const model = await ref.load();
        await model.attachLora({ r: 2, alpha: 4 }, { seed: 1 });
        const set = model.trainable();
        await model.logProbsWithGradient(second, [[5]], { gradient: lossOf([-1]) });
        await model.mergeLora();
        await model.generate([second], { maxNewTokens: 2 });
        model.dispose();
        model.dispose();
        return { model, set };
      };
      await use();
      const before = held();
      const { model, set } = await use();
      expect(held()).toEqual(before);
      const options = { gradient: lossOf([-1]), maxNewTokens: 1 };
      const uses: (() => unknown)[] = [
        () => model.encodeVideos(second.vision), () => model.forward(second), () => model.logProbs(second, [[5]]), () => model.logProbsWithGradient(second, [[5]], options),
        () => model.groupLogProbs([]), () => model.groupLogProbsWithGradient([], { gradient: () => ({ loss: 0, dLogProbs: [] }) }), () => model.generate([second], options), () => model.attachLora({ r: 1, alpha: 1 }),
        () => model.mergeLora(), () => model.unmergeLora(), () => model.saveLora("nowhere"), () => model.saveMerged("nowhere"), () => model.prepare([]), () => { model.setActiveAdapter("none"); },
        () => model.trainable(),
      ];
      for (const one of uses) await expect(Promise.resolve().then(one), String(one)).rejects.toMatchObject({ code: "DISPOSED" });
      expect(held()).toEqual(before);
      set.dispose();
      expect(held()).toEqual(before);
    });
  });
}
