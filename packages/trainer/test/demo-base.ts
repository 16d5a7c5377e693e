import { fileURLToPath } from "node:url";
import { loadQwenVl, type QwenVl } from "@dramascope/qwen-vl";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { createSampleEncoder, type SampleEncoder } from "@dramascope/trainer";

/** The demo's base model, and an encoder for samples without videos. */
export async function loadDemoBase(): Promise<{ model: QwenVl; encoder: SampleEncoder }> {
  const { tf } = await loadTensorFlow({ threads: 1 });
  const model = await loadQwenVl(fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url)), { tf });
  return { model, encoder: createSampleEncoder({ model, loadFrames: () => Promise.reject(new Error("there are no videos")) }) };
}
