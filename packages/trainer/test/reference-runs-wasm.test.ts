import { loadQwenVl } from "@dramascope/qwen-vl";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { expect, it } from "vitest";
import { checkGrpoRun, reference } from "./reference-run.ts";

it("the trainer repeats grpo-video on wasm", async () => {
  const { tf } = await loadTensorFlow({ prefer: "wasm" });
  expect(tf.getBackend()).toBe("wasm");
  const model = await loadQwenVl(reference("tiny-vl"), { tf });
  await checkGrpoRun(model, "grpo-video");
  model.dispose();
});
