import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { QwenVl, Sample } from "@dramascope/qwen-vl";
import type { GrpoSample, RewardBreakdown, SftSample } from "@dramascope/schema";
import { NotFiniteError, trainGrpo, trainSft, type GrpoConfigInput, type SampleEncoder } from "@dramascope/trainer";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { loadDemoBase } from "./demo-base.ts";
import { checkUpdate } from "../src/not-finite.ts";

let model: QwenVl;
let encoder: SampleEncoder;
let runDir: string;
beforeAll(async () => {
  ({ model, encoder } = await loadDemoBase());
});
beforeEach(async () => {
  runDir = await mkdtemp(join(tmpdir(), "dramascope-nan-"));
});
afterAll(() => model.dispose());

const core = (i: number) => ({ sampleId: `s${i}`, messages: [{ role: "user" as const, content: `Retell drama ${i}.` }], videos: [] });
const grpoSamples = Array.from({ length: 2 }, (_, i): GrpoSample => ({ ...core(i), kind: "grpo", quality: 3, caption: "x", comments: [] }));

/** The model, with NaN in one completion's log-probabilities in some calls, and a record of what the adapter was given. */
function broken(isBroken: (call: number) => boolean, given: Float32Array[][]): QwenVl {
  let call = 0;
  return new Proxy(model, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      if (key === "logProbsWithGradient") {
        return (...[prompt, completions, options]: Parameters<QwenVl["logProbsWithGradient"]>) => {
          const isNow = isBroken(call++);
          return model.logProbsWithGradient(prompt, completions, {
            ...options,
            gradient: (logProbs, entropy) => options.gradient(isNow ? logProbs.map((row, i) => (i === 1 ? row.with(1, NaN) : row)) : logProbs, entropy),
          });
        };
      }
      if (key === "trainable") {
        return () => {
          const set = model.trainable("lora");
          return new Proxy(set, { get: (one, name) => {
            const own: unknown = Reflect.get(one, name, one);
            if (name === "assignAll") return (values: Float32Array[]) => { given.push(values.map((array) => array.slice())); one.assignAll(values); };
            return typeof own === "function" ? (own.bind(one) as unknown) : own;
          } });
        };
      }
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}

const grpo = (policy: QwenVl, settings: Partial<GrpoConfigInput> = {}, onWarning?: (text: string) => void): ReturnType<typeof trainGrpo> =>
  trainGrpo({ runDir, seed: 1, lora: { r: 2 }, learningRate: 1e-2, steps: 6, promptsPerStep: 2, numGenerations: 2, maxCompletionLength: 4, beta: 0, saveSteps: 1, ...settings }, grpoSamples, {
    model: policy, encoder, ...(onWarning && { onWarning }),
    rollout: (prompts) => Promise.resolve(prompts.map(() => [[5, 6, 7], [8, 9]].map((ids): Sample => ({ ids: Int32Array.from(ids), text: "", logProbs: new Float32Array(ids.length), finishReason: "stop" })))),
    reward: (items) => Promise.resolve(items.map((_, i): RewardBreakdown => ({ caption: i % 2, comments: 0, accuracy: 0, format: 0, total: 0, reasons: [], version: "x" }))),
  });
const json = async (name: string): Promise<Record<string, unknown>> => JSON.parse(await readFile(join(runDir, name), "utf8")) as Record<string, unknown>;
const lines = async (): Promise<Record<string, unknown>[]> => (await readFile(join(runDir, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);

describe("NaN in one completion", () => {
  it("ends the run before anything moves, and is reported with its place", async () => {
    const given: Float32Array[][] = [];
    // Two prompts a step: the sixth call is the second prompt of step 3.
    await expect(grpo(broken((call) => call === 5, given))).rejects.toMatchObject({ code: "NOT_FINITE", message: expect.stringContaining("step 3, sample s") as string });
    const report = await json("nan-report.json");
    expect(report).toMatchObject({ step: 3, what: "log-probabilities", completion: 1, position: 1, parameter: null });
    expect(report["sampleId"]).toMatch(/^s[01]$/u);
    expect(report["range"]).toHaveLength(2);
    expect(given).toHaveLength(2);
    expect(await readFile(join(runDir, "latest"), "utf8")).toBe("checkpoint-000002\n");
    expect((await lines()).map(({ step }) => step)).toEqual([1, 2]);
    // The same command under the other policy goes on from there.
    const result = await grpo(broken((call) => call === 1, given), { nanPolicy: "skip" });
    expect(result).toMatchObject({ finished: true, steps: 6 });
  });

  it("may be left out, some steps in a row", async () => {
    const warnings: string[] = [];
    const given: Float32Array[][] = [];
    await grpo(broken((call) => call < 2, given), { nanPolicy: "skip", maxSkips: 2 }, (text) => warnings.push(text));
    expect((await lines()).map(({ loss }) => loss === null)).toEqual([true, true, false, false, false, false]);
    expect(given).toHaveLength(4);
    expect(warnings.filter((text) => text.includes("the step is left out"))).toHaveLength(2);
    runDir = await mkdtemp(join(tmpdir(), "dramascope-nan-"));
    await expect(grpo(broken(() => true, given), { nanPolicy: "skip", maxSkips: 2 })).rejects.toBeInstanceOf(NotFiniteError);
    expect(await lines()).toHaveLength(2);
  });

  it("is found in SFT, too", async () => {
    const policy = new Proxy(model, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (key !== "groupLogProbsWithGradient") return typeof value === "function" ? (value.bind(target) as unknown) : value;
        return (...[groups, options]: Parameters<QwenVl["groupLogProbsWithGradient"]>) => model.groupLogProbsWithGradient(groups, { ...options, gradient: (rows, entropy) => options.gradient(rows.map((group, i) => (i === 1 ? group.map((row) => row.with(0, Infinity)) : group)), entropy) });
      },
    });
    const samples = Array.from({ length: 2 }, (_, i): SftSample => ({ ...core(i), kind: "sft", target: `Revenge ${i}.` }));
    await expect(trainSft({ runDir, lora: { r: 2 }, epochs: 1, batchSize: 2 }, samples, { model: policy, encoder })).rejects.toThrow(/^step 1, sample s[01], completion 0: NaN or infinity in the log-probabilities/u);
  });
});

it("names the first matrix whose gradient is not finite", () => {
  const grads = [Float32Array.of(1, 2), Float32Array.of(-3, NaN, 4)];
  expect(() => { checkUpdate(4, { loss: 1, norm: NaN, grads, names: ["a", "b"] }); }).toThrow(expect.objectContaining({ report: { step: 4, what: "gradient", sampleId: null, completion: null, position: 1, parameter: "b", range: [-3, 4] } }) as Error);
  expect(() => { checkUpdate(4, { loss: Infinity, norm: 1, grads: [Float32Array.of(1)], names: ["a"] }); }).toThrow(/infinity in the loss/u);
});
