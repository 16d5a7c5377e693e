import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { epochBatches } from "../src/sft-batches.ts";
import { createRandom } from "@dramascope/schema";

const settings = fc.record({ seed: fc.integer({ min: 0, max: 1000 }), batchSize: fc.integer({ min: 1, max: 9 }), bucketWindow: fc.integer({ min: 1, max: 60 }) });
const spread = Array.from({ length: 400 }, (_, i) => 50 + ((i * 7919) % 400));

/** Share of tokens that is padding where every step is padded to its longest sample. */
function padding(lengths: readonly number[], batches: readonly (readonly number[])[]): number {
  const of = (batch: readonly number[]): number[] => batch.map((i) => lengths[i]!);
  const padded = batches.reduce((sum, batch) => sum + batch.length * Math.max(...of(batch)), 0);
  return 1 - lengths.reduce((a, b) => a + b, 0) / padded;
}

describe("an epoch's steps", () => {
  it("hold every sample once, all but one step of the full size", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 120 }), settings, fc.integer({ min: 0, max: 5 }), (lengths, config, epoch) => {
        const batches = epochBatches(lengths, epoch, config);
        expect(batches.flat().sort((a, b) => a - b)).toEqual([...lengths.keys()]);
        expect(batches).toHaveLength(Math.ceil(lengths.length / config.batchSize));
        expect(batches.filter(({ length }) => length !== config.batchSize).length).toBeLessThanOrEqual(1);
        expect(epochBatches(lengths, epoch, config)).toEqual(batches);
      }),
    );
  });

  it("are the random order cut up with a window of 1", () => {
    const order = createRandom(3, { stream: 2 }).shuffle([...spread.keys()]);
    expect(epochBatches(spread, 2, { seed: 3, batchSize: 8, bucketWindow: 1 }).flat()).toEqual(order);
  });

  it("take each window's samples from the random order, so that steps change from epoch to epoch", () => {
    const config = { seed: 3, batchSize: 8, bucketWindow: 64 };
    const order = createRandom(3, { stream: 0 }).shuffle([...spread.keys()]);
    const sorted = (places: readonly number[]): number[] => [...places].sort((a, b) => a - b);
    expect(sorted(epochBatches(spread, 0, config).flat().slice(0, 64))).toEqual(sorted(order.slice(0, 64)));
    const steps = (epoch: number): Set<string> => new Set(epochBatches(spread, epoch, config).map((batch) => sorted(batch).join()));
    expect([...steps(0)].filter((step) => steps(1).has(step))).toEqual([]);
  });

  it("are not ordered by length among each other", () => {
    const first = epochBatches(spread, 0, { seed: 0, batchSize: 8, bucketWindow: 96 }).slice(0, 12).map((batch) => spread[batch[0]!]!);
    expect(first).not.toEqual([...first].sort((a, b) => a - b));
  });

  it("need far less padding in windows", () => {
    const of = (bucketWindow: number): number => padding(spread, epochBatches(spread, 0, { seed: 0, batchSize: 8, bucketWindow }));
    expect(of(1)).toBeGreaterThan(0.3);
    expect(of(96)).toBeLessThan(0.08);
  });
});
