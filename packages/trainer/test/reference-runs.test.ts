import { loadQwenVl, type QwenVl } from "@dramascope/qwen-vl";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkGrpoRun, checkSftRun, reference } from "./reference-run.ts";

let model: QwenVl;
let tf: Awaited<ReturnType<typeof loadTensorFlow>>["tf"];
beforeAll(async () => {
  ({ tf } = await loadTensorFlow({ threads: 1 }));
  model = await loadQwenVl(reference("tiny-vl"), { tf });
});
afterAll(() => model.dispose());

describe("the trainer repeats", () => {
  const leakFree = async (run: () => Promise<void>): Promise<void> => {
    const before = tf.memory().numTensors;
    await run();
    expect(tf.memory().numTensors).toBe(before);
  };
  it.each(["grpo-text-base-ref", "grpo-text-sft-ref-dapo", "grpo-text-mu2-clip", "grpo-text-mu2-gspo", "grpo-video"])("%s", (name) => leakFree(() => checkGrpoRun(model, name)));
  it.each(["sft-text", "sft-video"])("%s", (name) => leakFree(() => checkSftRun(model, name)));
});
