import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Prompt, QwenVl, Sample } from "@dramascope/qwen-vl";
import type { GrpoSample, RewardBreakdown } from "@dramascope/schema";
import { groupAdvantages, REWARD_PARTS } from "@dramascope/trainer";
import { describe, expect, it } from "vitest";
import { completionLines } from "../src/completion-log.ts";
import { generationMetrics } from "../src/metrics.ts";
import { createPreview } from "../src/preview.ts";
import { RunDirectory } from "../src/run-directory.ts";
import { StepLog } from "../src/step-log.ts";

const sample = (text: string, length: number, finishReason: Sample["finishReason"] = "stop"): Sample => ({ ids: new Int32Array(length).fill(3), text, logProbs: new Float32Array(length), finishReason });
const score = (parts: Partial<RewardBreakdown>): RewardBreakdown => ({ caption: null, comments: null, accuracy: null, format: null, total: null, reasons: [], version: "v", ...parts });
const advantagesOf = (scores: readonly RewardBreakdown[]): ReturnType<typeof groupAdvantages> =>
  groupAdvantages(scores.map((one) => REWARD_PARTS.map((name) => one[name])), [0.2, 0.2, 0.5, 0.1], { numGenerations: 2 });

describe("metrics of a generation", () => {
  const groups = [[sample("a", 4), sample("a", 8, "length")], [sample("b", 6), sample("c", 2)]];

  it("have TRL's names and leave out what was not scored", () => {
    const scores = [score({ accuracy: 1 }), score({ accuracy: 0 }), score({ accuracy: 1, format: 1 }), score({})];
    expect(generationMetrics(groups, scores, advantagesOf(scores))).toMatchObject({
      reward: expect.closeTo((0.5 + 0 + 0.6) / 3, 12) as number,
      "rewards/accuracy/mean": expect.closeTo(2 / 3, 12) as number, "rewards/accuracy/std": expect.closeTo(Math.sqrt(1 / 3), 12) as number,
      "rewards/format/mean": 1, "rewards/format/std": null, "rewards/caption/mean": null,
      "completions/mean_length": 5, "completions/min_length": 2, "completions/max_length": 8,
      "completions/mean_terminated_length": 4, "completions/min_terminated_length": 2, "completions/max_terminated_length": 6, "completions/clipped_ratio": 0.25,
      "dramascope/unscored_ratio": 0.25, "dramascope/identical_ratio": 0.5,
    });
  });

  it("make no reward up where nothing was scored and nothing ended", () => {
    const scores = [score({}), score({})];
    const metrics = generationMetrics([[sample("a", 4, "length"), sample("b", 4, "length")]], scores, advantagesOf(scores));
    expect(metrics).toMatchObject({ reward: null, reward_std: null, "completions/mean_terminated_length": null, "completions/min_terminated_length": null, "completions/clipped_ratio": 1, "dramascope/unscored_ratio": 1 });
  });
});

const record: GrpoSample = { kind: "grpo", sampleId: "s", messages: [{ role: "user", content: "x" }], videos: [{ dramaId: "d", episode: 1 }], quality: 3, caption: "x", comments: [] };

it("completions are logged with what they earned, and token ids on request", () => {
  const given = { step: 3, samples: [record], groups: [[sample("a", 2), sample("b", 3, "length")]], scores: [score({ accuracy: 1, total: 0.5 }), score({ reasons: ["no tags"] })], advantages: [0.7, 0] };
  const [first, second] = completionLines({ ...given, withIds: true });
  expect(first).toMatchObject({ step: 3, id: "s", index: 0, text: "a", ids: [3, 3], length: 2, ended: true, accuracy: 1, total: 0.5, advantage: 0.7, version: "v" });
  expect(second).toMatchObject({ index: 1, ended: false, accuracy: null, total: null, reasons: ["no tags"], advantage: 0, frames: first!.frames });
  expect(completionLines({ ...given, withIds: false })[0]).not.toHaveProperty("ids");
});

describe("the log of steps", () => {
  const directory = async (): Promise<RunDirectory> => new RunDirectory(await mkdtemp(join(tmpdir(), "dramascope-log-")));

  it("writes NaN as null, tells signs once, and goes on with what it told before", async () => {
    const run = await directory();
    const told: string[] = [];
    const options = { step: 0, now: () => 1000, onSign: (text: string) => void told.push(text), plan: undefined };
    const line = (step: number): { step: number } & Record<string, number> => ({ step, loss: Number.NaN, frac_reward_zero_std: 1, "dramascope/time/reward": step });
    const log = await StepLog.open(run, options);
    for (const step of [1, 2]) await log.add(line(step));
    const again = await StepLog.open(run, { ...options, step: 2 });
    await again.add(line(3));
    expect(told).toEqual([expect.stringMatching(/^step 1, ZERO_SPREAD: 100 %/u)]);
    const lines = (await readFile(join(run.path, "metrics.jsonl"), "utf8")).trim().split("\n").map((one) => JSON.parse(one) as Record<string, number | null>);
    expect(lines.map(({ loss }) => loss)).toEqual([null, null, null]);
    expect(lines.map((one) => [one["dramascope/reward_latency/p50"], one["dramascope/reward_latency/p95"]])).toEqual([[1, 1], [1, 2], [2, 3]]);
  });
});

describe("previews", () => {
  it("come before the first step, after 1, 5, 10, 50 and then at times, each once, with the same random numbers", async () => {
    const folder = join(await mkdtemp(join(tmpdir(), "dramascope-preview-")), "preview");
    const asked: object[] = [];
    const model = { generate: (_prompts: readonly Prompt[], options: object) => (asked.push(options), Promise.resolve([[sample("one", 2), sample("two", 3, "length")]])) } as unknown as QwenVl;
    const encoder = { encode: () => Promise.resolve({} as Prompt), warm: () => Promise.resolve(), dispose: () => undefined };
    let sheets = 0;
    const preview = createPreview({ folder, model, encoder, sample: record, sheets: () => Promise.resolve([`sheet-${++sheets}.png`]), everySteps: 40, maxTokens: 16, seed: 7 });
    const steps: number[] = [];
    for (let step = 0; step <= 125; step++) if ((await preview(step)) !== undefined) steps.push(step);
    expect(steps).toEqual([0, 1, 5, 10, 50, 80, 120]);
    expect(new Set(asked.map((one) => JSON.stringify(one)))).toEqual(new Set(['{"maxNewTokens":16,"n":2,"seed":7}']));
    expect(JSON.parse(await readFile(join(folder, "step-000005.json"), "utf8"))).toEqual({ step: 5, id: "s", sheets: ["sheet-1.png"], wanted: { quality: 3, caption: "x" }, completions: [{ text: "one", length: 2, ended: true }, { text: "two", length: 3, ended: false }] });
    await writeFile(join(folder, "step-000001.json"), "{}");
    expect(await preview(1)).toBeUndefined();
  });
});
