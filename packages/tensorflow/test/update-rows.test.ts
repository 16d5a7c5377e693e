import { compile, loadTensorFlow, type Body, type LoadedTensorFlow, type TensorSpec } from "@dramascope/tensorflow";
import type { Tensor } from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-wasm";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { NodeBackend } from "../src/native/backend.ts";
import { bindingFor, nativeTensors, needsKoffi } from "./support.ts";

let loaded: LoadedTensorFlow;
let tf: LoadedTensorFlow["tf"];
let native: string;
beforeAll(async () => {
  loaded = await loadTensorFlow();
  tf = loaded.tf;
  native = tf.getBackend();
});
afterEach(() => tf.setBackend(native));

const specs: Record<string, TensorSpec> = { x: { shape: [3], dtype: "float32" }, at: { shape: [1], dtype: "int32" }, row: { shape: [1], dtype: "float32" } };
const modes = ["auto", "eager"] as const;

/** Calls a body with x = [1, 2, 3], once for each index, and gives y and x after each call. */
function callAt(body: Body, mode: (typeof modes)[number], indices: readonly number[]): [y: number[], x: number[]][] {
  const compiled = compile(tf, "update", specs, body, { mode });
  const results = indices.map((index): [number[], number[]] =>
    tf.tidy(() => {
      const x = tf.tensor1d([1, 2, 3]);
      const { y } = compiled({ x, at: tf.tensor1d([index], "int32"), row: tf.tensor1d([9]) });
      return [Array.from(y!.dataSync()), Array.from(x.dataSync())];
    }),
  );
  compiled.dispose();
  return results;
}

const untouched: [string, Body, number[]][] = [
  ["a constant", (ops, { at, row }) => ({ y: ops.updateRows(ops.constant([0, 0, 0], [3]), at!, row!) }), [0, 0, 0]],
  ["what is made of constants alone", (ops, { at, row }) => ({ y: ops.updateRows(ops.broadcastTo(ops.reshape(ops.scalar(5), [1]), [3]), at!, row!) }), [5, 5, 5]],
  ["what an optimiser may take for a constant", (ops, { x, at, row }) => ({ y: ops.updateRows(ops.mul(x!, ops.scalar(0)), at!, row!) }), [0, 0, 0]],
  ["another shape of an input", (ops, { x, at, row }) => ({ y: ops.reshape(ops.updateRows(ops.reshape(x!, [3, 1]), at!, ops.reshape(row!, [1, 1])), [3]) }), [1, 2, 3]],
  ["a part of an input", (ops, { x, at, row }) => ({ y: ops.updateRows(ops.slice(x!, [0], [3]), at!, row!) }), [1, 2, 3]],
];

describe.each([...modes, "wasm"] as const)("replacing rows (%s)", (mode) => {
  it.each(untouched)("leaves %s as it is", async (_case, body, values) => {
    if (mode === "wasm") await tf.setBackend("wasm");
    const expected = [0, 1, 2].map((index) => [values.map((value, i) => (i === index ? 9 : value)), [1, 2, 3]]);
    expect(callAt(body, mode === "wasm" ? "eager" : mode, [0, 1, 2])).toEqual(expected);
  });
});

describe.each(modes)("replacing rows of an input (%s)", (mode) => {
  const address = (x: Tensor): bigint => {
    const { raw: { c, status }, handleOf } = bindingFor(tf);
    const [id] = (tf.backend() as unknown as NodeBackend).getInputTensorIds([x]);
    const tensor = c.TFE_TensorHandleResolve(handleOf(id!), status) as bigint;
    const data = c.TF_TensorData(tensor) as bigint;
    c.TF_DeleteTensor(tensor);
    return data;
  };

  it("overwrites the caller's tensor and what shares its memory, twice in one body", ({ skip }) => {
    needsKoffi(loaded, skip);
    const twice = compile(tf, "twice", { ...specs, other: specs["at"]! }, (ops, { x, at, row, other }) => ({ y: ops.updateRows(ops.updateRows(x!, at!, row!), other!, ops.neg(row!)) }), { mode });
    tf.tidy(() => {
      const x = tf.tensor1d([1, 2, 3]);
      const clone = tf.clone(x);
      const { y } = twice({ x, at: tf.tensor1d([2], "int32"), row: tf.tensor1d([9]), other: tf.tensor1d([0], "int32") });
      expect(Array.from(y!.dataSync())).toEqual([-9, 2, 9]);
      expect(address(y!)).toBe(address(x));
      expect(Array.from(tf.add(clone, 0).dataSync())).toEqual([-9, 2, 9]);
    });
    twice.dispose();
  });

  it.for<[string, Body]>([
    ["read later", (ops, { x, at, row }) => ({ y: ops.add(ops.updateRows(x!, at!, row!), x!) })],
    ["overwritten again", (ops, { x, at, row }) => ({ y: ops.add(ops.updateRows(x!, at!, row!), ops.updateRows(x!, at!, row!)) })],
    ["handed through", (ops, { x, at, row }) => ({ y: ops.updateRows(x!, at!, row!), x: x! })],
  ])("refuses a body in which it is %s", ([, body], { skip }) => {
    needsKoffi(loaded, skip);
    const before = nativeTensors(tf);
    expect(() => callAt(body, mode, [0])).toThrow(expect.objectContaining({ code: "COMPILE_OVERWRITTEN" }) as Error);
    expect(nativeTensors(tf)).toBe(before);
  });

  it("copies it where an operation has read it before", ({ skip }) => {
    needsKoffi(loaded, skip);
    expect(callAt((ops, { x, at, row }) => ({ y: ops.add(ops.square(x!), ops.updateRows(x!, at!, row!)) }), mode, [0, 1])).toEqual([
      [[10, 6, 12], [1, 2, 3]],
      [[2, 13, 12], [1, 2, 3]],
    ]);
  });
});
