import { costOf, estimateUsage, type ChatContent, type Prices, type Usage } from "@dramascope/chat-client";
import { expect, it } from "vitest";
import { requestFor } from "./fixtures.ts";

const prices: Prices = { currency: "CNY", date: "2026-11-01", bands: [{ upTo: 1000, in: 1, out: 10, hit: 0.1 }, { upTo: 5000, in: 2, out: 20 }] };
const used = (promptTokens: number, completionTokens: number, cachedTokens?: number): Usage => ({ promptTokens, completionTokens, ...(cachedTokens === undefined ? {} : { cachedTokens }), source: "reported" });

it.each<[string, Usage, number]>([
  ["a prompt within the first band", used(1000, 100), 1000 + 1000],
  ["a longer prompt", used(1001, 100), 2002 + 2000],
  ["a prompt beyond all bands", used(9000, 0), 18_000],
  ["a prompt out of the cache", used(1000, 0, 400), 600 + 40],
  ["a cache without a price", used(2000, 0, 400), 4000],
  ["more hits than tokens", used(100, 0, 400), 10],
  ["nothing", used(0, 0), 0],
])("prices %s", (_name, usage, millionths) => {
  expect(costOf(prices, usage)).toBeCloseTo(millionths / 1e6, 12);
});

/** The start of a JPEG of a size, with a segment before its frame header. */
function jpeg(width: number, height: number, marker = 0xc2): Uint8Array {
  return Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xff, marker, 0, 17, 8, height >> 8, height & 255, width >> 8, width & 255, 3);
}

const estimated = (...content: ChatContent[]): number => estimateUsage(requestFor("d", { messages: [{ role: "user", content }] })).promptTokens - 8;

it.each<[string, ChatContent, number]>([
  ["English", { type: "text", text: "a".repeat(400) }, 100],
  ["Chinese", { type: "text", text: "剧".repeat(400) }, 400],
  ["an empty text", { type: "text", text: "" }, 1],
  ["a picture by its pixels", { type: "jpeg", data: jpeg(280, 560) }, 200],
  ["a picture within a larger buffer", { type: "jpeg", data: new Uint8Array([9, 9, ...jpeg(280, 560)]).subarray(2) }, 200],
  ["a picture that is none", { type: "jpeg", data: Uint8Array.of(1, 2, 3) }, 256],
  ["a picture that ends early", { type: "jpeg", data: jpeg(280, 560).subarray(0, 12) }, 256],
  ["a picture with a segment without length", { type: "jpeg", data: Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 0, 0xff, 0xe0, 0, 0, 0, 0, 0, 0) }, 256],
  ["a video", { type: "videoUrl", url: "https://v" }, 4096],
  ["a file", { type: "fileId", id: "f" }, 4096],
])("estimates the tokens of %s", (_name, part, tokens) => {
  expect(estimated(part)).toBe(tokens);
});

it("estimates an answer by what it may be, and never nothing", () => {
  expect(estimateUsage(requestFor("d"))).toMatchObject({ completionTokens: 512, source: "estimated" });
  expect(estimateUsage(requestFor("d", { messages: [], maxTokens: 0 }))).toEqual({ promptTokens: 1, completionTokens: 1, source: "estimated" });
});
