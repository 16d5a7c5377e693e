import { expect, it } from "vitest";
import { runModule } from "./processes.ts";

/** Each part reports growth of resident memory in MB and of native tensors, in a process of its own with garbage collection on demand. */
const code = `
import { compile, loadTensorFlow } from "@dramascope/tensorflow";
import { bindingOf } from "./src/native/backend.ts";
const { tf, binding } = await loadTensorFlow({ threads: 1 });
const native = bindingOf(tf.backend());
const settle = () => { for (let i = 0; i < 3; i++) globalThis.gc(); return process.memoryUsage.rss() / 2 ** 20; };
const report = {};
const measure = (name, count, action) => {
  for (let i = 0; i < count / 20; i++) action();
  const [tensors, handles] = [tf.memory().numTensors, native.getNumOfTensors()];
  // A leak grows in every round; an allocator that takes its reserve does so once.
  let growth = Infinity;
  for (let round = 0; round < 3 && growth >= 20; round++) {
    const memory = settle();
    for (let i = 0; i < count; i++) action();
    growth = Math.min(growth, settle() - memory);
  }
  report[name] = { growth, tensors: tf.memory().numTensors - tensors, handles: native.getNumOfTensors() - handles };
};
if (binding === "koffi") {
  const x = tf.ones([64, 64]);
  measure("add", 200_000, () => { tf.tidy(() => { tf.add(x, x); }); });
  const values = new Float32Array(16_384).fill(1);
  measure("upload", 20_000, () => { const y = tf.tensor1d(values); tf.neg(y).dispose(); y.dispose(); });
  measure("read", 10_000, () => { x.dataSync(); });
  const thin = native.createTensor([2, 3], 1, new Float32Array(6));
  measure("failing", 20_000, () => { try { native.executeOp("MatMul", [], [thin, thin], 1); } catch {} });
  const specs = { x: { shape: [64, 64], dtype: "float32" }, at: { shape: [1], dtype: "int32" } };
  const body = (ops, { x, at }) => ({ y: ops.gather(ops.tanh(x), at) });
  const [inside, outside] = [tf.tensor1d([1], "int32"), tf.tensor1d([99], "int32")];
  const compiled = compile(tf, "leak", specs, body);
  measure("compiled", 1000, () => { compiled({ x, at: inside }).y.dispose(); });
  measure("compiled failing", 1000, () => { try { compiled({ x, at: outside }); } catch {} });
  measure("build", 100, () => { const made = compile(tf, "built", specs, body); made({ x, at: inside }).y.dispose(); made.dispose(); });
}
console.log(JSON.stringify(report));`;

it("memory, tensors and handles stay where they are over hundreds of thousands of operations", ({ skip }) => {
  const { stdout, stderr, status } = runModule(code, {}, ["--expose-gc"]);
  expect([status, stderr.split("\n").filter((line) => line.includes("Error"))]).toEqual([0, []]);
  const report = JSON.parse(stdout) as Record<string, { growth: number; tensors: number; handles: number }>;
  if (Object.keys(report).length === 0) return skip("no TensorFlow through koffi");
  const bounds = { add: 60, upload: 60, read: 60, failing: 60, compiled: 20, "compiled failing": 20, build: 20 };
  for (const [name, bound] of Object.entries(bounds)) {
    expect(report[name], name).toMatchObject({ tensors: 0, handles: 0 });
    expect(report[name]!.growth, name).toBeLessThan(bound);
  }
});
