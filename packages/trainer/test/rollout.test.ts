import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { QwenVl } from "@dramascope/qwen-vl";
import type { GrpoSample } from "@dramascope/schema";
import { trainGrpo, type GrpoConfigInput, type SampleEncoder } from "@dramascope/trainer";
import { afterAll, beforeAll, expect, it } from "vitest";
import { loadDemoBase } from "./demo-base.ts";

let model: QwenVl;
let encoder: SampleEncoder;
beforeAll(async () => ({ model, encoder } = await loadDemoBase()));
afterAll(() => model.dispose());

/** One generation under the given settings: its distinct texts, its metrics, and what was warned of. */
async function generation(settings: Partial<GrpoConfigInput>): Promise<{ texts: Set<string>; line: Record<string, number | null>; warnings: string[] }> {
  const runDir = join(await mkdtemp(join(tmpdir(), "dramascope-rollout-")), "run");
  const sample: GrpoSample = { kind: "grpo", sampleId: "one", messages: [{ role: "user", content: "Retell this drama." }], videos: [], quality: 3, caption: "x", comments: [] };
  const texts = new Set<string>();
  const warnings: string[] = [];
  await trainGrpo({ runDir, steps: 1, promptsPerStep: 1, numGenerations: 6, maxCompletionLength: 8, beta: 0, skipZeroStd: false, ...settings }, [sample], {
    model, encoder,
    onWarning: (text) => warnings.push(text),
    reward: (items) => {
      items.forEach(({ completion }) => texts.add(completion));
      return Promise.resolve(items.map(() => ({ caption: 1, comments: 1, accuracy: 1, format: 1, total: 1, reasons: [], version: "x" })));
    },
  });
  const [line] = (await readFile(join(runDir, "metrics.jsonl"), "utf8")).trim().split("\n").map((text) => JSON.parse(text) as Record<string, number | null>);
  return { texts, line: line!, warnings };
}

it("the whole distribution is sampled unless said otherwise", async () => {
  const { texts, line, warnings } = await generation({});
  expect(texts.size).toBeGreaterThan(1);
  expect(line["sampling/sampling_logp_difference/max"]).toBeLessThan(1e-4);
  expect(warnings.filter((text) => text.includes("topP"))).toEqual([]);
});

it.each([{ topK: 1 }, { topP: 1e-6 }])("%j takes the likeliest token, whose log-probability stays that of the whole distribution, and warns", async (settings) => {
  const { texts, line, warnings } = await generation(settings);
  expect(texts.size).toBe(1);
  // Renormalised ones would be 0, far from those of training.
  expect(line["sampling/sampling_logp_difference/max"]).toBeLessThan(1e-4);
  expect(line["entropy"]).toBeGreaterThan(0.1);
  expect(warnings.join("\n")).toMatch(/topP .* topK .* those of the whole distribution/u);
});
