import { readFileSync } from "node:fs";
import { ablateWeights, hardened, maxWeightMatching, parseCompletion, prepareReference, RewardError, rouge, scoreCompletion, scoreGroup, tokenize, type RewardReference, type RewardSettings, type RougeScore, type TokenizerName } from "@dramascope/rewards";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const golden = (name: string): unknown => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/rewards/${name}`, import.meta.url), "utf8"));
const close = (actual: number | null, expected: number | null): void => {
  if (expected === null || actual === null) expect(actual).toBe(expected);
  else expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-12);
};

interface RougeCase { target: string; prediction: string; "rouge-score"?: Expected; mixed?: Expected }
interface Expected { r1: number[]; r2: number[]; rl: number[]; mean: number }
const same = (score: RougeScore, expected: number[]): void => [score.precision, score.recall, score.fmeasure].forEach((value, i) => close(value, expected[i]!));

describe("ROUGE", () => {
  it.each(["rouge-edge.json", "rouge-random.json"])("equals the reference package: %s", (file) => {
    const cases = golden(file) as RougeCase[];
    expect(cases.length).toBeGreaterThanOrEqual(40);
    for (const one of cases) {
      for (const tokenizer of ["rouge-score", "mixed"] as TokenizerName[]) {
        const expected = one[tokenizer];
        if (!expected) continue;
        const { rouge1, rouge2, rougeL, mean } = rouge(one.target, one.prediction, { tokenizer });
        same(rouge1, expected.r1);
        same(rouge2, expected.r2);
        same(rougeL, expected.rl);
        close(mean, expected.mean);
      }
    }
  });

  it.each((golden("mixed-tokenizer.json") as { text: string; tokens: string[] }[]))("cuts $text", ({ text, tokens }) => {
    expect(tokenize(text, "mixed")).toEqual(tokens);
  });

  it("is symmetric in F, and the tokenizers agree on ASCII", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        close(rouge(a, b).mean, rouge(b, a).mean);
        const ascii = a.replace(/[^\x00-\x7f]/gu, "");
        expect(tokenize(ascii, "mixed")).toEqual(tokenize(ascii));
      }),
    );
  });
});

describe("matching", () => {
  const { cases, invalid } = golden("matching.json") as { cases: { name: string; matrix: number[][]; sum: number; pairs: number }[]; invalid: { name: string; matrix: (number | string)[][]; error?: string; sum?: number }[] };
  it.each(cases)("$name", ({ matrix, sum, pairs }) => {
    const result = maxWeightMatching(matrix);
    close(result.sum, sum);
    expect(result.pairs).toHaveLength(pairs);
    expect(new Set(result.pairs.map(([row]) => row)).size).toBe(pairs);
    expect(new Set(result.pairs.map(([, column]) => column)).size).toBe(pairs);
  });

  it.each(invalid)("$name", ({ matrix, error, sum }) => {
    const numbers = matrix.map((row) => row.map(Number));
    if (error === undefined) expect(maxWeightMatching(numbers).sum).toBe(sum);
    else expect(() => maxWeightMatching(numbers)).toThrow(expect.objectContaining({ code: error }) as Error);
  });
});

type Part = string | { repeat: string; times: number };
interface Outcome { caption: number | null; comments: number | null; accuracy: number | null; format: number | null; total: number | null; reasons: string[] }
const compare = (actual: Outcome, expected: Outcome): void => {
  for (const key of ["caption", "comments", "accuracy", "format", "total"] as const) close(actual[key], expected[key]);
  expect(actual.reasons).toEqual(expected.reasons);
};

describe("completions", () => {
  const adversarial = golden("adversarial.json") as { reference: RewardReference; cases: { id: string; name: string; parts: Part[]; options: RewardSettings; expect: Outcome }[] };
  it.each(adversarial.cases)("$id $name", ({ parts, options, expect: expected }) => {
    const text = parts.map((part) => (typeof part === "string" ? part : part.repeat.repeat(part.times))).join("");
    compare(scoreCompletion(text, prepareReference(adversarial.reference, options)), expected);
  });

  it("equals the reference on 100 whole completions", () => {
    const { references, rows } = golden("rows.json") as { references: RewardReference[]; rows: { ref: number; completion: string; options?: RewardSettings; expect: Outcome }[] };
    for (const { ref, completion, options, expect: expected } of rows) compare(scoreCompletion(completion, prepareReference(references[ref]!, options)), expected);
  });

  it("keeps every reward between 0 and 1 for any text, alone or in a group", () => {
    const prepared = prepareReference(adversarial.reference);
    const pieces = fc.constantFrom("<caption>", "</caption>", "<comments>", "</comments>", "<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "4", '["a"]', " ", "\n", "girl", "\ud800");
    fc.assert(
      fc.property(fc.array(fc.array(fc.oneof(pieces, fc.string()), { maxLength: 30 }), { maxLength: 3 }), (lists) => {
        const texts = lists.map((list) => list.join(""));
        const group = scoreGroup(texts, prepared);
        texts.forEach((text, i) => expect(scoreCompletion(text, prepared)).toEqual(group[i]));
        for (const one of group) for (const value of [one.format, one.accuracy, one.caption, one.comments, one.total]) expect(value! >= 0 && value! <= 1 + 1e-12).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("reads the parts for other users", () => {
    const parsed = parseCompletion('<caption>c</caption><comments>["x"]</comments><think>t</think><answer>\\boxed{4}</answer><|im_end|>');
    expect(parsed).toEqual({ formatOk: true, caption: "c", comments: ["x"], think: "t", answer: { score: 4, reason: null }, scoreAt: [77, 78] });
    expect(parseCompletion("")).toMatchObject({ answer: { score: null, reason: "no-answer" }, scoreAt: null });
  });
});

describe("settings", () => {
  const reference: RewardReference = { score: 3, caption: "a b", comments: [] };
  it("names each broken reference and warns of one without comments", () => {
    const broken: [object, string][] = [
      [{ ...reference, score: 6 }, "REFERENCE_SCORE_INVALID"],
      [{ ...reference, score: "3" }, "REFERENCE_SCORE_INVALID"],
      [{ ...reference, caption: " " }, "REFERENCE_CAPTION_EMPTY"],
      [{ ...reference, comments: [1] }, "REFERENCE_COMMENTS_INVALID"],
    ];
    for (const [value, code] of broken) expect(() => prepareReference(value as RewardReference)).toThrow(expect.objectContaining({ code }) as Error);
    expect(prepareReference(reference).warnings).toEqual(["no-reference-comments"]);
    expect(() => prepareReference(reference, { weights: { caption: 1, comments: 1, accuracy: 0, format: 0 } })).toThrow(RewardError);
  });

  it("names options in the version and rescales weights in ablations", () => {
    expect(prepareReference(reference).version).toMatch(/^rewards@\d+\.\d+\.\d+\+[0-9a-f]{12}$/u);
    expect(prepareReference(reference, hardened()).version).not.toBe(prepareReference(reference).version);
    const weights = ablateWeights({ caption: 0.2, comments: 0.2, accuracy: 0.5, format: 0.1 }, ["caption", "comments"]);
    expect([weights.caption, weights.comments]).toEqual([0, 0]);
    close(weights.accuracy, 0.5 / 0.6);
    close(weights.format, 0.1 / 0.6);
  });
});
