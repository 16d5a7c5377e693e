import { stat } from "node:fs/promises";
import { join } from "node:path";
import { comparePlan, describePlan, parseGrpoConfig, parseSftConfig, planRun, type RunPlan } from "@dramascope/trainer";
import type { GrpoSample, SftSample } from "@dramascope/schema";
import { describe, expect, it } from "vitest";
import { weightHeaders, withModelShell } from "../src/model-shell.ts";
import { adapterParameters, gradientBytes, layerParameters, rowsOf } from "../src/run-plan.ts";
import { visionBytes, visionFlops } from "../src/vision-plan.ts";
import { DEMO, DEMO_FOLDER, SEVEN_B } from "./model-configs.ts";

describe("the formulas", () => {
  it("give the published sizes of the 7B model", () => {
    // 392 tensors, 20.19 million values at rank 8.
    expect(adapterParameters(SEVEN_B, 8) / 1e6).toBeCloseTo(20.19, 2);
    expect((28 * layerParameters(SEVEN_B)) / 1e9).toBeCloseTo(6.53, 2);
  });

  it("count a shared prompt once: 31 thousand tokens, not 256", () => {
    const shared = rowsOf({ prompts: 1, promptTokens: 15_000, completions: 16, completionTokens: 1000 });
    const unshared = rowsOf({ prompts: 16, promptTokens: 15_000, completions: 1, completionTokens: 1000 });
    expect([shared, unshared]).toEqual([31_000, 256_000]);
  });

  it("keep as many layers' results as there is room for", () => {
    const shape = { prompts: 1, promptTokens: 500, completions: 8, completionTokens: 64 };
    const none = gradientBytes(DEMO, 4, shape, 0, 512);
    const all = gradientBytes(DEMO, 4, shape, 2 ** 30, 512);
    expect(all).toBeGreaterThan(none);
    expect(gradientBytes(DEMO, 4, shape, 2 ** 40, 512)).toBe(all);
  });
});

const core = (i: number): { sampleId: string; messages: { role: "user"; content: string }[]; videos: [] } => ({ sampleId: String(i), messages: [{ role: "user", content: "poor ".repeat(4 * (i + 1)) }], videos: [] });
const deps = { model: DEMO_FOLDER, gridOf: () => Promise.reject(new Error("there are no videos")) };

describe("the tower", () => {
  it("has the operations of its 0.6 billion weights a patch, and those of attention", () => {
    const weights = 32 * (4 * 1280 ** 2 + 3 * 1280 * 3420) + 1176 * 1280 + (5120 * (5120 + 3584)) / 4;
    const ofOne = visionFlops(SEVEN_B, [1, 20, 12]) / 240;
    expect(ofOne).toBeCloseTo(2 * weights + 4 * 1280 * (4 * 240 + 28 * 64), -3);
    // Frame pairs do not see each other.
    expect(visionFlops(SEVEN_B, [10, 20, 12])).toBeCloseTo(2400 * ofOne, -3);
  });

  it("takes videos of one sample together, up to a limit", () => {
    const one = visionBytes(SEVEN_B, [[10, 20, 12]], 512);
    expect(visionBytes(SEVEN_B, [[10, 20, 12], [10, 20, 12]], 512)).toBe(2 * one);
    expect(visionBytes(SEVEN_B, Array.from({ length: 50 }, () => [10, 20, 12] as const), 512)).toBeLessThan(7 * one);
    expect(visionBytes(SEVEN_B, [], 512)).toBe(0);
  });

  it("is a part of the plan", async () => {
    const samples = Array.from({ length: 4 }, (_, i): SftSample => ({ ...core(i), messages: [{ role: "user", content: [{ type: "video", video: 0 }, { type: "text", text: "So?" }] }], kind: "sft", target: "still", videos: [{ dramaId: `d${i % 3}`, episode: 1 }] }));
    const given = { model: DEMO_FOLDER, gridOf: () => Promise.resolve([6, 8, 4] as const) };
    const config = parseSftConfig({ runDir: "x", batchSize: 2, epochs: 3 });
    const [plan, blind] = [await planRun(config, samples, given), await planRun(config, samples.map((sample) => ({ ...sample, messages: core(0).messages, videos: [] })), deps)];
    expect(plan.memory).toMatchObject({ features: 3 * 48 * DEMO.text.hiddenSize * 4, vision: visionBytes(DEMO, [[6, 8, 4]], 512) });
    expect([blind.memory.features, blind.memory.vision]).toEqual([0, 0]);
    expect(plan.flops).toBeGreaterThan(2 * 0.75 * visionFlops(DEMO, [6, 8, 4]));
    expect((await planRun(config, samples, { ...given, maxCachedTokens: 10 })).memory.features).toBe(10 * 4 * DEMO.text.hiddenSize);
  });
});

describe("a plan without a back end", () => {
  it("counts a GRPO run", async () => {
    const samples = Array.from({ length: 5 }, (_, i): GrpoSample => ({ ...core(i), kind: "grpo", quality: 3, caption: "x", comments: [] }));
    const plan = await planRun(parseGrpoConfig({ runDir: "x", promptsPerStep: 2, numGenerations: 4, numIterations: 2, maxCompletionLength: 32 }), samples, deps);
    expect(plan).toMatchObject({ kind: "grpo", samples: 5, steps: 6, time: undefined, tokens: { completion: { max: 32 } } });
    expect(plan.tokens.prompt.min).toBeLessThan(plan.tokens.prompt.median);
    expect(plan.parameters.trained).toBe(adapterParameters(DEMO, 8));
    // The two prompts of a generation are passed in each of two iterations.
    expect(plan.linearTokens.unshared - plan.linearTokens.shared).toBeCloseTo(2 * 2 * 3 * ((plan.linearTokens.shared / 4 - 4 * 32)), 6);
    expect(plan.checkpoint.each).toBe(12 * plan.parameters.trained);
  });

  it("counts an SFT run", async () => {
    const samples = Array.from({ length: 5 }, (_, i): SftSample => ({ ...core(i), kind: "sft", target: "still" }));
    const plan = await planRun(parseSftConfig({ runDir: "x", batchSize: 2, epochs: 3 }), samples, deps);
    expect(plan).toMatchObject({ kind: "sft", steps: 9, memory: { rollout: 0, score: 0 } });
    expect(plan.linearTokens.unshared).toBe(plan.linearTokens.shared);
  });

  it("leaves out samples whose videos are not there, as a run does", async () => {
    const samples = Array.from({ length: 4 }, (_, i): SftSample => ({ ...core(i), kind: "sft", target: "still", videos: i === 2 ? [{ dramaId: "gone", episode: 1 }] : [] }));
    const plan = await planRun(parseSftConfig({ runDir: "x", batchSize: 1, epochs: 1 }), samples, deps);
    expect(plan).toMatchObject({ samples: 3, steps: 3 });
    expect(describePlan(plan)).toMatch(/^1 of 4 samples are left out; the first is 2: there are no videos\n3 samples, 3 optimiser steps$/mu);
    const stopped = await planRun(parseSftConfig({ runDir: "x", batchSize: 1, epochs: 1, onBadRecord: "stop" }), samples, deps);
    expect(describePlan(stopped)).toMatch(/^THE RUN WILL NOT START: 1 of 4 samples cannot be used and onBadRecord is stop; the first is 2: there are no videos$/mu);
    await expect(planRun(parseSftConfig({ runDir: "x" }), [samples[2]!], deps)).rejects.toMatchObject({ code: "NO_SAMPLES", message: expect.stringContaining("there are no videos") as string });
  });

  it("refuses to plan nothing", async () => {
    await expect(planRun(parseSftConfig({ runDir: "x" }), [], deps)).rejects.toMatchObject({ code: "NO_SAMPLES" });
  });
});

it("a shell has the widths of the model, few layers, no room on the disk, and goes away", async () => {
  let folder = "";
  await withModelShell(DEMO_FOLDER, 2, async (shell) => {
    folder = shell;
    const names = (await weightHeaders(shell)).map(({ name }) => name);
    expect(names.some((name) => name.includes("layers.1."))).toBe(true);
    expect(names.some((name) => name.includes("layers.2."))).toBe(false);
    const { size, blocks } = await stat(join(shell, "model.safetensors"));
    expect(blocks * 512).toBeLessThan(size / 4);
  });
  await expect(stat(folder)).rejects.toThrow("ENOENT");
});

it("a comparison names both sides", () => {
  const plan = { memory: { peak: 100 * 2 ** 20 }, time: { early: 2 } } as RunPlan;
  expect(comparePlan(plan, 3, 110 * 2 ** 20)).toBe("a step takes 3.00 s, planned 2.00 s (+50 %); peak memory 110.0 MiB, planned 100.0 MiB (+10 %)");
});
