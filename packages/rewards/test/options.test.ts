import { hardened, prepareReference, scoreCompletion, type RewardReference, type RewardSettings } from "@dramascope/rewards";
import { createRandom } from "@dramascope/schema";
import { describe, expect, it } from "vitest";

const reference: RewardReference = { score: 4, caption: "a poor girl marries a secret heir", comments: ["great plot twist", "so handsome", "i am crying"] };
const answer = (comments: unknown, caption = reference.caption): string => `<caption>${caption}</caption><comments>${typeof comments === "string" ? comments : JSON.stringify(comments)}</comments><think>t</think><answer>4</answer>`;
const score = (text: string, settings: RewardSettings = {}, against = reference): ReturnType<typeof scoreCompletion> => scoreCompletion(text, prepareReference(against, settings));

describe("comments", () => {
  it("are limited before equal ones are dropped and the first are taken", () => {
    expect(score(answer(new Array(101).fill("great plot twist")), { takeComments: 3, dedupeComments: true }).reasons).toEqual(["too-many-comments"]);
    expect(score(answer(["ok", "so ".repeat(513)]), { takeComments: 1 }).reasons).toEqual(["comment-too-long"]);
    const repeated = ["so handsome", "so handsome", "so handsome", "i am crying", "great plot twist"];
    expect(score(answer(repeated), { takeComments: 3, dedupeComments: true }).comments).toBeCloseTo(1, 12);
    expect(score(answer(repeated), { takeComments: 3 }).comments).toBeLessThan(0.5);
  });

  it("are divided by what the option says", () => {
    const one = answer(["so handsome"]);
    expect(score(one).comments).toBeCloseTo(1, 12);
    expect(score(one, { commentsDenominator: "max" }).comments).toBeCloseTo(1 / 3, 12);
    expect(score(one, { commentsDenominator: "expected" }).comments).toBeCloseTo(1 / 10, 12);
    expect(score(one, { commentsDenominator: "expected", expectedComments: 4 }).comments).toBeCloseTo(1 / 4, 12);
  });

  it("are counted in the details: elements, kept strings, different ones, pairs", () => {
    const { details } = score(answer(["so handsome", " ", 666, "So, handsome!", null, "x"]), { details: true });
    expect(details).toEqual({ answer: { score: 4, reason: null }, captionTokens: 7, comments: { given: 6, kept: 3, distinct: 2, pairs: 3 }, warnings: [] });
    expect(score("x", { details: true, limits: { completionChars: 0 } }).details).toMatchObject({ answer: { score: null, reason: "completion-too-long" }, captionTokens: 0 });
    expect(score("x")).not.toHaveProperty("details");
  });

  it("may be a list of lines only when the option says so", () => {
    const lines = "\n- so handsome\n2. great plot twist\n\n \u2022 i am crying\n10、so handsome\n";
    expect(score(answer(lines)).comments).toBe(0);
    const lenient = score(answer(lines), { commentsFormat: "json-or-bullets", details: true });
    expect([lenient.comments, lenient.details!.comments]).toEqual([1, { given: 4, kept: 4, distinct: 3, pairs: 3 }]);
    expect(score(answer('{"a": 1}'), { commentsFormat: "json-or-bullets" }).comments).toBe(0);
    expect(score(answer(lines), { commentsFormat: "json-or-bullets", requireComments: 4 }).format).toBe(0);
  });

  it("are read at any depth of nesting", () => {
    const depth = 100_000;
    const text = answer(`${"[".repeat(depth)}${"]".repeat(depth)}`);
    expect(score(text)).toMatchObject({ format: 1, comments: 0, accuracy: 1 });
    expect(score(answer("[".repeat(depth)))).toMatchObject({ format: 1, comments: 0 });
  });
});

it.each([
  ["4", 1, 1],
  ["3", 0, 0.375],
  ["5", 0, 0.375],
  ["2", 0, 0.25],
  ["1", 0, 0.125],
  ["6", 0, 0],
  ["four", 0, 0],
])("an answer of %s against class 4 earns %d, and %d with half a credit for near misses", (given, exact, graded) => {
  const text = answer(["so handsome"]).replace("<answer>4<", `<answer>${given}<`);
  expect(score(text).accuracy).toBe(exact);
  const by = score(text, { nearMissCredit: 0.5 });
  expect(by.accuracy).toBe(graded);
  expect(by.total).toBeCloseTo(score(text).total! + 0.5 * (graded - exact), 12);
});

it("a part that is too large to compute is null with the reason, and so is the total", () => {
  const many = Array.from({ length: 600 }, (_, i) => `w${i} w${(i * 7) % 600} x`);
  const settings = { limits: { comments: null } };
  const result = score(answer(many), settings, { ...reference, comments: many.toReversed() });
  expect(result).toMatchObject({ comments: null, total: null, caption: 1, accuracy: 1, format: 1, reasons: ["comments-too-large"] });
  expect(score(answer(many), {}, { ...reference, comments: many })).toMatchObject({ comments: 0, reasons: ["too-many-comments"] });
});

describe("warnings", () => {
  it.each<[string, RewardReference, RewardSettings, string[]]>([
    ["English", reference, {}, []],
    ["no comments", { ...reference, comments: [" "] }, {}, ["no-reference-comments"]],
    ["a Chinese caption without words", { ...reference, caption: "女主真美" }, {}, ["reference-caption-has-no-tokens", "tokenizer-skips-letters"]],
    ["a Chinese comment with digits", { ...reference, comments: ["女主真美666"] }, {}, ["tokenizer-skips-letters"]],
    ["Chinese read as such", { ...reference, caption: "女主真美" }, { tokenizer: "mixed" }, []],
    ["punctuation only", { ...reference, caption: "?!" }, { tokenizer: "mixed" }, ["reference-caption-has-no-tokens"]],
  ])("of %s", (_name, against, settings, warnings) => {
    expect(prepareReference(against, settings).warnings).toEqual(warnings);
  });
});

describe("settings", () => {
  it.each<[RewardSettings, string]>([
    [{ weights: { caption: 0.2, comments: 0.2, accuracy: 0.5, format: 0.2 } }, "WEIGHTS_INVALID"],
    [{ weights: { caption: -0.2, comments: 0.6, accuracy: 0.5, format: 0.1 } }, "WEIGHTS_INVALID"],
    [{ weights: { caption: Number.NaN, comments: 0.6, accuracy: 0.5, format: 0.1 } }, "WEIGHTS_INVALID"],
    [{ weights: { caption: 0.2, comments: 0.2, accuracy: 0.5 } as never }, "WEIGHTS_INVALID"],
    [{ tokenizer: "words" as never }, "OPTIONS_INVALID"],
    [{ format: true as never }, "OPTIONS_INVALID"],
    [{ nearMissCredit: 1.5 }, "OPTIONS_INVALID"],
    [{ nearMissCredit: Number.NaN }, "OPTIONS_INVALID"],
    [{ expectedComments: 0 }, "OPTIONS_INVALID"],
    [{ takeComments: 1.5 }, "OPTIONS_INVALID"],
    [{ minCaptionTokens: -1 }, "OPTIONS_INVALID"],
    [{ eosTokens: "<|im_end|>" as never }, "OPTIONS_INVALID"],
    [{ limits: { comments: "100" as never } }, "OPTIONS_INVALID"],
    [{ limits: { words: 1 } as never }, "OPTIONS_INVALID"],
    [{ tokeniser: "mixed" } as never, "OPTIONS_INVALID"],
    [null as never, "OPTIONS_INVALID"],
    [[] as never, "OPTIONS_INVALID"],
    [JSON.parse('{"__proto__": {}}') as never, "OPTIONS_INVALID"],
  ])("%j is refused with %s", (settings, code) => {
    expect(() => prepareReference(reference, settings)).toThrow(expect.objectContaining({ code }) as Error);
  });

  it.each<[unknown, string]>([
    [{ weights: null }, "weights is null"],
    [{ weights: [0.2, 0.2, 0.5, 0.1] }, "weights is [0.2,0.2,0.5,0.1]"],
    [{ weights: { caption: 0.2, comments: 0.2, accuracy: 0.5, format: 0.1, words: 0 } }, "weights.words is 0"],
    [{ weights: { caption: "0.2", comments: 0.2, accuracy: 0.5, format: 0.1 } }, 'weights.caption is "0.2"'],
    [{ weights: JSON.parse('{ "caption": 0.2, "comments": 0.2, "accuracy": 0.5, "format": 0.1, "__proto__": 1 }') as unknown }, "weights.__proto__ is 1"],
    [{ limits: 5 }, "limits is 5"],
    [{ limits: null }, "limits is null"],
    [{ limits: [] }, "limits is []"],
    [{ limits: { words: 1 } }, "limits.words is 1"],
    [{ limits: { comments: Number.NaN } }, "limits.comments is NaN"],
    [{ limits: { comments: -1 } }, "limits.comments is -1"],
  ])("%j is refused by name", (settings, named) => {
    expect(() => prepareReference(reference, settings as RewardSettings)).toThrow(expect.objectContaining({ code: "OPTIONS_INVALID", message: expect.stringContaining(`the reward option ${named}, expected `) as string }) as Error);
  });

  it("undefined means the default, and weights of another sum can be allowed", () => {
    expect(prepareReference(reference, { tokenizer: undefined, limits: { comments: undefined } } as never).version).toBe(prepareReference(reference).version);
    expect(score(answer(["so handsome"]), { weights: { caption: 1, comments: 1, accuracy: 1, format: 1 }, allowUnnormalized: true }).total).toBeCloseTo(4, 12);
  });

  it("are told apart by the version, except for details", () => {
    const version = (settings: RewardSettings): string => prepareReference(reference, settings).version;
    expect(version({ details: true })).toBe(version({}));
    expect(new Set([{}, hardened(), { tokenizer: "mixed" as const }, { limits: { comments: null } }, { eosTokens: [] }].map(version)).size).toBe(5);
  });

  it("hardened() lets random comments earn less the fewer there are", () => {
    const random = createRandom(11);
    const words = ["great", "plot", "so", "slow", "love", "the", "girl", "i", "cry", "heir", "again", "what", "a", "twist", "boring"];
    const text = (): string => Array.from({ length: 8 }, () => words[random.below(words.length)]!).join(" ");
    const against = { ...reference, comments: Array.from({ length: 20 }, text) };
    const mean = (count: number, settings: RewardSettings): number => Array.from({ length: 30 }, () => score(answer(Array.from({ length: count }, text)), settings, against).comments!).reduce((a, b) => a + b, 0) / 30;
    expect(mean(100, {})).toBeGreaterThan(mean(10, {}));
    expect(mean(1, hardened())).toBeLessThan(0.2 * mean(10, hardened()));
    expect(Math.abs(mean(100, hardened()) - mean(10, hardened()))).toBeLessThan(0.05);
    expect(score(answer(["so handsome"], "too short"), hardened())).toMatchObject({ format: 0, caption: 0, reasons: ["caption-too-short"] });
  });
});
