import { fileURLToPath } from "node:url";
import { assessFrames, readAnswer, readProfile, type AnswerFormat, type AssessOptions, type DramaToAssess } from "@dramascope/assessor";
import { loadQwenVl, type QwenVl, type Sample } from "@dramascope/qwen-vl";
import type { Assessment } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const baseModel = fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url));
const drama: DramaToAssess = { dramaId: "1", episodes: [{ frames: new Uint8Array(2 * 56 * 56 * 3), frameCount: 2, width: 56, height: 56, secondsPerGrid: 2 }], frames: { strideSeconds: 1, clock: "continuous" } };

let model: QwenVl;
let options: AssessOptions;
let encode: (text: string) => number[];
beforeAll(async () => {
  const { tf } = await loadTensorFlow({ threads: 1 });
  model = await loadQwenVl(baseModel, { tf });
  options = { model, template: (await readProfile(baseModel))!.template, mode: "logprob", identity: { model: { name: "demo-base", sha256: null }, adapter: null }, clock: () => 0 };
  encode = (text) => model.tokenizer.encode(text);
});
afterAll(() => model.dispose());

/** Probabilities of the digits that differ from place to place. */
const shareAt = (place: number): number => (place + 1) / 4096;
const scoreAt = (place: number): number => 1 + 4 * shareAt(place);

/** An answer of given ids; the expected class tells the place that is read. */
function sampleOf(ids: readonly number[]): Sample {
  const watched = Float32Array.from(ids.flatMap((_, place) => [Math.log(1 - shareAt(place)), -Infinity, -Infinity, -Infinity, Math.log(shareAt(place))]));
  return { ids: Int32Array.from(ids), text: model.tokenizer.decode(ids, { skipSpecial: true }), logProbs: new Float32Array(ids.length), watched, finishReason: "stop" };
}

/** The model with another way to generate. */
const generating = (generate: QwenVl["generate"]): QwenVl =>
  new Proxy(model, {
    get: (target, name) => {
      if (name === "generate") return generate;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (...given: unknown[]): unknown => Reflect.apply(value, target, given) : value;
    },
  });

/** Assesses with a model that answers as told. */
function judge(format: AnswerFormat, ...answers: readonly number[][]): Promise<Assessment> {
  return assessFrames(drama, { ...options, model: generating(() => Promise.resolve([answers.map(sampleOf)])), format, mode: answers.length > 1 ? "ensemble" : "logprob" });
}

describe("the probabilities of a score", () => {
  it.each<[AnswerFormat, head: string, rest: string]>([
    ["tags", "<answer>\\boxed{", "4}</answer> and 4 more, 4"],
    ["tags", "4 of 4 <answer> ", "4 </answer>"],
    ["tags", "<answer>\\boxed{", "4}, so \\boxed{4}</answer>"],
    ["tags", "<think>４ 😀 4</think><answer>\\boxed{", "4}</answer>"],
    ["json", '{"answer": ', '4, "think": "the slap at 0:04"}'],
    ["json", '{"think": "4", "answer": "', '4/5"} 4'],
    ["json", '{"think": "4\\u0034 ４", "answer": ', "4.0}"],
    ["json", '<think>{"answer": 4}</think>```json\n{"think": "x", "answer": ', "4,}\n``` 4"],
  ])("are read where the parser took it: %s %s|%s", async (format, head, rest) => {
    const record = await judge(format, encode(head + rest));
    expect(record).toMatchObject({ status: "ok", quality: 4 });
    expect(record.score).toBeCloseTo(scoreAt(encode(head).length), 5);
  });

  it.each<[AnswerFormat, string]>([
    ["json", '{"think": "4", "answer": "\\u0034"}'],
    ["json", '{"think": "4", "answer": "４"}'],
    ["json", '{"think": "4", "answer": 40e-1}'],
    ["json", '{"think": "4", "answer": "04"}'],
  ])("are unknown where no token is the score: %s %s", async (format, text) => {
    const record = await judge(format, encode(text));
    expect(record).toMatchObject({ status: "ok", score: 4, quality: 4, distribution: null, decision: { action: "human-review" } });
    expect(record.warnings).toContain("1 of 1 answers have no single token for their score; their probabilities are unknown.");
  });

  it("come from those of several answers that show them", async () => {
    const head = encode('{"think": "x", "answer": ');
    const record = await judge("json", encode('{"think": "4", "answer": "\\u0034"}'), [...head, ...encode("4}")]);
    expect(record.score).toBeCloseTo(scoreAt(head.length), 5);
    expect(record.warnings).toContain("1 of 2 answers have no single token for their score; their probabilities are unknown.");
  });

  it("stay the same whatever ids stand around the answer", async () => {
    const ids = fc.array(fc.nat({ max: model.tokenizer.size - 1 }), { maxLength: 40 });
    let count = 0;
    await fc.assert(
      fc.asyncProperty(ids, ids, fc.constantFrom<AnswerFormat>("tags", "json"), async (before, after, format) => {
        const head = [...before, ...encode(format === "tags" ? "<answer>\\boxed{" : '{"think": "4", "answer": ')];
        const answer = [...head, ...encode(format === "tags" ? "4}</answer>" : "4}"), ...after];
        fc.pre(readAnswer(model.tokenizer.decode(answer, { skipSpecial: true }), format).score === 4);
        count++;
        const { score, distribution, warnings } = await judge(format, answer);
        expect([score, distribution?.p5]).toEqual([expect.closeTo(scoreAt(head.length), 5) as number, expect.closeTo(shareAt(head.length), 5) as number]);
        expect(warnings.join()).not.toContain("token");
      }),
      { numRuns: 60 },
    );
    expect(count).toBe(60);
  });

  it("are those of a fresh forward pass", async () => {
    const digits = ["1", "2", "3", "4", "5"].map((digit) => encode(digit)[0]!);
    let expected: number[] = [];
    const comparing = generating(async (prompts, given) => {
      const samples = await model.generate(prompts, given);
      for (const { ids, text } of samples[0]!) {
        const { scoreAt: place } = readAnswer(text, "tags");
        if (place === null) continue;
        const before = Array.from(ids.keys()).find((n) => model.tokenizer.decode(ids.subarray(0, n + 1)).length === place[1])!;
        const { logProbs } = await model.logProbs(prompts[0]!, digits.map((digit) => [...ids.subarray(0, before), digit]));
        const shares = logProbs.map((one) => Math.exp(one.at(-1)!));
        expected.push(shares.reduce((sum, share, i) => sum + share * (i + 1), 0) / shares.reduce((a, b) => a + b));
      }
      return samples;
    });
    for (const mode of ["logprob", "ensemble"] as const) {
      expected = [];
      const { score } = await assessFrames(drama, { ...options, model: comparing, mode, maxNewTokens: 140 });
      if (expected.length > 0) expect(Math.abs(score! - expected.reduce((a, b) => a + b) / expected.length)).toBeLessThan(1e-4);
      else expect(score).toBeNull();
    }
    expect(expected.length).toBeGreaterThan(1);
  });
});
