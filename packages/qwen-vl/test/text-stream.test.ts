import fc from "fast-check";
import { readTokenizer, type QwenTokenizer } from "@dramascope/qwen-vl";
import { describe, expect, it } from "vitest";
import { createTextStream } from "../src/generate/text-stream.ts";
import { golden } from "./goldens.ts";

const tokenizer = (await readTokenizer(golden("model")))!;
const whole = (ids: readonly number[]): string => tokenizer.decode(ids, { skipSpecial: true });

function parts(ids: readonly number[], given: Partial<QwenTokenizer> = {}): string[] {
  const stream = createTextStream({ ...tokenizer, ...given });
  return ids.map((id, i) => stream(id, i === ids.length - 1));
}

describe("the parts of a text", () => {
  it("add up to it for any tokens, bytes that are no text included", () => {
    const id = fc.oneof(fc.nat(tokenizer.size - 1), fc.integer({ min: 0, max: 255 }), fc.constantFrom(960, 962));
    fc.assert(
      fc.property(fc.array(id, { minLength: 1, maxLength: 80 }), (ids) => {
        expect(parts(ids).join("")).toBe(whole(ids));
      }),
      { numRuns: 500 },
    );
  });

  it("hold no half character", () => {
    const ids = tokenizer.encode("评分：5 \u{1F3AC}\u{1F3AC} fin");
    const given = parts(ids);
    expect(given.join("")).toBe("评分：5 \u{1F3AC}\u{1F3AC} fin");
    expect(given.filter((part) => part.includes("\uFFFD"))).toEqual([]);
    expect(given.filter((part) => part !== "").length).toBeGreaterThan(6);
  });

  it.each([["a text", "一部短剧。 "], ["bytes that are no text", undefined]])("of %s cost no more at its end than at its start", (_name, text) => {
    const bytes = Array.from({ length: 256 }, (_, id) => id).filter((id) => whole([id]) === "\uFFFD");
    const ids = text === undefined ? Array.from({ length: 600 }, (_, i) => bytes[i % bytes.length]!) : tokenizer.encode(text.repeat(60));
    let decoded = 0;
    const decode: QwenTokenizer["decode"] = (list, options) => {
      decoded += list.length;
      return tokenizer.decode(list, options);
    };
    expect(parts(ids, { decode }).join("")).toBe(whole(ids));
    expect(decoded).toBeLessThan(30 * ids.length);
  });
});
