/** A small run on the demo's base model that a test kills: `node resumable-run.ts RUN_DIR sft|grpo`. */
import { fileURLToPath } from "node:url";
import { loadQwenVl } from "@dramascope/qwen-vl";
import { createRandom, type GrpoSample, type SftSample } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { createSampleEncoder, trainGrpo, trainSft } from "@dramascope/trainer";

const [runDir, kind] = process.argv.slice(2) as [string, string];
const { tf } = await loadTensorFlow({ threads: 1 });
const model = await loadQwenVl(fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url)), { tf });
const encoder = createSampleEncoder({
  model,
  loadFrames: ({ dramaId }) => {
    const random = createRandom(Number(dramaId));
    return Promise.resolve({ frames: Uint8Array.from({ length: 2 * 28 * 28 * 3 }, () => random.below(256)), frameCount: 2, width: 28, height: 28 });
  },
});
const caption = "Revenge of red and blue.";
const core = (i: number) => ({ sampleId: `s${i}`, messages: [{ role: "user" as const, content: [{ type: "video" as const, video: 0 }, { type: "text" as const, text: "Retell this drama." }] }], videos: [{ dramaId: String(i), episode: 1 }] });
const common = { runDir, seed: 3, saveSteps: 1, keepCheckpoints: 2, lora: { r: 4, alpha: 8, dropout: 0.1 }, learningRate: 1e-3 };
process.send?.("started");
try {
  if (kind === "sft") {
    // Enough samples that those of like lengths are put together.
    const samples = Array.from({ length: 17 }, (_, i): SftSample => ({ ...core(i), kind: "sft", target: i % 2 === 0 ? caption : `${caption} ${caption}` }));
    await trainSft({ ...common, epochs: 1, batchSize: 2, evalSamples: 1, evalSteps: 2 }, samples, { model, encoder });
  } else {
    const samples = Array.from({ length: 4 }, (_, i): GrpoSample => ({ ...core(i), kind: "grpo", quality: 3, caption, comments: ["so good"] }));
    await trainGrpo({ ...common, steps: 7, promptsPerStep: 2, numGenerations: 3, numIterations: 2, maxCompletionLength: 12 }, samples, { model, encoder });
  }
} catch (error) {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
}
