import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runModule } from "./processes.ts";

/** Computes on the device of OPTIONS what no device may see otherwise: products, lookups, sums by id, choices, rows replaced in place, bfloat16 and a mapped file. */
const code = `
import { compile, loadTensorFlow, mapTensorFile, uploadBfloat16 } from "@dramascope/tensorflow";
const { tf, binding, device } = await loadTensorFlow({ threads: 1, allowTf32: false, ...JSON.parse(process.env.OPTIONS) });
const report = { device, values: {} };
const keep = async (results) => { for (const [name, y] of Object.entries(results)) report.values[name] = Array.from(await y.data()); };
const specs = { x: { shape: [64, 96], dtype: "float32" }, w: { shape: [96, 96], dtype: "float32" }, at: { shape: [80], dtype: "int32" } };
const body = (ops, { x, w, at }) => {
  const heads = ops.transpose(ops.reshape(ops.matmul(x, w), [64, 4, 24]), [1, 0, 2]);
  const scores = ops.batchMatmul(heads, heads, { transposeB: true });
  const causal = ops.lessEqual(ops.reshape(ops.constant(Array.from({ length: 64 }, (_, i) => i), [64], "int32"), [1, 64]), ops.reshape(ops.constant(Array.from({ length: 64 }, (_, i) => i), [64], "int32"), [64, 1]));
  const attended = ops.batchMatmul(ops.softmax(ops.select(causal, ops.mul(scores, ops.scalar(0.2)), ops.scalar(-1e9))), heads);
  const rows = ops.gather(ops.reshape(ops.transpose(attended, [1, 0, 2]), [64, 96]), at);
  const normed = ops.mul(rows, ops.rsqrt(ops.add(ops.mean(ops.square(rows), [1], true), ops.scalar(1e-6))));
  const logProbs = ops.logSoftmax(ops.matmul(normed, w, { transposeB: true }));
  const chosen = ops.argMax(logProbs);
  return { rows, logProbs, chosen, back: ops.segmentSum(ops.mul(logProbs, ops.oneHot(chosen, 96)), at, 64), bent: ops.concat([ops.erf(normed), ops.sigmoid(normed)], 1), swapped: ops.updateRows(ops.neg(x), ops.slice(at, [5], [1]), ops.slice(x, [0, 0], [1, 96])) };
};
const inputs = { x: tf.randomNormal([64, 96], 0, 1, "float32", 1), w: tf.randomNormal([96, 96], 0, 0.2, "float32", 2), at: tf.tensor1d(Int32Array.from({ length: 80 }, (_, i) => (i * 7) % 64), "int32") };
await keep(compile(tf, "layer", specs, body)(inputs));
if (binding === "koffi") {
  const update = compile(tf, "update", { x: { shape: [3], dtype: "float32" }, at: { shape: [1], dtype: "int32" }, row: { shape: [1], dtype: "float32" } }, (ops, { x, at, row }) => ({ y: ops.updateRows(x, at, row) }));
  const cache = tf.tensor1d([1, 2, 3]);
  update({ x: cache, at: tf.tensor1d([1], "int32"), row: tf.tensor1d([9]) });
  const half = uploadBfloat16(tf, Uint16Array.of(0x3f80, 0xc000, 0x3f00, 0x4040), [2, 2]);
  const product = compile(tf, "half", { h: { shape: [2, 2], dtype: "bfloat16" } }, (ops, { h }) => ({ y: ops.cast(ops.matmul(h, h), "float32") }));
  const mapped = mapTensorFile(tf, process.env.FILE, [{ name: "all", dtype: "float32", shape: [4, 8], offset: 0 }, { name: "some", dtype: "float32", shape: [3], offset: 64 }]);
  await keep({ cache, half: product({ h: half }).y, all: mapped.get("all"), some: tf.neg(mapped.get("some")) });
}
console.log(JSON.stringify(report));`;

interface Report {
  device: string;
  values: Record<string, number[]>;
}

it("every device computes what the CPU computes", () => {
  const folder = mkdtempSync(join(tmpdir(), "dramascope-devices-"));
  const file = join(folder, "values.bin");
  writeFileSync(file, Float32Array.from({ length: 32 }, (_, i) => i / 4));
  const computeOn = (device: string): Report => {
    const { stdout, stderr } = runModule(code, { OPTIONS: JSON.stringify({ device }), FILE: file });
    expect(stderr).not.toContain("Error");
    return JSON.parse(stdout) as Report;
  };
  const [chosen, cpu] = ["auto", "cpu"].map(computeOn) as [Report, Report];
  rmSync(folder, { recursive: true });
  expect(cpu.device).toBe("cpu");
  expect(Object.keys(chosen.values)).toEqual(Object.keys(cpu.values));
  for (const [name, values] of Object.entries(cpu.values)) {
    const largest = Math.max(...values.map(Math.abs));
    expect(largest, name).toBeGreaterThan(0);
    const worst = Math.max(...values.map((value, i) => Math.abs(value - chosen.values[name]![i]!)));
    expect(worst, `${name} on ${chosen.device}`).toBeLessThanOrEqual(1e-5 * largest);
  }
  if (cpu.values["cache"] !== undefined) expect([cpu.values["cache"], cpu.values["half"], cpu.values["some"]]).toEqual([[1, 9, 3], [0, -8, 2, 8], [-4, -4.25, -4.5]]);
});
