import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { QwenVl } from "@dramascope/qwen-vl";
import type { SftSample } from "@dramascope/schema";
import { trainSft, type SampleEncoder, type SftConfigInput, type TrainDeps } from "@dramascope/trainer";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { holdOut } from "../src/hold-out.ts";
import { loadDemoBase } from "./demo-base.ts";

let model: QwenVl;
let encoder: SampleEncoder;
beforeAll(async () => ({ model, encoder } = await loadDemoBase()));
afterAll(() => model.dispose());

const sampleOf = (i: number, dramas: readonly string[] = []): SftSample => ({
  kind: "sft", sampleId: String(i), messages: [{ role: "user", content: `Retell drama ${i}.` }], videos: dramas.map((dramaId) => ({ dramaId, episode: 1 })), target: i % 2 === 0 ? "Revenge of red." : "Blue wins the race, so good.",
});

describe("samples that are held out", () => {
  it("are whole dramas, the same for the same seed, and never trained on", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "b", "c", "d", "e"), { minLength: 6, maxLength: 20 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 9 }), (dramas, count, seed) => {
        fc.pre(new Set(dramas).size > count);
        const samples = dramas.map((drama, i) => sampleOf(i, [drama]));
        const { training, held } = holdOut(samples, count, seed);
        expect([...training, ...held].sort((a, b) => a - b)).toEqual([...samples.keys()]);
        expect(held.length).toBeGreaterThanOrEqual(count);
        const kept = new Set(held.map((i) => dramas[i]));
        expect(training.filter((i) => kept.has(dramas[i]))).toEqual([]);
        expect(holdOut(samples, count, seed)).toEqual({ training, held });
      }),
    );
  });

  it("share no drama with one that is trained on, however many each shows", () => {
    const sets = fc.array(fc.subarray(["a", "b", "c", "d", "e", "f", "g", "h"], { minLength: 1, maxLength: 3 }), { minLength: 3, maxLength: 8 });
    fc.assert(
      fc.property(sets, fc.integer({ min: 0, max: 9 }), (shown, seed) => {
        const samples = [...shown.map((dramas, i) => sampleOf(i, dramas)), sampleOf(100, ["x"]), sampleOf(101, ["y"]), sampleOf(102)];
        const { training, held } = holdOut(samples, 1, seed);
        const dramas = (places: readonly number[]): string[] => places.flatMap((i) => samples[i]!.videos.map(({ dramaId }) => dramaId));
        const kept = new Set(dramas(held));
        expect(dramas(training).filter((drama) => kept.has(drama))).toEqual([]);
      }),
    );
  });

  it("cannot be all there are", () => {
    expect(() => holdOut([sampleOf(0, ["a"]), sampleOf(1, ["a"])], 1, 0)).toThrow("holding out 1 of 2 samples leaves none to train on");
  });
});

interface Line {
  step: number;
  eval_loss?: number;
  eval_mean_token_accuracy?: number;
}

/** Lines of a run's metrics, and the folder. */
async function train(settings: Partial<SftConfigInput>, deps: Pick<Partial<TrainDeps>, "signal" | "encoder" | "onWarning"> = {}, runDir?: string): Promise<{ lines: Line[]; runDir: string; adapter: string | undefined }> {
  const folder = runDir ?? join(await mkdtemp(join(tmpdir(), "dramascope-evaluate-")), "run");
  const samples = Array.from({ length: 8 }, (_, i) => sampleOf(i));
  const { adapter } = await trainSft({ runDir: folder, epochs: 2, batchSize: 2, evalSamples: 2, evalSteps: 2, learningRate: 1e-3, lora: { r: 4, dropout: 0.1 }, keepCheckpoints: 1, ...settings }, samples, { model, encoder, ...deps });
  const lines = (await readFile(join(folder, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line) as Line);
  return { lines, runDir: folder, adapter };
}

describe("a run with samples held out", () => {
  it("tells their loss every so many steps and at the end, and names the checkpoint where it was the lowest", async () => {
    // So high a rate breaks the policy after a few steps.
    const warnings: string[] = [];
    const { lines, runDir } = await train({ learningRate: 0.5, schedule: "constant_with_warmup", warmupSteps: 3, evalSteps: 1 }, { onWarning: (text) => warnings.push(text) });
    expect(lines).toHaveLength(6);
    const losses = lines.map(({ eval_loss }) => eval_loss!);
    const best = losses.indexOf(Math.min(...losses)) + 1;
    expect(best).toBeLessThan(6);
    expect(await readFile(join(runDir, "best"), "utf8")).toBe(`checkpoint-${String(best).padStart(6, "0")}\n`);
    expect(warnings.join("\n")).toContain(`the lowest after ${best} steps: ${join(runDir, `checkpoint-${String(best).padStart(6, "0")}`)}`);
    expect((await readdir(runDir)).filter((name) => name.startsWith("checkpoint")).sort()).toEqual([best, 6].map((step) => `checkpoint-${String(step).padStart(6, "0")}`));
  });

  it("measures what the model without dropout says of them", async () => {
    const { lines, adapter } = await train({ evalSteps: 4 });
    expect(lines.flatMap(({ step, eval_loss }) => (eval_loss === undefined ? [] : [step]))).toEqual([4, 6]);
    const samples = Array.from({ length: 8 }, (_, i) => sampleOf(i));
    const held = holdOut(samples, 2, 0).held.map((i) => samples[i]!);
    const attached = await model.attachLora(adapter!, { name: "again", trainable: false });
    let [loss, tokens, hits] = [0, 0, 0];
    for (const sample of held) {
      const ids = [...model.tokenizer.encode(sample.target), model.generationConfig.eosTokenIds[0]!];
      const { logProbs, best } = await model.logProbs(await encoder.encode(sample), [ids], { best: true });
      hits += best![0]!.filter((value, t) => value === logProbs[0]![t]!).length;
      loss -= logProbs[0]!.reduce((a, b) => a + b, 0);
      tokens += ids.length;
    }
    attached.dispose();
    expect(lines.at(-1)!.eval_loss).toBeCloseTo(loss / tokens, 5);
    expect(lines.at(-1)!.eval_mean_token_accuracy).toBeCloseTo(hits / tokens, 12);
  });

  it.each([["a step", 8, 3], ["a look at the samples", 5, 1], ["the last look at them", 17, 5]])("goes on after a stop in %s as if there had been none", async (_where, stopAt, logged) => {
    const whole = await train({ saveSteps: 1 });
    const controller = new AbortController();
    let encoded = 0;
    const stopping: SampleEncoder = {
      ...encoder,
      encode: (sample) => {
        if (++encoded === stopAt) controller.abort();
        return encoder.encode(sample);
      },
    };
    const first = await train({ saveSteps: 1 }, { signal: controller.signal, encoder: stopping });
    expect([first.adapter, first.lines.length]).toEqual([undefined, logged]);
    const second = await train({ saveSteps: 1 }, {}, first.runDir);
    const told = (lines: readonly Line[]): unknown[] => lines.map(({ step, eval_loss, eval_mean_token_accuracy }) => [step, eval_loss, eval_mean_token_accuracy]);
    expect(told(second.lines)).toEqual(told(whole.lines));
    expect(await readFile(join(second.runDir, "best"), "utf8")).toBe(await readFile(join(whole.runDir, "best"), "utf8"));
    expect((await readFile(join(second.adapter!, "adapter_model.safetensors"))).equals(await readFile(join(whole.adapter!, "adapter_model.safetensors")))).toBe(true);
  });
});
