import { afterAll, describe, expect, it } from "vitest";
import { compile } from "@dramascope/tensorflow";
import { startWay, type Way } from "../backends.ts";
import { loadReference } from "../support.ts";
import { adapterTests } from "./adapters.ts";
import { callTests } from "./calls.ts";
import { dropoutTests } from "./dropout.ts";
import { generationTests } from "./generation.ts";
import { gradientTests } from "./gradients.ts";
import { loadingTests } from "./loading.ts";
import { logProbTests } from "./log-probs.ts";
import { logitsTests } from "./logits.ts";
import { memoryTests } from "./memory.ts";
import { visionTests } from "./vision.ts";

/** All reference values of the model and all rules of its memory on one back end, which the process then has for good. */
export async function describeModelOn(way: Way): Promise<void> {
  const started = await startWay(way);
  if ("missing" in started) {
    const { name, missing } = started;
    process.stdout.write(`the model was not tested on ${name}: ${missing}\n`);
    it(`the model on ${name} is not tested: ${missing}`, ({ skip }) => skip(missing));
    return;
  }
  const ref = await loadReference(started.loaded);
  describe(`the model on ${started.name}`, () => {
    afterAll(() => {
      ref.model.dispose();
    });
    it("really runs so", () => {
      expect(ref.backend).toBe(way === "wasm" ? "wasm" : "tensorflow");
      const negative = compile(ref.tf, "negative", { x: { shape: [1], dtype: "float32" } }, (ops, { x }) => ({ y: ops.neg(x!) }));
      expect(negative.mode).toBe(way === "compiled" ? "function" : "eager");
      negative.dispose();
    });
    for (const tests of [visionTests, logitsTests, logProbTests, gradientTests, adapterTests, dropoutTests, generationTests, loadingTests, memoryTests, callTests]) tests(ref);
  });
}
