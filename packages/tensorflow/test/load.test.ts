import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadTensorFlow, type Diagnostics, type LoadTensorFlowOptions } from "@dramascope/tensorflow";
import { thisMachine } from "../src/candidates.ts";
import { searchTensorFlow } from "../src/search.ts";
import { exitOfModule, runModule } from "./processes.ts";

const temporary: string[] = [];
const makeFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "dramascope-load-"));
  temporary.push(folder);
  return folder;
};
afterAll(() => temporary.forEach((folder) => rmSync(folder, { recursive: true })));

const report = `
import { loadTensorFlow } from "@dramascope/tensorflow";
const { tf, backend, binding, version, device, diagnostics } = await loadTensorFlow(JSON.parse(process.env.OPTIONS ?? "{}"));
const y = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[1], [1]]));
console.log(JSON.stringify({ backend, binding, version, device, ...diagnostics, y: [...await y.data()], tf32: process.env.NVIDIA_TF32_OVERRIDE ?? null }));
`;

interface Report extends Diagnostics {
  backend: string;
  binding: string | null;
  version: string;
  device: string;
  y: number[];
  tf32: string | null;
}

const load = (env: Record<string, string> = {}): Report => JSON.parse(runModule(report, env).stdout) as Report;

describe("loadTensorFlow", () => {
  it("finds something that computes, explains every candidate before it and exits cleanly without a line on stderr", () => {
    const { status, stdout, stderr } = runModule(report);
    const found = JSON.parse(stdout) as Report;
    expect(found.y).toEqual([3, 7]);
    const chosen = found.candidates.findIndex(({ outcome }) => outcome === "chosen");
    for (const { outcome, reason } of found.candidates.slice(0, chosen)) expect([outcome === "missing" || outcome === "refused", typeof reason]).toEqual([true, "string"]);
    for (const { outcome } of found.candidates.slice(chosen + 1)) expect(outcome).toBe("not-tried");
    expect(found.candidates.at(-1)!.where).toBe("@tensorflow/tfjs-backend-wasm");
    expect(status).toBe(0);
    if (found.backend === "wasm") {
      expect(stderr).toMatch(/^TensorFlow: [^\n]+\n$/u);
      return;
    }
    expect(stderr).toBe("");
    expect(found).toMatchObject({ device: expect.stringMatching(/^(?:cpu|gpu)$/u) as string, oneDnn: "on", version: expect.stringMatching(/^2\.\d+\.\d+/u) as string });
    expect(found.threads).toBeGreaterThan(0);
    if (found.binding === "koffi") expect(found.logLines.join("\n")).toContain("TF_ENABLE_ONEDNN_OPTS");
  });

  it("never looks at native code when wasm is asked for", () => {
    for (const env of [{ DRAMASCOPE_TENSORFLOW: "wasm" }, { OPTIONS: '{"prefer":"wasm"}' }]) {
      const { stdout, stderr, status } = runModule(report, env);
      expect(JSON.parse(stdout)).toMatchObject({ backend: "wasm", binding: null, candidates: [{ binding: "wasm", outcome: "chosen" }], y: [3, 7], threads: 1, oneDnn: "none" });
      expect([stderr, status]).toEqual(["", 0]);
    }
  });

  it("falls back from an addon that is not there, and says so", () => {
    const found = load({ OPTIONS: '{"prefer":"addon"}' });
    expect(found.y).toEqual([3, 7]);
    if (found.binding !== "addon") expect(found.candidates.slice(0, 2)).toMatchObject([1, 2].map(() => ({ binding: "addon", outcome: "missing", reason: expect.any(String) as string })));
  });

  it.each<[LoadTensorFlowOptions, string, string]>([
    [{ threads: 0 }, "TENSORFLOW_OPTION", "threads is 0"],
    [{ gpuIndex: -1 }, "TENSORFLOW_OPTION", "gpuIndex is -1"],
    [{ device: "GPU" as "gpu" }, "TENSORFLOW_OPTION", 'device is "GPU"'],
    [{ device: "cpu", gpuIndex: 0 }, "TENSORFLOW_OPTION", "gpuIndex is 0 and device is cpu"],
    [{ prefer: "python" as "koffi" }, "TENSORFLOW_PREFERENCE", 'prefer is "python"'],
  ])("refuses %j", async (options, code, message) => {
    await expect(loadTensorFlow(options)).rejects.toMatchObject({ code, message });
  });

  it("refuses a variable that names no binding", async () => {
    await expect(searchTensorFlow({}, { ...thisMachine(), env: { DRAMASCOPE_TENSORFLOW: "cuda" } })).rejects.toMatchObject({ code: "TENSORFLOW_PREFERENCE", message: 'DRAMASCOPE_TENSORFLOW is "cuda"' });
  });

  it("treats an unusable library that the user named as an error that says what is wrong, never as a reason to fall back", () => {
    const empty = makeFolder();
    const fake = makeFolder();
    for (const name of ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"]) writeFileSync(join(fake, name), "not a library");
    for (const [path, cause] of [
      ["/nonexistent/tensorflow", "the path does not exist"],
      [empty, "it holds no libtensorflow_cc.so.2"],
      [fake, "libtensorflow_framework.so.2 cannot be loaded"],
      [join(fake, "libtensorflow_cc.so.2"), "libtensorflow_framework.so.2 cannot be loaded"],
    ] as const) {
      const { status, stdout, stderr } = runModule(report, { DRAMASCOPE_LIBTENSORFLOW: path });
      expect(stderr).toContain("TENSORFLOW_UNUSABLE");
      expect(stderr).toContain(`DRAMASCOPE_LIBTENSORFLOW=${path}: `);
      expect(stderr).toContain(cause);
      expect([stdout, status]).toEqual(["", 1]);
    }
  });

  it.each(['{"device":"gpu"}', '{"gpuIndex":5}'])("fails when a GPU is asked for and there is none, with a reason for each place: %s", (options) => {
    const { stderr, stdout } = runModule(report, { OPTIONS: options });
    if (stdout !== "") {
      expect(JSON.parse(stdout)).toMatchObject({ device: "gpu" });
      return;
    }
    expect(stderr).toContain("TENSORFLOW_NO_GPU");
    expect(stderr).toContain("@tensorflow/tfjs-node-gpu: ");
  });

  it("takes threads, the CPU alone and exact float32 as options", () => {
    const found = load({ OPTIONS: '{"threads":1,"device":"cpu","allowTf32":false}' });
    expect(found).toMatchObject({ device: "cpu", threads: 1, y: [3, 7] });
    if (found.backend === "tensorflow") expect(found.tf32).toBe("0");
    expect(load({ TF_ENABLE_ONEDNN_OPTS: "0" }).oneDnn).toBe(found.backend === "wasm" ? "none" : "off");
  });

  it("tells how many threads TensorFlow takes from its own variable, and needs no folder for temporary files", () => {
    const { backend, threads, candidates, y } = load({ TF_NUM_INTRAOP_THREADS: "3", TMPDIR: "/nonexistent" });
    expect([y, threads]).toEqual([[3, 7], backend === "wasm" ? 1 : 3]);
    for (const { reason } of candidates) expect(reason ?? "").not.toMatch(/ENOENT|nonexistent/u);
  });

  it("loads nothing when it is only imported", () => {
    const code = `
      import "@dramascope/tensorflow";
      import { readFileSync } from "node:fs";
      import { createRequire } from "node:module";
      const maps = process.platform === "linux" ? readFileSync("/proc/self/maps", "utf8") : "";
      const modules = Object.keys(createRequire(process.cwd() + "/x.js").cache).filter((path) => /tensorflow.tfjs|koffi/u.test(path));
      console.log(/libtensorflow|koffi/.test(maps), "_tfengine" in globalThis, modules.length, process.memoryUsage.rss() < 150e6);`;
    expect(runModule(code).stdout.trim()).toBe("false false 0 true");
  });
});

describe("a process that used TensorFlow", () => {
  const use = `
    import { loadTensorFlow } from "@dramascope/tensorflow";
    const { tf } = await loadTensorFlow();
    const x = tf.randomUniform([256, 256]);
    for (let i = 0; i < 5; i++) tf.matMul(x, x).dispose();
    if (tf.matMul([[1, 2]], [[3], [4]]).dataSync()[0] !== 11) process.exit(5);`;
  const inWorkers = (count: number): string => `
    import { Worker } from "node:worker_threads";
    const ends = Array.from({ length: ${count} }, () => new Promise((resolve) => new Worker(${JSON.stringify(use)}, { eval: true, execArgv: process.execArgv.slice(0, -2) }).on("exit", resolve)));
    if ((await Promise.all(ends)).some((code) => code !== 0)) process.exitCode = 3;`;

  it.each([
    ["oneDNN on", use, {}],
    ["oneDNN off", use, { TF_ENABLE_ONEDNN_OPTS: "0" }],
    ["oneDNN on, in two worker threads beside the main one", `${use}${inWorkers(2)}`, {}],
    ["oneDNN off, in a worker thread", inWorkers(1), { TF_ENABLE_ONEDNN_OPTS: "0" }],
  ])("ends with code 0 every time: %s", async (_case, code, env) => {
    const exits: (number | string | null)[] = [];
    for (let i = 0; i < 3; i++) exits.push(await exitOfModule(code, env));
    expect(exits).toEqual([0, 0, 0]);
  });

  it("computes the same bytes as another one", () => {
    const code = `
      import { createHash } from "node:crypto";
      import { compile, loadTensorFlow } from "@dramascope/tensorflow";
      const { tf } = await loadTensorFlow({ threads: 1 });
      const layer = compile(tf, "layer", { x: { shape: [64, 96], dtype: "float32" }, w: { shape: [96, 96], dtype: "float32" } }, (ops, { x, w }) => {
        const scores = ops.softmax(ops.matmul(x, x, { transposeB: true }));
        return { y: ops.tanh(ops.matmul(ops.matmul(scores, x), w)) };
      });
      const { y } = layer({ x: tf.randomNormal([64, 96], 0, 1, "float32", 1), w: tf.randomNormal([96, 96], 0, 1, "float32", 2) });
      console.log(createHash("sha256").update(new Uint8Array((await y.data()).buffer)).digest("hex"));`;
    const [first, second] = [runModule(code), runModule(code)];
    expect(first.stdout).toMatch(/^[0-9a-f]{64}\n$/u);
    expect(second.stdout).toBe(first.stdout);
  });
});

describe("the README", () => {
  it("shows code that runs", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const code = /```ts\n([\s\S]*?)```/u.exec(readme)![1]!;
    expect(runModule(code).stdout).toContain("[ 3, 7 ]");
  });
});
