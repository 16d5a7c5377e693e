import { describe, expect, it } from "vitest";
import { nativeTensors, type Reference } from "../support.ts";
import { onWasm } from "./on-wasm.ts";
import type { HostTensor, RecordedBody } from "./record.ts";
import { replay, resultDifference } from "./replay.ts";

const FORWARD = ["patch_embed", "vision_block", "merger", "embed", "decoder_block", "logits", "log_probs", "decode"];
const WEIGHTS = ["piece", "read", "fold", "pack", "unpack"];

const byName = (bodies: readonly RecordedBody[]): [string, RecordedBody[]][] => [...new Set(bodies.map(({ name }) => name))].map((name) => [name, bodies.filter((body) => body.name === name)]);

/** One of those bodies that take inputs of the same names. */
const oneOfEach = (bodies: readonly RecordedBody[]): RecordedBody[] => [...new Map(bodies.map((body) => [Object.keys(body.inputs).join(), body])).values()];

const wide = (tensors: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.dtype === "bfloat16" ? { ...tensor, dtype: "float32" as const } : tensor]));

/** Bodies recorded from compiled functions, run again operation by operation and on wasm. */
export function sameEverywhereTests({ tf }: Reference, bodies: readonly RecordedBody[], narrow: readonly RecordedBody[]): void {
  it("every body is there", () => {
    expect(bodies.map(({ name }) => name)).toEqual(expect.arrayContaining([...FORWARD, ...WEIGHTS]));
    expect(narrow.map(({ name }) => name)).toEqual(expect.arrayContaining([...FORWARD, "decoder_block_vjp", "log_probs_vjp"]));
  });

  describe.each(byName(bodies))("%s", (name, some) => {
    it("gives the same compiled, operation by operation and on wasm, and leaves nothing behind", async () => {
      for (const body of some) {
        const before = [tf.memory().numTensors, nativeTensors(tf)];
        expect(resultDifference(replay(body, body.inputs, "eager"), body.outputs), body.key).toBeLessThan(1e-5);
        expect([tf.memory().numTensors, nativeTensors(tf)], body.key).toEqual(before);
        expect(await onWasm(tf, () => resultDifference(replay(body, body.inputs, "eager"), body.outputs)), `${body.key} on wasm`).toBeLessThan(1e-5);
        expect([tf.memory().numTensors, nativeTensors(tf)], `${body.key} on wasm`).toEqual(before);
      }
    });

    if (FORWARD.includes(name)) {
      it("gives something else when one of its weights has its values in another order", () => {
        for (const body of oneOfEach(some)) {
          const weights = Object.keys(body.inputs).filter((input) => /(?:weight|bias|lora_[AB]|norm|head\.0|table\.0)$/u.test(input));
          expect(weights.length, body.key).toBeGreaterThan(0);
          for (const weight of weights) {
            const { values, ...spec } = body.inputs[weight]!;
            const turned = { ...body.inputs, [weight]: { ...spec, values: values.slice().reverse() } };
            expect(resultDifference(replay(body, turned, "eager"), body.outputs), `${body.key} with another ${weight}`).toBeGreaterThan(1e-4);
          }
        }
      });
    }
  });

  it.each(byName(narrow))("%s with bfloat16 matrices gives the same compiled and operation by operation, and with the same matrices in float32 on wasm too", async (_name, some) => {
    for (const body of some) {
      expect(resultDifference(replay(body, body.inputs, "eager"), body.outputs), body.key).toBeLessThan(2e-2);
      const inputs = wide(body.inputs);
      const expected = replay(body, inputs, "eager");
      expect(resultDifference(wide(body.outputs), expected), `${body.key} in float32`).toBeLessThan(5e-2);
      expect(await onWasm(tf, () => resultDifference(replay(body, inputs, "eager"), expected)), `${body.key} on wasm`).toBeLessThan(1e-5);
    }
  });
}
