import { createHash } from "node:crypto";
import { createRandom } from "@dramascope/schema";
import { drawNumber } from "@dramascope/video";
import { drawStampedFrames } from "@dramascope/test-fixtures/world/frames.ts";
import { captionOf } from "@dramascope/test-fixtures/world/language.ts";
import { drawDrama } from "@dramascope/test-fixtures/world/latent.ts";
import { TRAITS } from "@dramascope/test-fixtures/world/traits.ts";
import { describe, expect, it } from "vitest";

const CHECKS = [
  { index: 0, q: -0.382110451973, genre: "revenge", levels: [0, 0, 0, 0, 2, 0], counts: [1, 1, 0, 1, 4, 0], leads: ["purple", "black"], extras: 1, places: [3, 3, 0, 5, 4], frameSeed: 840977368, comments: 12, sha: "655f0219bbabe5cc7f84f43ac3d037bccd5ca19b4edcca5aacaab4f9c46ab813" },
  { index: 1, q: 0.666878375703, genre: "family", levels: [2, 2, 2, 2, 2, 2], counts: [5, 4, 5, 4, 4, 1], leads: ["green", "black"], extras: 2, places: [4, 1, 3, 5, 4], frameSeed: 290760553, comments: 8, sha: "d0bb8f17cbc0179ec34e10ead7417cea8c93f2239626b16e5fc187b9221ca467" },
  { index: 2, q: 0.842070878982, genre: "romance", levels: [1, 1, 2, 2, 1, 0], counts: [3, 2, 4, 4, 3, 0], leads: ["red", "purple"], extras: 0, places: [5, 3, 2, 5, 5], frameSeed: 449888763, comments: 9, sha: "d6467bd636e1be57a9fb8d62bcd92670ec3e7f08ed4e63a063ef1975fd984e5b" },
];

describe("the synthetic drama world", () => {
  it.each(CHECKS)("draws drama $index as the reference does", ({ index, q, genre, levels, counts, leads, extras, places, frameSeed, comments, sha }) => {
    const { drama, quality } = drawDrama(index, { seed: 1, createRandom });
    expect(Math.abs(quality - q)).toBeLessThan(1e-9);
    expect([drama.genre, drama.leads, drama.extras, drama.places, drama.frameSeed, drama.comments.length]).toEqual([genre, leads, extras, places, frameSeed, comments]);
    expect(TRAITS.map((trait) => drama.levels[trait])).toEqual(levels);
    expect(TRAITS.map((trait) => drama.counts[trait])).toEqual(counts);
    expect(createHash("sha256").update(drawStampedFrames(drama, createRandom, drawNumber)).digest("hex")).toBe(sha);
  });

  it("tells drama 0 in the reference words", () => {
    const first = drawDrama(0, { seed: 1, createRandom }).drama;
    expect(captionOf(first)).toBe("Revenge of purple and black. 1: stiff run, street, slow. 2: stiff wait, street, slow. 3: stiff quarrel, harbour, fast. 4: stiff wait, clinic, slow. 5: stiff wait, garden, slow. Ends closed.");
    expect([0, 1, 2].map((index) => drawDrama(index, { seed: 1, createRandom }).drama.comments[0]).map((comment) => [comment!.text, comment!.likes])).toEqual([["first here", 15], ["hate the open end", 2], ["love the running figures", 11]]);
  });
});
