import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadQwenVl, openSafetensors, readAdapter, type Prompt, type QwenVl, type Sample } from "@dramascope/qwen-vl";
import type { GrpoSample, RewardBreakdown, SftSample } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { parseGrpoConfig, trainGrpo, trainSft, type GrpoConfigInput, type SampleEncoder } from "@dramascope/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const folder = (name: string): string => fileURLToPath(new URL(`../../../test-fixtures/goldens/trainer/${name}`, import.meta.url));
const json = <T>(name: string): T => JSON.parse(readFileSync(folder(name), "utf8")) as T;

let model: QwenVl;
let tf: Awaited<ReturnType<typeof loadTensorFlow>>["tf"];
beforeAll(async () => {
  ({ tf } = await loadTensorFlow());
  model = await loadQwenVl(folder("tiny-vl"), { tf });
});
afterAll(() => model.dispose());

const textPrompt = (ids: readonly number[]): Prompt => ({
  ids: Int32Array.from(ids),
  positionIds: Int32Array.from([...ids.keys(), ...ids.keys(), ...ids.keys()]),
  nextPosition: ids.length,
  segments: [{ text: ids.length }],
  vision: [],
  text: "",
});

/** Norm of the difference of two adapters over the norm of the distance from the start. */
async function relativeError(actual: string, expected: string, start: string): Promise<number> {
  const [a, b, s] = await Promise.all([readAdapter(actual), readTensors(expected), readAdapter(start)]);
  let [difference, moved] = [0, 0];
  for (const { module, a: left, b: right } of a.modules) {
    const origin = s.modules.find((one) => one.module === module)!;
    for (const [kind, ours, first] of [["A", left, origin.a], ["B", right, origin.b]] as const) {
      const reference = b.get(`base_model.model.${module}.lora_${kind}.weight`)!;
      reference.forEach((value, i) => {
        difference += (ours.values[i]! - value) ** 2;
        moved += (value - first.values[i]!) ** 2;
      });
    }
  }
  return Math.sqrt(difference / moved);
}

async function readTensors(path: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(path);
  const out = new Map<string, Float32Array>();
  for (const name of file.names) out.set(name.replace(/\.default\./u, "."), (await file.read(name)).values as Float32Array);
  await file.close();
  return out;
}

interface GrpoRun {
  config: { numGenerations: number; promptsPerGeneration: number; numIterations: number; gradientAccumulationSteps: number; temperature: number; beta: number; biasCorrectionKl: boolean; epsilon: number; epsilonHigh: number; lossType: "grpo" | "dapo"; importanceSamplingLevel: "token" | "sequence"; maxCompletionLength: number; learningRate: number; schedule: "linear" | "cosine"; warmupSteps: number; weightDecay: number; maxGradNorm: number; adapter: "fresh" | "sft"; reference: "base" | "sft" };
  table: { promptIds: number[]; completions: { ids: number[]; rewards: number[] }[] }[];
  steps: { loss: number; gradNorm: number; kl: number; learningRate: number }[];
}

describe("the reference runs", () => {
  it.each([["grpo-text-base-ref", [3]], ["grpo-text-sft-ref-dapo", [3]], ["grpo-text-mu2-clip", [4]], ["grpo-text-mu2-gspo", [4]]] as const)("GRPO %s", async (name, checked) => {
    const { config, table, steps } = json<GrpoRun>(`e2e/${name}/run.json`);
    const runDir = await mkdtemp(join(tmpdir(), "dramascope-grpo-"));
    const sampleOf = (i: number): GrpoSample => ({ kind: "grpo", sampleId: String(i), messages: [{ role: "user", content: "x" }], videos: [], quality: 3, caption: "x", comments: [] });
    const tokensOf = (step: number): GrpoRun["table"] => table.slice(step * config.promptsPerGeneration, (step + 1) * config.promptsPerGeneration);
    const encoder: SampleEncoder = { encode: () => Promise.resolve(textPrompt([1])), warm: () => Promise.resolve(), dispose: () => undefined };
    let rewards: RewardBreakdown[] = [];
    const settings: GrpoConfigInput = {
      runDir, adapter: folder(`adapters/${config.adapter}`), learningRate: config.learningRate, schedule: config.schedule, warmupSteps: config.warmupSteps, weightDecay: config.weightDecay, maxGradNorm: config.maxGradNorm,
      steps: steps.length / config.numIterations, promptsPerStep: config.promptsPerGeneration, numGenerations: config.numGenerations, numIterations: config.numIterations, temperature: config.temperature,
      maxCompletionLength: config.maxCompletionLength, lossType: config.lossType, importanceSamplingLevel: config.importanceSamplingLevel, epsilon: config.epsilon, epsilonHigh: config.epsilonHigh, beta: config.beta,
      biasCorrectionKl: config.biasCorrectionKl, reference: config.reference === "base" ? "base" : "start",
    };
    const before = tf.memory().numTensors;
    let prompts: Prompt[] = [];
    const result = await trainGrpo(settings, Array.from({ length: config.promptsPerGeneration }, (_, i) => sampleOf(i)), {
      model,
      encoder: { ...encoder, encode: () => Promise.resolve(prompts.shift()!) },
      rollout: (_given, index) => {
        const rows = tokensOf(index);
        rewards = rows.flatMap(({ completions }) => completions.map(({ rewards: [caption, comments, accuracy, format] }) => ({ caption: caption!, comments: comments!, accuracy: accuracy!, format: format!, total: 0, reasons: [], version: "x" })));
        prompts = tokensOf(index + 1).map(({ promptIds }) => textPrompt(promptIds));
        return Promise.resolve(rows.map(({ completions }) => completions.map(({ ids }): Sample => ({ ids: Int32Array.from(ids), text: "", logProbs: new Float32Array(ids.length), finishReason: ids.at(-1) === 2 ? "stop" : "length" }))));
      },
      reward: () => Promise.resolve(rewards),
      ...(prompts.push(...tokensOf(0).map(({ promptIds }) => textPrompt(promptIds))) > 0 ? {} : {}),
    });
    expect(result.finished).toBe(true);
    const lines = (await readFile(join(runDir, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as { loss: number; grad_norm: number; learning_rate: number });
    steps.forEach((step, i) => {
      expect(Math.abs(lines[i]!.loss - step.loss), `loss of step ${i + 1}`).toBeLessThan(2e-5);
      expect(Math.abs(lines[i]!.grad_norm - step.gradNorm), `norm of step ${i + 1}`).toBeLessThan(1e-4 * (1 + step.gradNorm));
      expect(Math.abs(lines[i]!.learning_rate - step.learningRate)).toBeLessThan(1e-8);
    });
    for (const step of checked) expect(await relativeError(result.adapter!, folder(`e2e/${name}/adapter-step${step}.safetensors`), folder(`adapters/${config.adapter}`))).toBeLessThan(1e-3);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("SFT on text", async () => {
    const { config, samples, steps } = json<{ config: { learningRate: number; schedule: "cosine"; warmupSteps: number; weightDecay: number; maxGradNorm: number; epochs: number }; samples: { promptIds: number[]; completionIds: number[] }[]; steps: { loss: number; gradNorm: number }[] }>("e2e/sft-text/run.json");
    const runDir = await mkdtemp(join(tmpdir(), "dramascope-sft-"));
    const records = samples.map((_, i): SftSample => ({ kind: "sft", sampleId: String(i), messages: [{ role: "user", content: "x" }], videos: [], target: String(i) }));
    // The reference has token ids only: a tokenizer that looks them up stands in.
    const lookUp: QwenVl = Object.create(model, {
      tokenizer: { value: { encode: (text: string) => samples[Number(text)]!.completionIds.slice(0, -1) } },
      generationConfig: { value: { eosTokenIds: [2] } },
    }) as QwenVl;
    const bound = new Proxy(lookUp, { get: (target, key) => { const value: unknown = Reflect.get(target, key, model); return key === "tokenizer" || key === "generationConfig" ? Reflect.get(target, key) : typeof value === "function" ? value.bind(model) as unknown : value; } });
    const result = await trainSft({ runDir, adapter: folder("adapters/fresh"), lora: { dropout: 0 }, learningRate: config.learningRate, schedule: config.schedule, warmupSteps: config.warmupSteps, weightDecay: config.weightDecay, maxGradNorm: config.maxGradNorm, epochs: config.epochs, batchSize: 4 }, records, {
      model: bound,
      encoder: { encode: (sample) => Promise.resolve(textPrompt(samples[Number(sample.sampleId)]!.promptIds)), warm: () => Promise.resolve(), dispose: () => undefined },
    });
    const lines = (await readFile(join(runDir, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as { loss: number; grad_norm: number });
    steps.forEach((step, i) => {
      expect(Math.abs(lines[i]!.loss - step.loss)).toBeLessThan(2e-5);
      expect(Math.abs(lines[i]!.grad_norm - step.gradNorm)).toBeLessThan(1e-4);
    });
    expect(await relativeError(result.adapter!, folder("e2e/sft-text/adapter-step4.safetensors"), folder("adapters/fresh"))).toBeLessThan(1e-3);
  });
});

describe("settings", () => {
  it("name the nearest one", () => {
    expect(() => parseGrpoConfig({ runDir: "x", learningrate: 1 })).toThrow("learningrate is no setting; did you mean learningRate?");
  });
});

/** Runs test/resumable-run.ts in its own process; resolves to its exit code. */
function runChild(runDir: string, kind: string, killAfterMs?: number): Promise<number | null> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, ["--conditions=@dramascope/source", fileURLToPath(new URL("resumable-run.ts", import.meta.url)), runDir, kind], { stdio: "inherit" });
    if (killAfterMs !== undefined) setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    child.on("close", (code) => settle(code));
  });
}

describe.each(["sft", "grpo"])("a killed %s run", (kind) => {
  it("goes on to the same adapter and metrics, bit for bit", async () => {
    const base = await mkdtemp(join(tmpdir(), "dramascope-resume-"));
    const [whole, killed] = [join(base, "whole"), join(base, "killed")];
    const started = performance.now();
    expect(await runChild(whole, kind)).toBe(0);
    const duration = performance.now() - started;
    for (const share of [0.55, 0.75, 0.9]) await runChild(killed, kind, duration * share);
    expect(await runChild(killed, kind)).toBe(0);
    const bytes = (run: string): Promise<Buffer> => readFile(join(run, "adapter", "adapter_model.safetensors"));
    expect((await bytes(killed)).equals(await bytes(whole))).toBe(true);
    const lines = async (run: string): Promise<unknown[]> => (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => ({ ...(JSON.parse(line) as object), step_time: 0, "dramascope/memory/peak": 0 }));
    expect(await lines(killed)).toEqual(await lines(whole));
    if (kind === "grpo") expect(await readFile(join(killed, "completions.jsonl"), "utf8")).toBe(await readFile(join(whole, "completions.jsonl"), "utf8"));
    expect((await readdir(killed)).filter((name) => name.includes("tmp"))).toEqual([]);
    expect(await runChild(killed, kind)).toBe(0);
  });

  it("refuses other data in its folder, and passes over a damaged checkpoint", async () => {
    const runDir = join(await mkdtemp(join(tmpdir(), "dramascope-resume-")), "run");
    expect(await runChild(runDir, kind)).toBe(0);
    expect(await runChild(runDir, `${kind}-other`)).toBe(3);
    const newest = (await readdir(runDir)).filter((name) => name.startsWith("checkpoint")).sort().at(-1)!;
    await writeFile(join(runDir, newest, "state.safetensors"), "damaged");
    const manifest = JSON.parse(await readFile(join(runDir, "run.json"), "utf8")) as object;
    await writeFile(join(runDir, "run.json"), JSON.stringify({ ...manifest, finished: false }));
    const before = await readFile(join(runDir, "adapter", "adapter_model.safetensors"));
    expect(await runChild(runDir, kind)).toBe(0);
    expect((await readFile(join(runDir, "adapter", "adapter_model.safetensors"))).equals(before)).toBe(true);
  });
});
