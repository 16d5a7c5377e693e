import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadQwenVl, type QwenVl } from "@dramascope/qwen-vl";
import type { GrpoSample, RewardBreakdown, SftSample } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { createSampleEncoder, trainGrpo, trainSft, type PreflightRow, type SampleEncoder, type SftConfigInput } from "@dramascope/trainer";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

let model: QwenVl;
let encoder: SampleEncoder;
let runDir: string;
let loads = 0;
beforeAll(async () => {
  const { tf } = await loadTensorFlow({ threads: 1 });
  model = await loadQwenVl(fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url)), { tf });
  encoder = createSampleEncoder({
    model,
    loadFrames: ({ dramaId }) => {
      loads++;
      return dramaId === "lost" ? Promise.reject(new Error("frame 3 of lost is missing")) : Promise.resolve({ frames: new Uint8Array(2 * 28 * 56 * 3), frameCount: 2, width: 56, height: 28 });
    },
  });
});
beforeEach(async () => {
  runDir = await mkdtemp(join(tmpdir(), "dramascope-preflight-"));
});
afterAll(() => model.dispose());

const core = (sampleId: string, dramaId = "a") => ({ sampleId, messages: [{ role: "user" as const, content: [{ type: "video" as const, video: 0 }, { type: "text" as const, text: "Retell this drama." }] }], videos: [{ dramaId, episode: 1 }] });
const sft = (sampleId: string, target = "Revenge.", dramaId?: string): SftSample => ({ ...core(sampleId, dramaId), kind: "sft", target });
const samples: SftSample[] = [
  sft("good"), sft("long", "word ".repeat(400)), sft("blank", " \n"), sft("lost", "Revenge.", "lost"), sft("good", "Again."), { ...sft("pointless"), videos: [] }, sft("__proto__"),
];
const train = (settings: Partial<SftConfigInput> = {}, given: readonly SftSample[] = samples, onWarning?: (text: string) => void): ReturnType<typeof trainSft> =>
  trainSft({ runDir, lora: { r: 2 }, epochs: 1, batchSize: 1, maxLength: 256, ...settings }, given, { model, encoder, ...(onWarning && { onWarning }) });
const rowsOf = async <T>(name: string): Promise<T[]> => (await readFile(join(runDir, name), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as T);

describe("before the first step", () => {
  it("every sample is looked at, and those that cannot be used are left out with reasons", async () => {
    const warnings: string[] = [];
    const result = await train({}, samples, (text) => warnings.push(text));
    expect(result).toMatchObject({ finished: true, steps: 2 });
    const rows = await rowsOf<PreflightRow>("preflight.jsonl");
    expect(rows.map(({ id, status }) => [id, status])).toEqual([["good", "ok"], ["long", "quarantined"], ["blank", "quarantined"], ["lost", "quarantined"], ["good", "quarantined"], ["pointless", "quarantined"], ["__proto__", "ok"]]);
    expect(rows[0]).toMatchObject({ visualTokens: 2, tokens: (await encoder.encode(samples[0]!)).ids.length, reason: null });
    const quarantine = await rowsOf<{ id: string; reason: string; record: SftSample }>("quarantine.jsonl");
    expect(quarantine.map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/^its prompt of \d+ tokens and an answer of \d+ are longer than 256 together$/u), "its target is empty", "frame 3 of lost is missing", "an earlier sample has the same id", "its message names video 0, it has 0",
    ]);
    expect(quarantine[1]!.record).toEqual(samples[2]);
    expect(warnings[0]).toMatch(/^5 of 7 samples are left out, listed in .*quarantine\.jsonl; the first is long/u);
  });

  it("a resumed run believes the look of before", async () => {
    const controller = new AbortController();
    await trainSft({ runDir, lora: { r: 2 }, epochs: 1, batchSize: 1 }, [sft("one", "x", "b"), sft("two", "y", "c")], { model, encoder, signal: controller.signal, onProgress: ({ phase }) => { if (phase === "sft") controller.abort(); } });
    const before = loads;
    await trainSft({ runDir, lora: { r: 2 }, epochs: 1, batchSize: 1 }, [sft("one", "x", "b"), sft("two", "y", "c")], { model, encoder });
    expect(loads - before).toBeLessThanOrEqual(1);
  });

  it("a bad sample may end the run", async () => {
    await expect(train({ onBadRecord: "stop" })).rejects.toMatchObject({ code: "BAD_RECORD", message: expect.stringMatching(/^sample long: .*; 5 of 7 samples cannot be used$/u) as string });
    await expect(rowsOf("metrics.jsonl")).rejects.toThrow(/ENOENT/u);
  });

  it("a run without any usable sample does not start", async () => {
    await expect(train({}, [sft("blank", " ")])).rejects.toMatchObject({ code: "NO_SAMPLES" });
  });

  it("what GRPO compares with is looked at", async () => {
    const grpo = (sampleId: string, fields: object): GrpoSample => ({ ...core(sampleId), kind: "grpo", quality: 3, caption: "x", comments: [], ...fields });
    const reward = (items: readonly unknown[]): Promise<RewardBreakdown[]> => Promise.resolve(items.map((_, i): RewardBreakdown => ({ caption: i, comments: 0, accuracy: 0, format: 0, total: 0, reasons: [], version: "x" })));
    await trainGrpo({ runDir, lora: { r: 2 }, steps: 1, promptsPerStep: 1, numGenerations: 2, maxCompletionLength: 4, beta: 0 }, [grpo("good", {}), grpo("six", { quality: 6 }), grpo("mute", { caption: "" })], { model, encoder, reward });
    expect((await rowsOf<PreflightRow>("preflight.jsonl")).map(({ reason }) => reason)).toEqual([null, "its quality is 6, not 1 to 5", "its reference caption is empty"]);
  });
});
