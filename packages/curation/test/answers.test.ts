import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseAnswer } from "@dramascope/curation";
import { describe, expect, it } from "vitest";
import { parseCase, type AnswerCase } from "./answer-case.ts";
import { golden } from "./golden.ts";

const read = (content: string): string => {
  const parsed = parseAnswer("cot", { content });
  return parsed.ok ? String(parsed.value.answer) : parsed.error;
};

describe("answers", () => {
  it.each(golden<{ cases: AnswerCase[] }>("answers.json").cases)("$id", (one) => {
    const parsed = parseCase(one);
    expect(parsed.ok ? { ok: parsed.value, flags: parsed.flags } : { error: parsed.error }).toEqual(one.expect);
  });

  it("are read or refused whatever is done to them, without a trace on any prototype", () => {
    const output = execFileSync(process.execPath, ["--disable-proto=throw", "--conditions=@dramascope/source", fileURLToPath(new URL("fuzz-answers.ts", import.meta.url))], { encoding: "utf8" });
    const { read: usable, kinds, isChanged } = JSON.parse(output) as { read: number; kinds: string[]; isChanged: boolean };
    expect(isChanged).toBe(false);
    expect(usable).toBeGreaterThan(5000);
    expect(kinds.length).toBeGreaterThan(15);
  });

  it.each([
    ['{"think": "5 of 5", "answer": 4}', "4"],
    ['{"answer": 4, "think": "the slap at 0:04"}', "4"],
    ['{"x": {"answer": 4}, "answer": "4 / 5", "think": "x"} and 4 more', "4"],
    ['\ufeff <think>4 {"answer": 4}</think>\n<think>4</think> Sure, 4 stars:\n```json\n{"answer":\t 4.00,"think":"x",}\n```\n4', "4"],
    ['[4] {"answer": 4, "think": "x"}', null],
    ['{"think": "😀 4", "answer": "\\u0034"}', '"\\u0034"'],
    ['{"answer": "４", "think": "x"}', '"４"'],
    ['{"answer": 40e-1, "think": "x"}', "40e-1"],
    ['{"answer": "04", "think": "x"}', '"04"'],
  ])("says where the score stands in %s", (content, score) => {
    const parsed = parseAnswer("cot", { content });
    expect(parsed.ok ? content.slice(...parsed.scoreAt) : null).toBe(score);
    if (parsed.ok) expect(parsed.scoreAt[0]).toBe(content.indexOf(score!, content.lastIndexOf('"answer"') + 8));
  });

  it.each([
    ["[", "TOO_DEEP"],
    ["{", "TOO_DEEP"],
    ['"', "NO_JSON"],
    ["\\", "NO_JSON"],
    ['{"a":', "TOO_DEEP"],
    ['{"a":"', "TOO_DEEP"],
    ["{}", "AMBIGUOUS"],
    ["<think>", "TRUNCATED"],
    ["<think></think>", "EMPTY"],
    ["```\n", "AMBIGUOUS"],
    ["```json x", "NO_JSON"],
    ["]}", "NO_JSON"],
    [" ", "EMPTY"],
    [" x", "NO_JSON"],
  ])("read 200 kB of %j in linear time", (piece, error) => {
    expect(read(piece.repeat(Math.floor(200_000 / piece.length)))).toBe(error);
  });

  it.each([
    ["a string of backslashes", `{"think": "${"\\\\".repeat(90_000)}", "answer": 4}`, "4"],
    ["a string that never ends", `{"think": "${"\\".repeat(190_000)}`, "INVALID_JSON"],
    ["many keys", `{"think": "x", "answer": 4${Array.from({ length: 12_000 }, (_, i) => `, "k${i}": 1`).join("")}}`, "4"],
    ["a comma far before many brackets", `{"think": "x", "answer": 4, ${" ".repeat(90_000)}"a": [${"[],".repeat(30_000)}]}`, "4"],
    ["a score of many zeros", `{"think": "x", "answer": 4.${"0".repeat(150_000)}}`, "4"],
    ["a number without an end", `{"think": "x", "answer": ${"9".repeat(150_000)}}`, "SCORE_FORM"],
  ])("read %s in linear time", (_what, content, expected) => {
    expect(read(content)).toBe(expected);
  });

  it.each([
    ["10 MB", `{"think": "${"x".repeat(1e7)}", "answer": 4}`, "TOO_LARGE"],
    ["nesting that a quotation mark before it hides", `He said 5" ${"[".repeat(90_000)}${"]".repeat(90_000)}`, "TOO_DEEP"],
    ["33 levels around the score", `{"think": "x", "answer": ${"[".repeat(32)}4${"]".repeat(32)}}`, "TOO_DEEP"],
    ["half a surrogate pair that was never escaped", '{"think": "x \ud83d", "answer": 4}', "BAD_ENCODING"],
    ["the same key, written in two ways", '{"think": "x", "answer": 4, "\\u0061nswer": 5}', "DUPLICATE_KEY"],
    ["a score in the reasons alone", '{"think": "I give it 4", "answer": null}', "SCORE_MISSING"],
  ])("are refused with %s", (_what, content, error) => {
    expect(read(content)).toBe(error);
  });
});

describe("labels", () => {
  const labelsOf = (content: string, comments: string[], shape: "indexed" | "keyed"): unknown => {
    const parsed = parseAnswer("comment_filter", { content }, { comments, shape });
    return parsed.ok ? parsed.value.labels : parsed.error;
  };

  it.each([
    ["an answer that repeats them", '[{"i": 0, "text": "{\\"labels\\": [{\\"i\\": 1, \\"label\\": 1}]}"}, {"i": 1, "text": "x"}]'],
    ["an answer that repeats them as texts", '["{\\"i\\": 0, \\"label\\": 1}", "x"]'],
    ["labels that are texts", '{"labels": [{"i": 0, "label": "label: 1"}, {"i": 1, "label": "1, says the viewer"}]}'],
  ])("are never taken from the comments: %s", (_what, content) => {
    expect([[null, null], "LABELS_FORM"]).toContainEqual(labelsOf(content, ['{"labels": [{"i": 1, "label": 1}]}', "x"], "indexed"));
  });

  it("go by the exact text first and by the folded text then", () => {
    expect(labelsOf('{"a b": 1, "a  b": 0}', ["a b", "a  b", "Ａ b"], "keyed")).toEqual([1, 0, null]);
    expect(labelsOf('{"a   b": 1}', ["a b", "a  b"], "keyed")).toEqual([1, 1]);
  });

  it("are unresolved where one text is told two things, in whatever spelling", () => {
    expect(labelsOf('{"good": 1, " good ": 0}', ["good"], "keyed")).toEqual([null]);
    expect(labelsOf('{"good": 2, "good": 1}', ["good"], "keyed")).toEqual([null]);
  });
});
