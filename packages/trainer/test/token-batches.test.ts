import fc from "fast-check";
import { expect, it } from "vitest";
import { callTokens, cutByTokens } from "../src/token-batches.ts";
import { DEMO, SEVEN_B } from "./model-configs.ts";

const lengths = fc.array(fc.record({ prompt: fc.integer({ min: 0, max: 50 }), answer: fc.integer({ min: 1, max: 50 }) }), { maxLength: 20 });

it("parts hold every sample once, and no more tokens than allowed unless they are one sample", () => {
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 300 }), fc.integer({ min: 0, max: 300 }), (samples, maxTokens, cost) => {
      const parts = cutByTokens(samples, maxTokens, cost);
      expect(parts.flat().sort((a, b) => a - b)).toEqual([...samples.keys()]);
      for (const part of parts) {
        const padded = part.length * (Math.max(...part.map((i) => samples[i]!.prompt)) + Math.max(...part.map((i) => samples[i]!.answer)));
        expect(part.length === 1 || padded <= maxTokens).toBe(true);
      }
    }),
  );
});

it.each([
  [104, [[0, 1, 2, 3]]],
  [40, [[0, 2, 3], [1]]],
  [12, [[0, 3], [2], [1]]],
  [1, [[0], [3], [2], [1]]],
])("of at most %d tokens are %j", (maxTokens, parts) => {
  expect(cutByTokens([{ prompt: 3, answer: 2 }, { prompt: 20, answer: 5 }, { prompt: 7, answer: 6 }, { prompt: 4, answer: 2 }], maxTokens, 64)).toEqual(parts);
});

it("cuts where a call of its own costs less than padding", () => {
  const short = { prompt: 100, answer: 20 };
  expect(cutByTokens([short, { prompt: 100, answer: 70 }], 4096, 64)).toEqual([[0, 1]]);
  expect(cutByTokens([short, { prompt: 100, answer: 90 }], 4096, 64)).toEqual([[0], [1]]);
  expect(cutByTokens([short, { prompt: 300, answer: 20 }, short, { prompt: 310, answer: 25 }], 4096, 64)).toEqual([[0, 2], [1, 3]]);
});

it("calls are dear for a small model, and nearly free for a large one", () => {
  expect(callTokens(DEMO)).toBeGreaterThan(1000);
  expect(callTokens(SEVEN_B)).toBeLessThan(17);
});
