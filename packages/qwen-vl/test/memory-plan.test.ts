import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeMemoryPlan, openSafetensors, planMemory, writeSafetensors, type NamedArray, type SafetensorsFile, type Tensor, type TrainableSet } from "@dramascope/qwen-vl";
import { availableMemory } from "../src/available-memory.ts";
import { loadWeights } from "../src/load-weights.ts";
import { Runtime } from "../src/runtime.ts";
import { golden } from "./goldens.ts";
import { difference, loadReference, relativeDifference, type Reference } from "./support.ts";

let ref: Reference;
const temporary: string[] = [];

beforeAll(async () => {
  ref = await loadReference();
});
afterAll(async () => {
  ref.model.dispose();
  for (const folder of temporary) await rm(folder, { recursive: true });
});

describe("a memory plan", () => {
  it("knows the weights, the cache and the largest tensor from headers alone", async () => {
    const plan = await planMemory(golden("model"), { tokens: 100, limitBytes: 2 ** 34 });
    const { weightBytes, parameters } = ref.model.info;
    expect(plan).toMatchObject({ dtype: "float32", parameters, weightBytes, kvBytesPerToken: 4 * 2 * 2 * 2 * 16, tokens: 100, fits: true });
    expect(plan.largestTensor.bytes).toBe(4 * 1024 * 64);
    const narrow = await planMemory(golden("model-new"), { dtype: "bfloat16" });
    expect(narrow.weightBytes).toBeGreaterThan(weightBytes / 2);
    expect(narrow.weightBytes).toBeLessThan(weightBytes * 0.52);
    expect(narrow.tokens).toBe(4096);
    expect(narrow.prefillBytes).toBeGreaterThan(plan.prefillBytes);
    expect((await planMemory(golden("model"), { dtype: "bfloat16", products: "float32", tokens: 100 })).prefillBytes).toBeGreaterThan(plan.prefillBytes);
  });

  it.each([0, 1.5, 4097])("refuses %d tokens", async (tokens) => {
    await expect(planMemory(golden("model"), { tokens })).rejects.toMatchObject({ code: "BAD_OPTION" });
  });

  it("keeps a model from loading that does not fit, says what would be needed, and can be overruled", async () => {
    const before = ref.tf.memory().numTensors;
    const loading = ref.load({ memoryLimitBytes: 2e6, planTokens: 64 });
    await expect(loading).rejects.toMatchObject({ code: "MEMORY_PLAN", hint: expect.stringMatching(/dtype bfloat16.*ignoreMemoryPlan/u) as string });
    await expect(loading).rejects.toThrow(describeMemoryPlan(await planMemory(golden("model"), { tokens: 64, limitBytes: 2e6 })));
    await expect(ref.load({ memoryLimitBytes: 10e6 })).rejects.toMatchObject({ hint: expect.stringContaining("planTokens") as string });
    expect(ref.tf.memory().numTensors).toBe(before);
    (await ref.load({ memoryLimitBytes: 2e6, ignoreMemoryPlan: true })).dispose();
  });
});

describe("the memory that is available", () => {
  const GIB = 2 ** 30;
  const machine: Record<string, string> = { "/proc/meminfo": `MemTotal:       8388608 kB\nMemAvailable:    ${4 * 2 ** 20} kB\n` };
  it.each<[string, Record<string, string>, { from: string; bytes: number }]>([
    ["of the machine", {}, { from: "system", bytes: 4 * GIB }],
    ["of a cgroup of version 2 without its droppable pages", {
      "/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/b/memory.current": "1\n",
      "/sys/fs/cgroup/a/memory.max": String(2 * GIB), "/sys/fs/cgroup/a/memory.current": String(1.5 * GIB), "/sys/fs/cgroup/a/memory.stat": `active_file 3\ninactive_file ${GIB}\n`,
    }, { from: "container", bytes: 1.5 * GIB }],
    ["of a cgroup of version 1", {
      "/proc/self/cgroup": "4:cpu,memory:/x\n1:cpu:/y\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": String(3 * GIB), "/sys/fs/cgroup/memory/memory.usage_in_bytes": String(GIB),
    }, { from: "container", bytes: 2 * GIB }],
    ["under a limit of address space", { "/proc/self/limits": `Limit                     Soft Limit           Hard Limit           Units\nMax address space         ${3 * GIB}            unlimited            bytes\n`, "/proc/self/status": `VmSize:\t${2 * 2 ** 20} kB\n` }, { from: "process", bytes: GIB }],
    ["with no limits", { "/proc/self/cgroup": "0::/\n", "/proc/self/limits": "Max address space         unlimited            unlimited            bytes\n" }, { from: "system", bytes: 4 * GIB }],
  ])("is that %s", async (_name, files, expected) => {
    expect(await availableMemory((path) => Promise.resolve({ ...machine, ...files }[path]))).toEqual(expected);
  });

  it("is a number everywhere", async () => {
    const { bytes } = await availableMemory();
    expect(bytes).toBeGreaterThan(2 ** 20);
    expect((await availableMemory(() => Promise.resolve(undefined))).bytes).toBeGreaterThan(0);
  });
});

describe("weights of several pieces", () => {
  it("arrive as those of one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-pieces-"));
    temporary.push(folder);
    await cp(golden("model-new"), folder, { recursive: true });
    const rows = 270_000; // 69 MB in float32: more than a piece of 64 MiB
    const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as { text_config: object };
    await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, text_config: { ...config.text_config, vocab_size: rows } }));
    const file = await openSafetensors(golden("model-new/model.safetensors"));
    const tensors: NamedArray[] = [];
    for (const name of file.names) {
      const { shape, values } = await file.read(name);
      const grown = new Float32Array(name.includes("embed_tokens") || name.includes("lm_head") ? rows * 64 : values.length);
      grown.set(values);
      if (grown.length > values.length) grown.set(values.subarray(5 * 64, 6 * 64), (rows - 1) * 64); // the last row is row 5 again
      tensors.push({ name, shape: grown.length > values.length ? [rows, 64] : shape, values: grown });
    }
    await file.close();
    await writeSafetensors(join(folder, "model.safetensors"), tensors);
    const model = await ref.load({}, folder);
    const changed = Int32Array.from(ref.prompt.ids, (id) => (id === ref.prompt.ids[0] ? 5 : id));
    const same = Int32Array.from(changed, (id) => (id === 5 ? rows - 1 : id));
    const small = await ref.model.forward({ ...ref.prompt, ids: changed });
    const [first, second] = [await model.forward({ ...ref.prompt, ids: changed }), await model.forward({ ...ref.prompt, ids: same })];
    const [expected, wide, again] = await Promise.all([small.logits.data(), first.logits.data(), second.logits.data()]);
    expect(difference(wide.subarray(0, 1024), expected)).toBeLessThan(1e-5);
    expect(wide[rows - 1]).toBe(wide[5]);
    expect(again).toEqual(wide);
    for (const one of [small, first, second]) one.dispose();

    const [given, known] = [model, ref.model].map((one) => one.trainable(/embed_tokens|lm_head/u)) as [TrainableSet, TrainableSet];
    for (const [one, set] of [[model, given], [ref.model, known]] as const) {
      for (const name of set.names) set.assign(name, set.value(name));
      await one.logProbsWithGradient({ ...ref.prompt, ids: changed }, [[5], [7]], { gradient: () => ({ loss: 0, dLogProbs: [[-1], [1]] }) }); // that of a difference of logits, whatever the other rows
    }
    const again5 = await model.forward({ ...ref.prompt, ids: changed });
    expect(await again5.logits.data()).toEqual(wide);
    again5.dispose();
    const expectedGradients = await known.readGradients();
    for (const [i, values] of (await given.readGradients()).entries()) {
      expect(relativeDifference(values.subarray(0, 1024 * 64), expectedGradients[i]!)).toBeLessThan(1e-5);
      expect(values.subarray(1024 * 64).reduce((most, value) => Math.max(most, Math.abs(value)), 0)).toBeLessThan(1e-5);
    }
    known.dispose();
    model.dispose();
  });
});

describe("a matrix that is put together", () => {
  it("holds every value in its place, transposed", async () => {
    const [rows, columns] = [5000, 4096]; // 82 MB in float32
    const file: SafetensorsFile = {
      path: "made.safetensors", names: ["a.weight"], metadata: {}, info: () => ({ dtype: "F32", shape: [rows, columns], bytes: 4 * rows * columns }), close: () => Promise.resolve(),
      readBits: () => Promise.reject(new Error("F32 has none")),
      read: (_name, options) => {
        const { first, count } = options!.rows!;
        const values = new Float32Array(count * columns);
        for (let i = 0; i < values.length; i++) values[i] = first * columns + i;
        return Promise.resolve({ dtype: "F32", shape: [count, columns], bytes: values.byteLength, values });
      },
    };
    const weights = await loadWeights({ tensors: new Map([["a.weight", { file, name: "a.weight" }]]), close: () => Promise.resolve() }, new Runtime(ref.tf), { tf: ref.tf });
    const stored = weights.tensor("a.weight") as Tensor;
    expect(stored.shape).toEqual([columns, rows]);
    const some = await stored.slice([4090, 4094], [2, 4]).data();
    expect([...some]).toEqual([4090, 4091].flatMap((column) => [4094, 4095, 4096, 4097].map((row) => Math.fround(row * columns + column))));
    weights.dispose();
  });
});
