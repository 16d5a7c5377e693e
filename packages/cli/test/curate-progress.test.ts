import type { Progress } from "@dramascope/schema";
import { expect, it } from "vitest";
import { joinProgress, showEvents } from "../src/curate-progress.ts";

const figures = { ended: 3, done: 2, failed: 1, blocked: 0, parked: 0, inFlight: 4, perSecond: 1.25, promptTokens: 1_500_000, completionTokens: 20_000, spent: 0.5 };

it("tells done, failed and in flight, money, rate and tokens", () => {
  const told: Progress[] = [];
  const show = showEvents({ say: () => undefined, progress: (progress) => told.push(progress) }, "USD");
  show({ type: "progress", progress: { ...figures, dramasDecided: 1, dramas: 5 } });
  show({ type: "progress", progress: { ...figures, blocked: 2, parked: 1, dramasDecided: 2, dramas: 5 } });
  expect(told.map(({ phase, done, total, note }) => [phase, done, total, note])).toEqual([
    ["curate", 1, 5, "2 done, 1 failed, 4 in flight · 0.50 USD · 1.3/s · 1.5 M tokens"],
    ["curate", 2, 5, "2 done, 1 failed, 2 refused, 1 parked, 4 in flight · 0.50 USD · 1.3/s · 1.5 M tokens"],
  ]);
  expect(told[0]!.figures).toEqual(figures);
});

it("says what a run meets, and what it read", () => {
  const said: string[] = [];
  const show = showEvents({ say: (text) => said.push(text), progress: () => undefined }, null);
  show({ type: "imported", report: { dramas: 7, splits: { sft: 4, grpo: 2, eval: 1 }, rejected: 2, rejectedFile: "w/rejected.jsonl", withoutMedia: 0, shortfall: {}, conflicts: [] } });
  show({ type: "slow-down", model: "m", pauseMs: 90_000, inFlight: 4 });
  show({ type: "slow-down", model: "m", pauseMs: 1000, inFlight: 2 });
  show({ type: "model-differs", asked: "a", returned: "b" });
  expect(said).toEqual(["7 dramas: SFT 4, GRPO 2, evaluation 1", "2 lines are left out; w/rejected.jsonl says why", "the provider asks for a pause of 90 s; then at most 4 calls at once", "asked for a, answered by b: both names stand in the records"]);
});

it("adds up what several workers have done, and counts their ledger's money and the dramas of earlier runs once", () => {
  const told: Progress[] = [];
  const report = joinProgress((progress) => told.push(progress), "USD");
  const from = (done: number, spent: number): Progress => ({ phase: "curate", done, total: 20, figures: { ...figures, spent } });
  report(1, from(5, 0.1));
  report(1, from(8, 0.2));
  report(2, { phase: "read", done: 20 });
  // The second one came later, when three more dramas had been decided.
  report(2, from(8, 0.2));
  report(2, from(9, 0.3));
  expect(told.map(({ done, total }) => [done, total])).toEqual([[5, 20], [8, 20], [8, 20], [9, 20]]);
  expect(told.at(-1)).toMatchObject({ note: "4 done, 2 failed, 8 in flight · 0.30 USD · 2.5/s · 3.0 M tokens", figures: { done: 4, spent: 0.3 } });
});
