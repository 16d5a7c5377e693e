import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { QwenVl } from "@dramascope/qwen-vl";
import type { GrpoSample } from "@dramascope/schema";
import { createRewardFn, createRewardWorkers, trainGrpo, type GrpoConfigInput, type RewardFn, type SampleEncoder } from "@dramascope/trainer";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadDemoBase } from "./demo-base.ts";

let model: QwenVl;
let encoder: SampleEncoder;
beforeAll(async () => ({ model, encoder } = await loadDemoBase()));
afterAll(() => model.dispose());

const sample = (id: string): GrpoSample => ({ kind: "grpo", sampleId: id, messages: [{ role: "user", content: "Retell this drama." }], videos: [], quality: 3, caption: "Romance of red and green.", comments: ["so good"] });
const ANSWER = '<caption>Romance of red</caption>\n<comments>["so good"]</comments>\n<think>x</think>\n<answer>\\boxed{3}</answer>';

/** One step with a KL term; what it logged, and the adapter's bytes. */
async function step(settings: Partial<GrpoConfigInput>, reward?: RewardFn): Promise<{ line: Record<string, number | null>; bytes: Buffer }> {
  const runDir = join(await mkdtemp(join(tmpdir(), "dramascope-workers-")), "run");
  const { adapter } = await trainGrpo({ runDir, steps: 1, promptsPerStep: 2, numGenerations: 3, maxCompletionLength: 8, beta: 0.04, learningRate: 1e-2, ...settings }, [sample("a"), sample("b")], { model, encoder, ...(reward && { reward }) });
  const line = JSON.parse(await readFile(join(runDir, "metrics.jsonl"), "utf8")) as Record<string, number | null>;
  return { line, bytes: await readFile(join(adapter!, "adapter_model.safetensors")) };
}

it("threads score as this process does, and the run is the same to the bit", async () => {
  const workers = createRewardWorkers(2);
  const items = ["a", "b"].flatMap((id) => [ANSWER, "no tags"].map((completion) => ({ sample: sample(id), completion })));
  expect(await workers.reward(items, { step: 1 })).toEqual(await createRewardFn()(items, { step: 1 }));
  await workers.close();
  const [here, threads] = [await step({}), await step({ rewardWorkers: 2 })];
  expect(threads.bytes.equals(here.bytes)).toBe(true);
  expect(threads.line["reward"]).toBe(here.line["reward"]);
});

it("a credit for near misses reaches the rewards of a run, in this process and in threads", async () => {
  const scored: number[] = [];
  const original = model.generate.bind(model);
  model.generate = async (...args) => (await original(...args)).map((group) => group.map((one) => ({ ...one, text: ANSWER.replace("3}", "4}") })));
  try {
    for (const settings of [{}, { nearMissCredit: 0.5 }, { nearMissCredit: 0.5, rewardWorkers: 1 }]) scored.push((await step({ skipZeroStd: false, ...settings })).line["rewards/accuracy/mean"]!);
  } finally {
    model.generate = original;
  }
  expect(scored).toEqual([0, 0.375, 0.375]);
});

it("a sample that cannot be scored ends the call by name; no rewards are made up", async () => {
  const workers = createRewardWorkers(1);
  const broken = { ...sample("broken"), caption: 7 as never };
  await expect(workers.reward([{ sample: broken, completion: ANSWER }], { step: 1 })).rejects.toMatchObject({ code: "REWARD_FAILED", message: expect.stringContaining("sample broken") as string });
  await workers.close();
});

it("rewards and the reference's log-probabilities are computed at the same time; a failure of one ends the other and is the one told", async () => {
  const events: string[] = [];
  const given = createRewardFn();
  const original = model.logProbs.bind(model);
  const settings = { beta: 0.04 };
  try {
    model.logProbs = async (...args) => {
      const result = await original(...args);
      events.push("scored");
      return result;
    };
    const slow: RewardFn = async (items, context) => {
      events.push("asked");
      while (!events.includes("scored")) await new Promise((resolve) => setTimeout(resolve, 5));
      events.push("answered");
      return given(items, context);
    };
    await step(settings, slow);
    // Asked before anything was scored, answered only because something was: one after the other would never end.
    expect([events[0], events.filter((event) => event !== "scored")]).toEqual(["asked", ["asked", "answered"]]);
    expect(events.indexOf("scored")).toBeLessThan(events.indexOf("answered"));
    await expect(step(settings, () => Promise.reject(new Error("no rewards today")))).rejects.toThrow("no rewards today");
    model.logProbs = () => Promise.reject(new Error("no memory"));
    const never: RewardFn = (_items, { signal }) => new Promise((_resolve, reject) => signal!.addEventListener("abort", () => reject(new Error("told to stop"))));
    await expect(step(settings, never)).rejects.toThrow("no memory");
  } finally {
    model.logProbs = original;
  }
});
