import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openSafetensors, type LoraAdapter, type QwenVl, type TrainableSet } from "@dramascope/qwen-vl";
import { golden } from "../goldens.ts";
import { difference, nativeTensors, relativeDifference, type Reference } from "../support.ts";
import { lossOf } from "./loss-of.ts";

/** A signal that a timer aborts as soon as the event loop goes round. */
function timerSignal(): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => { controller.abort(new Error("time is up")); }, 1);
  return controller.signal;
}

/** A model with an adapter of some effect. */
async function adapted(ref: Reference): Promise<{ model: QwenVl; adapter: LoraAdapter; set: TrainableSet }> {
  const model = await ref.load();
  const adapter = await model.attachLora({ r: 2, alpha: 8 }, { name: "a", seed: 1 });
  const set = model.trainable();
  set.assignAll((await set.readValues()).map((values, i) => values.map((value, j) => value + 0.1 * Math.sin(i + j))));
  return { model, adapter, set };
}

/** Calls of one model beside each other, beside the event loop, and at their end. */
export function callTests(ref: Reference): void {
  const { tf, second } = ref;
  const held = (): number[] => [tf.memory().numTensors, nativeTensors(tf)];
  const logits = async (model: QwenVl, adapter = "active"): Promise<Float32Array> => {
    const result = await model.forward(second, { adapter });
    const values = (await result.logits.data()) as Float32Array;
    result.dispose();
    return values;
  };
  const score = (model: QwenVl): Promise<unknown> => model.logProbsWithGradient(second, [[5, 6]], { gradient: lossOf([-1]) });

  describe("calls", () => {
    it("let timers run, which may stop them, and leave nothing behind", async () => {
      const { model } = await adapted(ref);
      const long = Array.from({ length: 1200 }, (_, i) => i % 500);
      const item = second.vision[0]!;
      const calls: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
        encodeVideos: (signal) => model.encodeVideos(Array.from({ length: 600 }, () => item), { signal }),
        forward: (signal) => model.forward(second, { completion: long, rows: "all", signal }),
        logProbs: (signal) => model.logProbs(second, [long, long], { signal }),
        logProbsWithGradient: (signal) => model.logProbsWithGradient(second, [long, long], { signal, gradient: lossOf([-1, 1]) }),
      };
      await score(model);
      const before = held();
      for (const [name, call] of Object.entries(calls)) {
        await expect(call(timerSignal()), name).rejects.toThrow("time is up");
        expect(held(), name).toEqual(before);
      }
      const [samples] = await model.generate([second], { maxNewTokens: 2000, n: 16, stopIds: [], signal: timerSignal() });
      expect(samples!.map(({ finishReason }) => finishReason)).toEqual(new Array(16).fill("abort"));
      expect(held()).toEqual(before);
      model.dispose();
    });

    it("keep the adapter and weights that they began with, whatever is asked for meanwhile", async () => {
      const { model } = await adapted(ref);
      const on = await logits(model);
      const off = await logits(model, "none");
      expect(difference(on, off)).toBeGreaterThan(1e-3);
      const generate = () => model.generate([second], { maxNewTokens: 6, temperature: 0, stopIds: [] });
      const answer = await generate();
      const begun = [logits(model), logits(model, "none")];
      const generated = generate();
      const merging = model.mergeLora();
      const whileMerged = logits(model);
      const withoutIt = logits(model, "none");
      const unmerging = model.unmergeLora();
      const after = logits(model);
      model.setActiveAdapter("none");
      expect(await Promise.all(begun)).toEqual([on, off]);
      expect(await generated).toEqual(answer);
      await merging;
      const merged = await whileMerged;
      expect(merged).not.toEqual(on);
      expect(difference(merged, on)).toBeLessThan(2e-4);
      expect(await withoutIt).toEqual(off);
      await unmerging;
      expect(await after).toEqual(on);
      await expect(model.mergeLora("a").then(() => model.mergeLora("a"))).rejects.toMatchObject({ code: "MERGED" });
      model.dispose();
    });

    it("save weights of one moment", async () => {
      const { model } = await adapted(ref);
      const folder = await mkdtemp(join(tmpdir(), "dramascope-qwen-vl-"));
      try {
        await model.saveMerged(join(folder, "base"));
        await model.mergeLora();
        const saving = model.saveMerged(join(folder, "saved"));
        await model.unmergeLora();
        await saving;
        const base = await openSafetensors(join(folder, "base", "model.safetensors"));
        const saved = await openSafetensors(join(folder, "saved", "model.safetensors"));
        const adapted = saved.names.filter((name) => /^model\.layers.*_proj\.weight$/u.test(name));
        expect(adapted.length).toBeGreaterThan(10);
        for (const name of adapted) expect((await saved.read(name)).values, name).not.toEqual((await base.read(name)).values);
        await base.close();
        await saved.close();
      } finally {
        model.dispose();
        await rm(folder, { recursive: true });
      }
    });

    it("refuse changes of values that they read", async () => {
      const { model, adapter, set } = await adapted(ref);
      const values = await set.readValues();
      const running = logits(model);
      expect(() => { set.assignAll(values); }).toThrow(expect.objectContaining({ code: "BUSY" }));
      expect(() => { set.assign(set.names[0]!, set.value(set.names[0]!)); }).toThrow(/while forward runs/u);
      expect(() => { adapter.dispose(); }).toThrow(expect.objectContaining({ code: "BUSY" }));
      await running;
      const other = logits(model, "none");
      set.assignAll(values);
      adapter.dispose();
      await other;
      model.dispose();
    });

    it("end with DISPOSED when the model goes", async () => {
      const use = async () => {
        const { model } = await adapted(ref);
        const folder = golden("adapter");
        const begun = [model.generate([second], { maxNewTokens: 2000, stopIds: [] }), model.mergeLora(), model.attachLora(folder), model.generate([second], { maxNewTokens: 2 })];
        await new Promise((resolve) => setImmediate(resolve));
        model.dispose();
        return Promise.allSettled(begun);
      };
      await use();
      const before = held();
      for (const result of await use()) expect(result).toMatchObject({ status: "rejected", reason: { code: "DISPOSED" } });
      expect(held()).toEqual(before);
    });

    it("add their gradients whole when they overlap, and say so when one ended midway", async () => {
      const { model, set } = await adapted(ref);
      await score(model);
      const once = await set.readGradients();
      set.zeroGradients();
      await Promise.all([score(model), score(model), logits(model)]);
      (await set.readGradients()).forEach((values, i) => { expect(relativeDifference(values, once[i]!.map((x) => 2 * x)), set.names[i]).toBeLessThan(1e-6); });
      const controller = new AbortController();
      let isAdding = false;
      const stopped = model.logProbsWithGradient(second, [[5, 6]], { signal: controller.signal, gradient: (logProbs) => {
        queueMicrotask(() => queueMicrotask(() => { isAdding = true; controller.abort(); }));
        return lossOf([-1])(logProbs);
      } });
      await expect(stopped).rejects.toThrow("aborted");
      expect(isAdding).toBe(true);
      for (const use of [() => set.readGradients(), () => set.gradientNorm()]) await expect(use()).rejects.toMatchObject({ code: "PARTIAL_GRADIENT" });
      expect(() => set.gradient(set.names[0]!)).toThrow(/ended midway/u);
      set.zeroGradients();
      await score(model);
      expect(await set.readGradients()).toEqual(once);
      model.dispose();
    });
  });

  describe("trainable sets", () => {
    it("end with their adapter, also where another one takes its name, and with the next set", async () => {
      const { model, adapter, set } = await adapted(ref);
      adapter.dispose();
      const again = await model.attachLora({ r: 2, alpha: 8 }, { name: "a" });
      adapter.dispose();
      await expect(score(model)).rejects.toMatchObject({ code: "NOT_TRAINABLE" });
      const first = model.trainable();
      await score(model);
      first.dispose();
      const before = held();
      const name = set.names[0]!;
      const uses = [
        () => set.value(name), () => set.gradient(name), () => { set.zeroGradients(); }, () => { set.scaleGradients(2); }, () => set.gradientNorm(), () => set.readGradients(), () => set.readValues(), () => { set.assignAll([]); },
      ];
      for (const use of uses) await expect(Promise.resolve().then(use), String(use)).rejects.toMatchObject({ code: "DISPOSED" });
      expect(held()).toEqual(before);
      model.trainable();
      const one = tf.memory().numTensors;
      const last = model.trainable();
      expect(tf.memory().numTensors).toBe(one);
      await score(model);
      last.dispose();
      expect(held()).toEqual(before);
      let asked = 0;
      await expect(model.logProbsWithGradient(second, [[5]], { gradient: (logProbs) => { asked++; return lossOf([-1])(logProbs); } })).rejects.toMatchObject({ code: "NOT_TRAINABLE" });
      expect(asked).toBe(0);
      again.dispose();
      model.dispose();
    });

    it("find one adapter of a name, whoever attaches it first", async () => {
      const model = await ref.load();
      const before = held();
      const [first, late] = await Promise.allSettled([model.attachLora(golden("adapter")), model.attachLora(golden("adapter"))]);
      expect(late).toMatchObject({ status: "rejected", reason: { code: "ADAPTER_NAME" } });
      if (first.status === "fulfilled") first.value.dispose();
      expect(held()).toEqual(before);
      await expect(model.attachLora("/nowhere", { name: "x" })).rejects.toMatchObject({ code: "ADAPTER_INVALID" });
      (await model.attachLora(golden("adapter"), { name: "x" })).dispose();
      model.dispose();
    });
  });
}
