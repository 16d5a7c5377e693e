import { describe, expect, it } from "vitest";
import type { Reference } from "../support.ts";
import { onWasm } from "./on-wasm.ts";
import type { HostTensor, RecordedBody } from "./record.ts";
import { replay, resultDifference } from "./replay.ts";

const isOwn = (name: string): boolean => /own(?:Keys|Values)$/u.test(name);

/** Rows in which two tensors [rows, d] differ. */
function changedRows({ shape, values }: HostTensor, before: HostTensor): number[] {
  const [rows, width] = shape as [number, number];
  return Array.from({ length: rows }, (_, row) => row).filter((row) => values.subarray(row * width, (row + 1) * width).some((value, i) => value !== before.values[row * width + i]));
}

/** The samples' own keys and values during decoding. */
export function cacheTests({ tf }: Reference, bodies: readonly RecordedBody[]): void {
  const steps = bodies.filter(({ name }) => name === "decode");

  describe.each(steps.map((step) => [step.key, step] as const))("the cache of %s", (_key, step) => {
    const caches = Object.keys(step.inputs).filter(isOwn);
    /** No row is what a step would write, those behind the mask included. */
    const marked = { ...step.inputs, ...Object.fromEntries(caches.map((name) => [name, { ...step.inputs[name]!, values: step.inputs[name]!.values.slice().fill(7) }])) };
    const slots = [...step.inputs["slots"]!.values];

    it("is written at one row of each sample and key head, on every back end", async () => {
      expect(caches.length).toBeGreaterThan(0);
      const runs = [replay(step, marked, "compiled"), replay(step, marked, "eager"), await onWasm(tf, () => replay(step, marked, "eager"))];
      for (const results of runs) for (const name of caches) expect(changedRows(results[name]!, marked[name]!), name).toEqual(slots);
    });

    it("is read up to the slot that is written, not beyond", () => {
      const capacity = step.inputs["ownBias"]!.shape[0]!;
      const at = slots[0]!;
      const filled = (places: (slot: number) => boolean): typeof marked => {
        const changed = caches.map((name) => {
          const tensor = step.inputs[name]!;
          const width = tensor.shape[1]!;
          return [name, { ...tensor, values: (tensor.values as Float32Array).map((value, i) => (places(Math.floor(i / width) % capacity) ? 3 : value)) }];
        });
        return { ...step.inputs, ...(Object.fromEntries(changed) as typeof marked) };
      };
      const answer = (inputs: typeof marked): Record<string, HostTensor> => Object.fromEntries(Object.entries(replay(step, inputs, "compiled")).filter(([name]) => !isOwn(name)));
      const expected = answer(step.inputs);
      expect(resultDifference(answer(filled((slot) => slot > at)), expected)).toBe(0);
      expect(at).toBeGreaterThan(0);
      expect(resultDifference(answer(filled((slot) => slot < at)), expected)).toBeGreaterThan(1e-3);
    });
  });
}
