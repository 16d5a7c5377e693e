import { readFileSync } from "node:fs";
import { createRandom } from "@dramascope/schema";
import { describe, expect, it } from "vitest";

interface Goldens {
  rng: { seed: number; stream: number; next: number[] }[];
}
const goldens = JSON.parse(readFileSync(new URL("../../../test-fixtures/goldens/evaluation/resampling.json", import.meta.url), "utf8")) as Goldens;

describe("createRandom", () => {
  it.each(goldens.rng)("gives the reference outputs for seed $seed, stream $stream", ({ seed, stream, next }) => {
    const random = createRandom(seed, { stream });
    expect(next.map(() => random.next())).toEqual(next);
  });

  it("draws uniforms in [0, 1) and integers below n without bias beyond noise", () => {
    const random = createRandom(7);
    const counts = new Array<number>(6).fill(0);
    for (let i = 0; i < 60_000; i++) {
      const u = random.uniform();
      expect(u >= 0 && u < 1).toBe(true);
      counts[random.below(6)]!++;
    }
    const chiSquare = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chiSquare).toBeLessThan(20.5); // 0.1 % point at 5 degrees of freedom
  });

  it("draws normals with mean 0 and variance 1", () => {
    const random = createRandom(11);
    const values = Array.from({ length: 20_000 }, () => random.normal());
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(variance - 1)).toBeLessThan(0.05);
  });

  it("shuffles in place, the same way for the same seed", () => {
    const first = createRandom(3).shuffle([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(first).toEqual(createRandom(3).shuffle([0, 1, 2, 3, 4, 5, 6, 7]));
    expect([...first].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(first).not.toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 53])("refuses the seed %s", (seed) => {
    expect(() => createRandom(seed)).toThrow(RangeError);
  });
});
