import { reweightCompletions, type CompletionLine, type PartWeights, type Reweighting } from "@dramascope/trainer";
import { describe, expect, it } from "vitest";

const PAPER: PartWeights = { caption: 0.2, comments: 0.2, accuracy: 0.5, format: 0.1 };

const line = (id: string, index: number, parts: Partial<Record<keyof PartWeights, number | null>>): CompletionLine =>
  ({ step: 1, id, index, text: "", length: 1, ended: true, caption: 0, comments: 0, accuracy: 0, format: 0, total: null, reasons: [], advantage: 0, version: "x", frames: "", ...parts });

async function reweight(lines: readonly CompletionLine[], after: PartWeights): Promise<{ lines: CompletionLine[]; result: Reweighting }> {
  const work = reweightCompletions(lines, { before: PAPER, after });
  const out: CompletionLine[] = [];
  for (;;) {
    const { value, done } = await work.next();
    if (done) return { lines: out, result: value };
    out.push(value);
  }
}

/** One group in which caption and accuracy prefer different completions, one in which they agree. */
const LINES = [line("a", 0, { accuracy: 1 }), line("a", 1, { caption: 1 }), line("b", 0, { accuracy: 1, caption: 1 }), line("b", 1, {})];

describe("other weights", () => {
  it("that are the same change nothing", async () => {
    const { lines, result } = await reweight(LINES, PAPER);
    expect(result).toMatchObject({ groups: 2, completions: 4, unscored: 0, bestChanges: 0, signChanges: 0, zeroSpread: { before: 0, after: 0 } });
    expect(result.totalCorrelation).toBeCloseTo(1, 12);
    expect(lines.map(({ total }) => total)).toEqual([0.5, 0.2, 0.7, 0]);
  });

  it("make another completion the best", async () => {
    const { lines, result } = await reweight(LINES, { ...PAPER, caption: 0.9, accuracy: 0.1 });
    expect(result).toMatchObject({ bestChanges: 0.5, signChanges: 0.5 });
    // Totals 0.5, 0.2, 0.7, 0 against 0.1, 0.9, 1, 0: r = 0.23 / √(0.29 · 0.82).
    expect(result.totalCorrelation).toBeCloseTo(0.23 / Math.sqrt(0.29 * 0.82), 12);
    expect(lines[1]!.advantage).toBeGreaterThan(0);
  });

  it("that leave nothing to prefer say so", async () => {
    const { result } = await reweight(LINES, { caption: 0, comments: 1, accuracy: 0, format: 0 });
    expect(result).toMatchObject({ totalCorrelation: null, advantageCorrelation: null, zeroSpread: { before: 0, after: 1 } });
  });

  it("count what has no score and never make it 0", async () => {
    const none = { caption: null, comments: null, accuracy: null, format: null };
    const { lines, result } = await reweight([line("a", 0, none), line("a", 1, { accuracy: 1 }), line("a", 2, {})], PAPER);
    expect(result).toMatchObject({ completions: 3, unscored: 1 });
    expect(lines.map(({ total }) => total)).toEqual([null, 0.5, 0]);
  });

  it("want the log in its order", async () => {
    await expect(reweight([LINES[1]!], PAPER)).rejects.toThrow("step 1, sample a: completion 1 follows nothing");
  });
});
