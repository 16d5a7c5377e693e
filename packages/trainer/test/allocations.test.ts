import { loadQwenVl } from "@dramascope/qwen-vl";
import { createRandom } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { expect, it } from "vitest";
import { promptOf, reference } from "./reference-run.ts";

/** The part of the wasm back end that makes room for results. */
interface WasmBackend {
  makeOutput(shape: readonly number[], ...rest: unknown[]): unknown;
}

it("log-probabilities of many tokens never stand beside those of the whole vocabulary", async () => {
  const { tf } = await loadTensorFlow({ prefer: "wasm" });
  const backend = tf.backend() as unknown as WasmBackend;
  const random = createRandom(1);
  const draw = (count: number): number[] => Array.from({ length: count }, () => 3 + random.below(297));
  const completions = Array.from({ length: 4 }, () => draw(24));
  const tokens = completions.flat().length;

  const [vocabSize, hiddenSize] = [320, 64];

  /** Most rows over the vocabulary that a result of a gradient call has. */
  async function largest(logitsChunk: number): Promise<number> {
    const model = await loadQwenVl(reference("tiny-vl"), { tf, logitsChunk });
    await model.attachLora(reference("adapters/sft"));
    const set = model.trainable("lora");
    const makeOutput = backend.makeOutput.bind(backend);
    let most = 0;
    backend.makeOutput = (shape, ...rest) => {
      if (shape.at(-1) === vocabSize) most = Math.max(most, shape.reduce((a, b) => a * b, 1) / vocabSize);
      return makeOutput(shape, ...rest);
    };
    try {
      await model.logProbsWithGradient(promptOf(model, draw(8)), completions, { entropy: true, gradient: (logProbs) => ({ loss: 1, dLogProbs: logProbs.map((row) => row.map(() => 1)) }) });
      expect(await set.gradientNorm()).toBeGreaterThan(0);
      return most;
    } finally {
      backend.makeOutput = makeOutput;
      model.dispose();
    }
  }

  expect(await largest(tokens)).toBe(tokens);
  expect(await largest(8)).toBeLessThanOrEqual(hiddenSize); // the output matrix itself
});
