import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadQwenVl } from "@dramascope/qwen-vl";
import type { GrpoSample } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { createSampleEncoder, trainGrpo, type RewardFn } from "@dramascope/trainer";
import { expect, it } from "vitest";

const MODEL = fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url));
const WORD = " poor";

it("GRPO learns to say one word more often, on wasm", async () => {
  const { tf } = await loadTensorFlow({ prefer: "wasm" });
  expect(tf.getBackend()).toBe("wasm");
  const model = await loadQwenVl(MODEL, { tf });
  const id = model.tokenizer.encode(WORD)[0]!;
  const share: RewardFn = (items) =>
    Promise.resolve(
      items.map(({ completion }) => {
        const ids = model.tokenizer.encode(completion);
        const accuracy = ids.filter((one) => one === id).length / Math.max(1, ids.length);
        return { caption: null, comments: null, accuracy, format: null, total: accuracy, reasons: [], version: "share" };
      }),
    );
  const samples = Array.from({ length: 4 }, (_, i): GrpoSample => ({ kind: "grpo", sampleId: String(i), messages: [{ role: "user", content: "Retell this drama." }], videos: [], quality: 3, caption: "x", comments: [] }));
  const runDir = await mkdtemp(join(tmpdir(), "dramascope-learning-"));
  const settings = { runDir, steps: 15, promptsPerStep: 1, numGenerations: 16, maxCompletionLength: 8, beta: 0, learningRate: 1e-2, schedule: "constant", rewardWeights: { caption: 0, comments: 0, accuracy: 1, format: 0 }, saveSteps: 15 } as const;
  await trainGrpo(settings, samples, { model, encoder: createSampleEncoder({ model, loadFrames: () => Promise.reject(new Error("there are no frames")) }), reward: share });
  const rewards = (await readFile(join(runDir, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => (JSON.parse(line) as { reward: number }).reward);
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  expect(mean(rewards.slice(-5)) - mean(rewards.slice(0, 5))).toBeGreaterThan(0.3);
  model.dispose();
});
