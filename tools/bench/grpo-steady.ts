/**
 * Whether training steps leave anything behind: `node --conditions=@dramascope/source tools/bench/grpo-steady.ts [STEPS]`, default 200, with unequal lengths, in chunks and at
 * once. Prints tensors before and after, and resident memory after every tenth of the steps; ends with 1 when tensors grew.
 */
import { loadQwenVl, type Prompt } from "@dramascope/qwen-vl";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { AdamW, clipGradNorm } from "@dramascope/trainer";
import { adapterOf } from "./grpo-side.ts";
import { checkpointOf, VOCAB } from "./model-checkpoint.ts";

const steps = Number(process.argv[2] ?? 200);
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const { tf } = await loadTensorFlow({ threads: 1 });
const model = await loadQwenVl(await checkpointOf("tiny", say), { tf });
await model.attachLora(await adapterOf("tiny", say), { name: "policy" });
const trainable = model.trainable("lora");
const values = await trainable.readValues();
const optimizer = new AdamW();

function ids(length: number, seed: number): Int32Array {
  return Int32Array.from({ length }, (_, i) => 100 + ((i * 7919 + seed * 131) % (VOCAB - 100)));
}

async function step(index: number): Promise<void> {
  const length = 150 + 10 * (index % 7);
  const prompt: Prompt = { ids: ids(length, index), positionIds: Int32Array.from({ length: 3 * length }, (_, i) => i % length), nextPosition: length, segments: [{ text: length }], vision: [], text: "" };
  const completions = Array.from({ length: 6 }, (_, n) => ids(10 + ((index + 5 * n) % 23), n));
  trainable.zeroGradients();
  await model.logProbsWithGradient(prompt, completions, {
    ...(index % 2 === 0 ? {} : { completionChunk: 4 }),
    gradient: (logProbs) => ({ loss: 0, dLogProbs: logProbs.map((row, n) => row.map(() => (n % 2 === 0 ? 0.01 : -0.01))) }),
  });
  const gradients = await trainable.readGradients();
  clipGradNorm(gradients, 1);
  optimizer.step(values, gradients, 1e-5);
  trainable.assignAll(values);
}

const mib = (): number => Math.round(process.memoryUsage.rss() / 2 ** 20);
await step(0);
const before = tf.memory().numTensors;
const resident: number[] = [];
for (let i = 1; i <= steps; i++) {
  await step(i);
  if (i % Math.ceil(steps / 10) === 0) resident.push(mib());
}
const after = tf.memory().numTensors;
process.stdout.write(`${JSON.stringify({ steps, tensorsBefore: before, tensorsAfter: after, residentMiB: resident })}\n`);
model.dispose();
if (after !== before) process.exitCode = 1;
