import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { golden } from "./goldens.ts";

/** Prints a digest of the bytes of logits, scores, gradients and sampled answers. */
const code = `
import { createHash } from "node:crypto";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { loadQwenVl } from "@dramascope/qwen-vl";
const { tf } = await loadTensorFlow({ threads: 2 });
const model = await loadQwenVl(${JSON.stringify(golden("model"))}, { tf });
const patches = Uint8Array.from({ length: 2 * 6 * 10 * 1176 }, (_, i) => (i * 2654435761) >>> 24);
const prompt = model.prepare([{ role: "user", content: [{ type: "video", item: { kind: "video", grid: [2, 6, 10], patches } }, { type: "text", text: "Rate this drama." }] }]);
const hash = createHash("sha256");
const add = (values) => void hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
const { logits } = await model.forward(prompt, { rows: "all" });
add(await logits.data());
await model.attachLora({ r: 4, alpha: 8 }, { seed: 3 });
const set = model.trainable();
const gradient = (logProbs) => ({ loss: 0, dLogProbs: logProbs.map((one) => one.map(() => -1)) });
(await model.logProbsWithGradient(prompt, [[5, 6, 7], [9]], { gradient })).logProbs.forEach(add);
(await set.readGradients()).forEach(add);
for (const { ids, logProbs } of (await model.generate([prompt], { maxNewTokens: 8, n: 3, seed: 5, stopIds: [] }))[0]) { add(ids); add(logProbs); }
console.log(hash.digest("hex"), tf.getBackend());
`;

it("two processes compute the same bytes", () => {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const run = (): string => execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: root, encoding: "utf8" });
  const first = run();
  expect(first).toMatch(/^[0-9a-f]{64} \w+\n$/u);
  expect(run()).toBe(first);
});
