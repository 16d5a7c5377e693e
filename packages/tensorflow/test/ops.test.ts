import { createRandom } from "@dramascope/schema";
import { compile, loadTensorFlow, type Body, type LoadedTensorFlow, type Ops, type TensorSpec } from "@dramascope/tensorflow";
import "@tensorflow/tfjs-backend-wasm";
import { afterEach, beforeAll, describe, expect, it } from "vitest";

let loaded: LoadedTensorFlow;
let native: string;
beforeAll(async () => {
  loaded = await loadTensorFlow();
  native = loaded.tf.getBackend();
  if (loaded.backend === "wasm") {
    const reasons = loaded.diagnostics.candidates.map(({ where, outcome, reason }) => `${where}: ${reason ?? outcome}`).join("; ");
    process.stderr.write(`compiled functions are not compared here: no native TensorFlow (${reasons})\n`);
  }
});
afterEach(() => loaded.tf.setBackend(native));

type Case = [name: string, inputs: Record<string, readonly number[]>, run: <V>(ops: Ops<V>, inputs: Record<string, V>) => V];

const ids = <V>(ops: Ops<V>): V => ops.constant([2, 0, 2], [3], "int32");
const both = { a: [3, 4], b: [3, 4] } as const;
const one = { x: [3, 4] } as const;

const cases: Case[] = [
  ["matmul", { a: [3, 4], b: [4, 5] }, (o, i) => o.matmul(i["a"]!, i["b"]!)],
  ["matmul transposed", { a: [4, 3], b: [5, 4] }, (o, i) => o.matmul(i["a"]!, i["b"]!, { transposeA: true, transposeB: true })],
  ["batchMatmul", { a: [2, 3, 4], b: [2, 4, 5] }, (o, i) => o.batchMatmul(i["a"]!, i["b"]!)],
  ["batchMatmul transposed, rank 4", { a: [2, 2, 4, 3], b: [2, 2, 5, 4] }, (o, i) => o.batchMatmul(i["a"]!, i["b"]!, { transposeA: true, transposeB: true })],
  ["add", { a: [3, 4], b: [4] }, (o, i) => o.add(i["a"]!, i["b"]!)],
  ["sub", both, (o, i) => o.sub(i["a"]!, i["b"]!)],
  ["mul", { a: [3, 1], b: [3, 4] }, (o, i) => o.mul(i["a"]!, i["b"]!)],
  ["div", both, (o, i) => o.div(i["a"]!, o.add(o.square(i["b"]!), o.scalar(1)))],
  ["maximum and minimum", both, (o, i) => o.maximum(o.minimum(i["a"]!, i["b"]!), o.scalar(-0.5))],
  ["neg, exp, log", one, (o, i) => o.log(o.add(o.exp(o.neg(i["x"]!)), o.scalar(1)))],
  ["sqrt, rsqrt, square", one, (o, i) => o.mul(o.sqrt(o.square(i["x"]!)), o.rsqrt(o.add(o.square(i["x"]!), o.scalar(1))))],
  ["sigmoid", one, (o, i) => o.sigmoid(i["x"]!)],
  ["tanh", one, (o, i) => o.tanh(i["x"]!)],
  ["erf", one, (o, i) => o.erf(i["x"]!)],
  ["softmax", { x: [2, 3, 4] }, (o, i) => o.softmax(i["x"]!)],
  ["logSoftmax", { x: [2, 3, 4] }, (o, i) => o.logSoftmax(i["x"]!)],
  ["sum", { x: [2, 3, 4] }, (o, i) => o.sum(i["x"]!, [0, 2])],
  ["mean", { x: [2, 3, 4] }, (o, i) => o.mean(i["x"]!, [1], true)],
  ["max", { x: [2, 3, 4] }, (o, i) => o.max(i["x"]!, [2], true)],
  ["argMax", { x: [3, 5] }, (o, i) => o.argMax(i["x"]!)],
  ["reshape and transpose", { x: [2, 3, 4] }, (o, i) => o.reshape(o.transpose(i["x"]!, [2, 0, 1]), [4, 6])],
  ["concat and split", { a: [2, 3], b: [2, 5] }, (o, i) => o.concat([...o.split(o.concat([i["a"]!, i["b"]!], 1), [1, 4, 3], 1)].reverse(), 1)],
  ["slice", { x: [4, 5] }, (o, i) => o.slice(i["x"]!, [1, 2], [2, 3])],
  ["pad", { x: [2, 3] }, (o, i) => o.pad(i["x"]!, [[1, 0], [0, 2]])],
  ["broadcastTo", { x: [1, 4] }, (o, i) => o.broadcastTo(i["x"]!, [3, 4])],
  ["gather", { x: [4, 5] }, (o, i) => o.gather(i["x"]!, ids(o))],
  ["segmentSum", { x: [3, 5] }, (o, i) => o.segmentSum(i["x"]!, ids(o), 4)],
  ["updateRows", { x: [4, 5], rows: [2, 5] }, (o, i) => o.updateRows(o.add(i["x"]!, o.scalar(0)), o.constant([3, 1], [2], "int32"), i["rows"]!)],
  ["equal and select", both, (o, i) => o.select(o.equal(i["a"]!, i["b"]!), i["a"]!, o.scalar(7))],
  ["less, lessEqual, logicalAnd, cast", both, (o, i) => o.cast(o.logicalAnd(o.less(i["a"]!, i["b"]!), o.lessEqual(i["a"]!, o.scalar(0.2))), "float32")],
  ["oneHot", one, (o, i) => o.matmul(o.oneHot(ids(o), 3), i["x"]!)],
  ["constants", one, (o, i) => o.add(i["x"]!, o.constant([1, 2, 3, 4], [1, 4]))],
];

async function evaluate(mode: "auto" | "eager", shapes: Case[1], run: Case[2]): Promise<{ shape: number[]; values: number[]; mode: string }> {
  const { tf } = loaded;
  const random = createRandom(5);
  const inputs = Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal()), [...shape])]));
  const specs = Object.fromEntries(Object.entries(shapes).map(([key, shape]): [string, TensorSpec] => [key, { shape, dtype: "float32" }]));
  const body: Body = (ops, values) => ({ y: run(ops.scope("test"), values) });
  const compiled = compile(tf, "case", specs, body, { mode });
  const { y } = compiled(inputs);
  const result = { shape: y!.shape, values: Array.from(await y!.data()), mode: compiled.mode };
  tf.dispose([y!, ...Object.values(inputs)]);
  compiled.dispose();
  return result;
}

describe("an op body gives the same numbers compiled, op by op, and on wasm", () => {
  it.each(cases)("%s", async (_name, shapes, run) => {
    const before = loaded.tf.memory().numTensors;
    const compiled = await evaluate("auto", shapes, run);
    const eager = await evaluate("eager", shapes, run);
    await loaded.tf.setBackend("wasm");
    const wasm = await evaluate("eager", shapes, run);
    expect(compiled.mode).toBe(loaded.binding === "koffi" && process.env["DRAMASCOPE_COMPILE"] !== "off" ? "function" : "eager");
    expect(eager.mode).toBe("eager");
    for (const other of [eager, wasm]) {
      expect(other.shape).toEqual(compiled.shape);
      other.values.forEach((value, i) => expect(Math.abs(value - compiled.values[i]!)).toBeLessThan(1e-5 * Math.max(1, Math.abs(value))));
    }
    expect(loaded.tf.memory().numTensors).toBe(before);
  });
});
