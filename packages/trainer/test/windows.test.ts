import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadQwenVl, type QwenVl, type Sample } from "@dramascope/qwen-vl";
import type { GrpoSample, RewardBreakdown } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { trainGrpo, type GrpoConfigInput } from "@dramascope/trainer";
import { afterAll, beforeAll, expect, it } from "vitest";
import { promptOf, reference, relativeError, watch, type Watched } from "./reference-run.ts";

let model: QwenVl;
beforeAll(async () => {
  const { tf } = await loadTensorFlow({ threads: 1 });
  model = await loadQwenVl(reference("tiny-vl"), { tf });
});
afterAll(() => model.dispose());

interface Run {
  watched: Watched;
  lines: Record<string, number | null>[];
}

/** One generation of two prompts with three completions each, the last of which is cut; `cut` is what stands in it. */
async function run(settings: Partial<GrpoConfigInput>, cut: readonly number[] = [50, 51, 52, 53]): Promise<Run> {
  const runDir = join(await mkdtemp(join(tmpdir(), "dramascope-windows-")), "run");
  const samples = [0, 1].map((i): GrpoSample => ({ kind: "grpo", sampleId: String(i), messages: [{ role: "user", content: "x" }], videos: [], quality: 3, caption: "x", comments: [] }));
  const watched = watch(model);
  const completion = (ids: readonly number[], finishReason: Sample["finishReason"]): Sample => ({ ids: Int32Array.from(ids), text: ids.join(" "), logProbs: new Float32Array(ids.length).fill(-5), finishReason });
  await trainGrpo({ runDir, adapter: reference("adapters/sft"), learningRate: 1e-2, schedule: "constant", steps: 1, promptsPerStep: 2, numGenerations: 3, ...settings }, samples, {
    model: watched.model,
    encoder: { encode: ({ sampleId }) => Promise.resolve(promptOf(model, [10, 11 + Number(sampleId), 12, 13])), warm: () => Promise.resolve(), dispose: () => undefined },
    rollout: (prompts) => Promise.resolve(prompts.map(() => [completion([20, 21, 2], "stop"), completion([30, 2], "stop"), completion(cut, "length")])),
    reward: (items) => Promise.resolve(items.map((_, i): RewardBreakdown => ({ caption: (i * 2) % 5, comments: 0, accuracy: 0, format: 0, total: null, reasons: [], version: "x" }))),
  });
  const lines = (await readFile(join(runDir, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Record<string, number | null>);
  return { watched, lines };
}

it("epochs follow one another, each with every sample once", async () => {
  const seen: string[] = [];
  const samples = [0, 1, 2, 3, 4].map((i): GrpoSample => ({ kind: "grpo", sampleId: String(i), messages: [{ role: "user", content: "x" }], videos: [], quality: 3, caption: "x", comments: [] }));
  await trainGrpo({ runDir: join(await mkdtemp(join(tmpdir(), "dramascope-epochs-")), "run"), adapter: reference("adapters/sft"), steps: 5, promptsPerStep: 2, numGenerations: 2, beta: 0 }, samples, {
    model,
    encoder: { encode: () => Promise.resolve(promptOf(model, [10, 11])), warm: () => Promise.resolve(), dispose: () => undefined },
    rollout: (prompts) => Promise.resolve(prompts.map(() => [[20, 2], [21, 2]].map((ids): Sample => ({ ids: Int32Array.from(ids), text: "", logProbs: new Float32Array(2), finishReason: "stop" })))),
    reward: (items) => {
      seen.push(...items.filter((_, i) => i % 2 === 0).map(({ sample }) => sample.sampleId));
      return Promise.resolve(items.map((): RewardBreakdown => ({ caption: 1, comments: 1, accuracy: 1, format: 1, total: 1, reasons: [], version: "x" })));
    },
  });
  expect(seen.slice(0, 5).sort()).toEqual(["0", "1", "2", "3", "4"]);
  expect(seen.slice(5).sort()).toEqual(["0", "1", "2", "3", "4"]);
});

it("a cut completion that is masked moves nothing, and stays in its group's mean", async () => {
  const settings = { maskTruncated: true, lossType: "dapo" } as const;
  const [one, other] = [await run(settings), await run(settings, [60, 61, 62, 63])];
  expect(relativeError(one.watched.gradients[0]!, other.watched.gradients[0]!)).toBeLessThan(1e-6);
  expect(one.lines[0]!["reward"]).toBe(other.lines[0]!["reward"]);
  const [counted, changed] = [await run({ lossType: "dapo" }), await run({ lossType: "dapo" }, [60, 61, 62, 63])];
  expect(relativeError(counted.watched.gradients[0]!, changed.watched.gradients[0]!)).toBeGreaterThan(1e-2);
});

it("several optimiser steps learn from one generation, against log-probabilities from before the first", async () => {
  const { watched, lines } = await run({ stepsPerGeneration: 2, numIterations: 2, beta: 0 });
  expect(lines).toHaveLength(4);
  expect(lines.map((line) => "reward" in line)).toEqual([true, false, false, false]);
  // Both prompts once before the first step, and no reference.
  expect(watched.scores).toHaveLength(2);
  expect(watched.passes.map(({ logProbs }) => logProbs[0]!.length)).toEqual([3, 3, 3, 3]);
  const moved = (pass: number, old: number): number => Math.max(...watched.passes[pass]!.logProbs.flatMap((row, i) => Array.from(row, (value, t) => Math.abs(value - watched.scores[old]![i]![t]!))));
  expect(moved(0, 0)).toBeLessThan(1e-5);
  expect(moved(1, 1)).toBeGreaterThan(1e-3);
  expect(moved(2, 0)).toBeGreaterThan(1e-3);
});

it("one optimiser step a generation needs no earlier log-probabilities", async () => {
  const { watched, lines } = await run({ gradientAccumulationSteps: 2, beta: 0 });
  expect(lines).toHaveLength(1);
  expect(watched.scores).toHaveLength(0);
  expect(lines[0]!["clip_ratio/region_mean"]).toBe(0);
  expect(lines[0]!["kl"] ?? null).toBeNull();
});

it("the clamped KL term has the clamped loss", async () => {
  const [free, held] = [await run({ beta: 0.5, reference: "base" }), await run({ beta: 0.5, reference: "base", klClamp: [20, 1e-3] })];
  expect(free.lines[0]!["kl"]).toBeGreaterThan(1e-2);
  expect(held.lines[0]!["kl"]).toBeLessThanOrEqual(1e-3);
});
