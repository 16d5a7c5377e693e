import { commentHash, prepareComment, safeText } from "@dramascope/curation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

describe("safe text", () => {
  it.each([
    ["control characters", "a\u0000b\u0007c\u007fd\u009fe", "abcde"],
    ["line ends in any form", "a\r\nb\rc\u2028d\u2029e\u0085f\tg", "a\nb\nc\nd\ne\nf\tg"],
    ["marks that turn the direction", "\u202eevil\u202c \u2066x\u2069 \u200e\u200f\u061c", "evil x "],
    ["marks of no width", "a\u200bb\u200cc\u2060d\ufeffe\u00adf\u034fg", "abcdefg"],
    ["characters that fill and show nothing", "a\u3164b\u115fc\uffa0d\u180ee", "abcde"],
    ["tags", "hi\u{e0041}\u{e0042}\u{e007f}\u{e0001}!", "hi!"],
    ["text hidden in variation selectors", `x${"\u{e0101}\u{e0132}\ufe03".repeat(5)}`, "x"],
    ["more than one selector after a sign", "❤\ufe0f\ufe0f\ufe0e", "❤\ufe0f"],
    ["selectors after letters and digits", "a\ufe0fb\ufe001\ufe0f", "ab1"],
    ["joiners between letters", "a\u200db नि\u200d", "ab नि"],
    ["halves of characters", "so good \ud83d and \ude00", "so good  and "],
    ["signs of lost text", "a\ufffdb", "ab"],
    ["characters that are none", "a\uffffb\u{1ffff}c\ufdd0d", "abcd"],
  ])("has no %s", (_what, text, expected) => {
    expect(safeText(text)).toBe(expected);
  });

  it.each(["Love it, 10/10!", "短剧真好看！", "👨‍👩‍👧 👩🏽‍🚀 ❤️‍🔥 🏳️‍🌈", "1️⃣ #️⃣ ☎️ ©️", "葛󠄀", "a\n\tb", "  x  ", "مرحبا שלום", "e\u0301"])("keeps %j", (text) => {
    expect(safeText(text)).toBe(text);
  });

  it("is well-formed, without what cannot be seen, and changes nothing the second time", () => {
    const unit = fc.oneof(fc.string({ unit: "binary", maxLength: 3 }), fc.constantFrom("\ud83d", "\ude00", "\u200d", "\ufe0f", "❤", "👩", "\u20e3", "1", "葛", "\u{e0100}", "\u{e0041}", "\r", "\n"));
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 20 }), (units) => {
        const once = safeText(units.join(""));
        expect(once.isWellFormed()).toBe(true);
        expect(once).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2066-\u2069\ufeff\ufffd\u{e0000}-\u{e007f}]/u);
        expect(safeText(once)).toBe(once);
      }),
      { numRuns: 1000 },
    );
  });

  it("reads 10 MB in linear time", () => {
    for (const piece of ["\u200d", "👩\u200d", "\ufe0f", "\ud83d", "ab"]) expect(safeText(piece.repeat(1e7 / piece.length)).length).toBeLessThanOrEqual(1e7);
  });
});

describe("a comment as it leaves the house", () => {
  it.each([
    ["is trimmed", "  好看 \u200b", "好看", false],
    ["may be empty", "\u200b\u202e ", "", false],
    ["may have 500 characters", "x".repeat(500), "x".repeat(500), false],
    ["is cut after them", "x".repeat(501), `${"x".repeat(499)}…`, true],
    ["is redacted before it is cut", `${"x".repeat(495)}13800138000`, `${"x".repeat(495)}…`, true],
    ["is cut before half a character", `${"x".repeat(498)}😀😀`, `${"x".repeat(498)}…`, true],
    ["may have had 10 MB", "看".repeat(1e7), `${"看".repeat(499)}…`, true],
    ["may be all address", `http://x.example/${"a".repeat(1e7)}`, "[url]", false],
  ])("%s", (_what, text, expected, isCut) => {
    expect(prepareComment(text)).toEqual({ text: expected, isCut });
  });
});

describe("the hash of a comment", () => {
  it("is the same for texts that are compared as equal, and another under another salt", () => {
    const hash = commentHash("salt", "Great  ending");
    expect(hash).toMatch(/^[0-9a-f]{64}$/u);
    expect([commentHash("salt", "Ｇreat ending\u200b "), commentHash("salt", "great ENDING")]).toEqual([hash, hash]);
    expect([commentHash("other", "Great  ending"), commentHash("salt", "Great endings")]).not.toContain(hash);
  });

  it("needs a salt", () => {
    expect(() => commentHash("", "x")).toThrow(expect.objectContaining({ code: "SALT_MISSING" }) as Error);
  });
});
