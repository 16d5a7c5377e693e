import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { readAdapter, type QwenVl } from "@dramascope/qwen-vl";
import { sha256File, type SftSample } from "@dramascope/schema";
import { exportAdapter, trainSft, type SampleEncoder, type SftConfigInput, type TrainDeps } from "@dramascope/trainer";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { loadDemoBase } from "./demo-base.ts";

let model: QwenVl;
let encoder: SampleEncoder;
let base: string;
beforeAll(async () => {
  ({ model, encoder } = await loadDemoBase());
});
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "dramascope-checkpoint-"));
});
afterAll(() => model.dispose());

const samples = Array.from({ length: 4 }, (_, i): SftSample => ({ sampleId: `s${i}`, messages: [{ role: "user", content: `Retell drama ${i}.` }], videos: [], kind: "sft", target: `Revenge of red ${i}.` }));
const train = (settings: Partial<SftConfigInput> = {}, deps: Partial<TrainDeps> = {}, data = samples): ReturnType<typeof trainSft> =>
  trainSft({ runDir: join(base, "run"), seed: 1, lora: { r: 2 }, learningRate: 1e-2, epochs: 3, batchSize: 2, saveSteps: 1, keepCheckpoints: 2, ...settings }, data, { model, encoder, ...deps });
const json = async (...path: string[]): Promise<Record<string, unknown>> => JSON.parse(await readFile(join(base, ...path), "utf8")) as Record<string, unknown>;
/** A signal that stops after a number of steps. */
const after = (steps: number): Pick<TrainDeps, "signal" | "onProgress"> => {
  const controller = new AbortController();
  return { signal: controller.signal, onProgress: ({ phase, done }) => { if (phase === "sft" && done === steps) controller.abort(); } };
};

describe("a checkpoint", () => {
  it("is a PEFT folder with optimiser, state and hashes of its files", async () => {
    await train();
    expect((await readdir(join(base, "run"))).filter((name) => /^(?:checkpoint|latest|best)/u.test(name)).sort()).toEqual(["checkpoint-000005", "checkpoint-000006", "latest"]);
    expect(await readFile(join(base, "run", "latest"), "utf8")).toBe("checkpoint-000006\n");
    const folder = join(base, "run", "checkpoint-000006");
    const manifest = await json("run", "checkpoint-000006", "manifest.json");
    expect(Object.keys(manifest)).toEqual(["adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "state.json"]);
    for (const [name, entry] of Object.entries(manifest)) expect(entry).toMatchObject({ sha256: await sha256File(join(folder, name)) });
    expect((await readAdapter(folder)).modules.length).toBeGreaterThan(0);
    expect(await json("run", "checkpoint-000006", "state.json")).toMatchObject({ step: 6, epoch: 3, seed: 1, optimizerStep: 6, inputs: (await json("run", "run.json"))["inputs"], lineage: { kind: "sft", identity: (await json("run", "run.json"))["identity"] } });
  });

  it("is written after the step that a stop falls in, and gone on from", async () => {
    await train({ runDir: join(base, "whole"), saveSteps: 100 });
    const stopped = await train({ saveSteps: 100 }, after(4));
    expect(stopped).toEqual({ adapter: undefined, steps: 4, finished: false });
    expect(await readFile(join(base, "run", "latest"), "utf8")).toBe("checkpoint-000004\n");
    const { adapter } = await train({ saveSteps: 100 });
    expect((await readFile(join(adapter!, "adapter_model.safetensors"))).equals(await readFile(join(base, "whole", "adapter", "adapter_model.safetensors")))).toBe(true);
  });

  it.each(["adapter_model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])("with a damaged %s is named, and the one before it is used", async (name) => {
    await train({}, after(4));
    await writeFile(join(base, "run", "checkpoint-000004", name), "damaged");
    const warnings: string[] = [];
    const result = await train({}, { onWarning: (text) => warnings.push(text) });
    expect(result.finished).toBe(true);
    expect(warnings[0]).toMatch(/^checkpoint-000004 is damaged \(.*; an earlier one is used$/su);
    expect((await readFile(join(base, "run", "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => (JSON.parse(line) as { step: number }).step)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("with a damaged one after it is the newest again, and kept", async () => {
    await train({ keepCheckpoints: 1 }, after(4));
    await writeFile(join(base, "run", "checkpoint-000004", "state.json"), "damaged");
    await train({ keepCheckpoints: 1 }, after(2));
    expect((await readdir(join(base, "run"))).filter((name) => name.startsWith("checkpoint"))).toEqual(["checkpoint-000002"]);
    expect(await readFile(join(base, "run", "latest"), "utf8")).toBe("checkpoint-000002\n");
  });

  it("is pointed at again when a kill came before that", async () => {
    const settings = { evalSamples: 1, evalSteps: 1, keepCheckpoints: 9 };
    await train(settings);
    const pointers = (): Promise<string[]> => Promise.all(["latest", "best"].map((name) => readFile(join(base, "run", name), "utf8")));
    const told = await pointers();
    await writeFile(join(base, "run", "run.json"), JSON.stringify({ ...(await json("run", "run.json")), finished: false }));
    await writeFile(join(base, "run", "latest"), "checkpoint-000001\n");
    await rm(join(base, "run", "best"));
    expect(await train(settings)).toMatchObject({ steps: 6, finished: true });
    expect(await pointers()).toEqual(told);
  });

  it("that names a reward as what made one the best is read", async () => {
    const settings = { evalSamples: 1, evalSteps: 1 };
    await train(settings, after(4));
    const folder = join(base, "run", "checkpoint-000004");
    const best = { step: 2, reward: 1e9 };
    await writeFile(join(folder, "state.json"), JSON.stringify({ ...(await json("run", "checkpoint-000004", "state.json")), best }));
    const hashes = await json("run", "checkpoint-000004", "manifest.json");
    await writeFile(join(folder, "manifest.json"), JSON.stringify({ ...hashes, "state.json": { bytes: 1, sha256: await sha256File(join(folder, "state.json")) } }));
    const warnings: string[] = [];
    await train(settings, { ...after(5), onWarning: (text) => warnings.push(text) });
    expect(warnings.join("\n")).not.toContain("damaged");
    expect(await json("run", "checkpoint-000005", "state.json")).toMatchObject({ best: { step: 2, score: 1e9 } });
  });

  it("of another run is not used", async () => {
    await train({ epochs: 2 });
    await rm(join(base, "run", "run.json"));
    const warnings: string[] = [];
    await train({ epochs: 3 }, { onWarning: (text) => warnings.push(text) });
    expect(warnings.filter((text) => text.includes("it belongs to another run"))).toHaveLength(2);
  });

  it("gives its adapter, and refuses when it is damaged", async () => {
    await train();
    const checkpoint = join(base, "run", "checkpoint-000005");
    expect(await exportAdapter(checkpoint, join(base, "out"))).toEqual({ hasEffect: true });
    expect(await readdir(join(base, "out"))).toEqual(["adapter_config.json", "adapter_model.safetensors", "run-manifest.json"]);
    expect(await json("out", "run-manifest.json")).toMatchObject({ kind: "sft", step: 5, parent: null, timeBase: "pinned" });
    await exportAdapter(checkpoint, join(base, "out"));
    await writeFile(join(base, "out", "thesis.txt"), "mine");
    await expect(exportAdapter(checkpoint, join(base, "out"))).rejects.toMatchObject({ code: "ADAPTER_FOLDER" });
    await writeFile(join(checkpoint, "adapter_config.json"), "{}");
    await expect(exportAdapter(checkpoint, join(base, "other"))).rejects.toThrow(/adapter_config\.json do not fit its hash/u);
    expect(await readdir(base)).not.toContain("other");
  });
});

describe("a run folder", () => {
  it("refuses another run, and says what differs", async () => {
    await train({}, after(1));
    await expect(train({ learningRate: 1e-3 })).rejects.toThrow(/learningRate differ/u);
    await expect(train({}, {}, samples.slice(1))).rejects.toThrow(/data differ/u);
    await expect(train({}, { backend: "wasm" })).rejects.toMatchObject({ code: "RUN_MISMATCH" });
    await expect(train({ saveSteps: 2, keepCheckpoints: 1, phaseTimeoutSeconds: 5 }, after(2))).resolves.toMatchObject({ steps: 2 });
  });

  it("is used by one process at a time; a lock of a process that is gone counts for nothing", async () => {
    await train({}, after(1));
    expect(await readdir(join(base, "run"))).not.toContain("run.lock");
    await writeFile(join(base, "run", "run.lock"), `${process.ppid} ${hostname()}`);
    await expect(train()).rejects.toMatchObject({ code: "RUN_BUSY", message: expect.stringContaining(`process ${process.ppid}`) as string });
    for (const [i, stale] of [`${2 ** 22 + 1} ${hostname()}`, `${process.ppid} another-machine`, "", `0 ${hostname()}`].entries()) {
      await writeFile(join(base, "run", "run.lock"), stale);
      await expect(train({}, after(2 + i))).resolves.toMatchObject({ steps: 2 + i, finished: false });
    }
  });

  it("goes on with other settings where that is allowed, and tells so", async () => {
    await train({}, after(2));
    const { adapter } = await train({ learningRate: 1e-3 }, { onDrift: "allow" });
    expect((await json("run", "run.json"))["drift"]).toEqual(["learningRate"]);
    expect(JSON.parse(await readFile(join(adapter!, "run-manifest.json"), "utf8"))).toMatchObject({ drift: ["learningRate"], step: 6 });
    expect((await readFile(join(base, "run", "metrics.jsonl"), "utf8")).trim().split("\n")).toHaveLength(6);
  });

  it.each([[{ seed: 2 }, "seed"], [{ evalSamples: 2 }, "evalSamples"], [{ learningRate: 1e-3 }, undefined]])("forgets which checkpoint was the best where %j judges anew", async (other, name) => {
    const settings = { evalSamples: 1, evalSteps: 2, epochs: 6 };
    await train(settings, after(2));
    const warnings: string[] = [];
    await train({ ...settings, ...other }, { ...after(3), onDrift: "allow", onWarning: (text) => warnings.push(text) });
    const forgotten = warnings.filter((text) => text.includes("looked for anew"));
    expect(forgotten).toEqual(name === undefined ? [] : [`the best checkpoint so far, checkpoint-000002, was judged by other ${name}: the best is looked for anew`]);
    expect((await json("run", "checkpoint-000003", "state.json"))["best"] === null).toBe(name !== undefined);
    expect((await readdir(join(base, "run"))).includes("best")).toBe(name === undefined);
  });
});
