import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { drawNumber, labelsOf, planDrama, type DramaPlan, type EpisodePlan, type Overlay, type PlanOptions } from "@dramascope/video";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const golden = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../../../test-fixtures/goldens/video/${name}`, import.meta.url), "utf8")) as T;
const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("drawNumber", () => {
  const { cases } = golden<{ cases: { width: number; height: number; label: number; options: Overlay & { scale?: number }; background: string; sha256: string }[] }>("digits.json");
  it.each(cases)("$label on $width x $height $options", ({ width, height, label, options, background, sha256 }) => {
    const guarded = new Uint8Array(width * height * 3 + 64).fill(0xa5);
    const frame = guarded.subarray(32, 32 + width * height * 3);
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) frame.set([(7 * x + 3 * y) % 256, (2 * x + 5 * y + 40) % 256, (x + 11 * y + 90) % 256], (y * width + x) * 3);
    expect(sha(frame)).toBe(background);
    const { scale, ...overlay } = options;
    drawNumber(frame, width, height, label, scale === undefined ? overlay : { ...overlay, dot: scale });
    expect(sha(frame)).toBe(sha256);
    expect([...guarded.subarray(0, 32), ...guarded.subarray(-32)].every((byte) => byte === 0xa5)).toBe(true);
  });
});

describe("planDrama", () => {
  interface Case { episodes: { durationSeconds: number; displayWidth: number; displayHeight: number }[]; options: PlanOptions; error?: string; plan?: Omit<DramaPlan, "episodes"> & { episodes: (EpisodePlan & { lastLabel: number; lastLabelContinuous: number })[] } }
  it("meets all 122 reference plans", () => {
    const { cases } = golden<{ cases: Case[] }>("planner.json");
    expect(cases).toHaveLength(122);
    for (const { episodes, options, error, plan: expected } of cases) {
      const plan = (): DramaPlan => planDrama(episodes.map(({ durationSeconds, ...size }) => ({ end: durationSeconds, ...size })), options);
      if (error !== undefined) {
        expect(plan).toThrow(expect.objectContaining({ code: error }) as Error);
        continue;
      }
      const actual = plan();
      expect(actual).toMatchObject({ ...expected, episodes: expected!.episodes.map(({ lastLabel: _a, lastLabelContinuous: _b, ...episode }) => episode) });
      expected!.episodes.forEach(({ lastLabel, lastLabelContinuous }, i) => expect([labelsOf(actual, i, "episode").at(-1), labelsOf(actual, i, "continuous").at(-1)]).toEqual([lastLabel, lastLabelContinuous]));
    }
  });

  it("stays even, in multiples of 28 and within the budget; a larger budget never thins out more", () => {
    const episode = fc.record({ end: fc.double({ min: 0.1, max: 400, noNaN: true }), displayWidth: fc.integer({ min: 100, max: 2000 }), displayHeight: fc.integer({ min: 100, max: 2000 }) });
    fc.assert(
      fc.property(fc.array(episode, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1000, max: 20000 }), (episodes, tokenBudget) => {
        const plan = planDrama(episodes, { tokenBudget });
        expect(plan.totalTokens).toBeLessThanOrEqual(tokenBudget);
        for (const { frames, width, height } of plan.episodes) expect([frames % 2, width % 28, height % 28]).toEqual([0, 0, 0]);
        expect(planDrama(episodes, { tokenBudget: tokenBudget * 2 }).strideSeconds).toBeLessThanOrEqual(plan.strideSeconds);
      }),
    );
  });

  it("gives tall sources the demo model's frame size", () => {
    const plan = planDrama([{ end: 4, displayWidth: 224, displayHeight: 336 }], { maxPairTokens: 6, minFrameTokens: 6, floorPairTokens: 6 });
    expect(plan.episodes[0]).toMatchObject({ frames: 4, width: 56, height: 84 });
  });
});
