import { healthSigns, newHealthSigns, type HealthSign, type MetricLine } from "@dramascope/trainer";
import { describe, expect, it } from "vitest";

/** A line of a healthy generation. */
const healthy = { loss: 0.1, frac_reward_zero_std: 0.1, "completions/clipped_ratio": 0, "completions/mean_length": 100, "rewards/format/mean": 0.9, "rewards/accuracy/mean": 0.5, "rewards/caption/mean": 0.3, "rewards/comments/mean": 0.3, kl: 0.02, entropy: 1, "dramascope/identical_ratio": 0, "dramascope/unscored_ratio": 0 };

/** Lines whose values may follow from their place. */
function run(count: number, change: (i: number) => Record<string, number | null> = () => ({})): MetricLine[] {
  return Array.from({ length: count }, (_, i) => ({ step: i + 1, ...healthy, ...change(i) }));
}

const codes = (lines: readonly MetricLine[]): string[] => healthSigns(lines).map(({ code }) => code);

describe("signs of trouble", () => {
  it("are none in a healthy run, and none without generations", () => {
    expect(codes(run(40))).toEqual([]);
    expect(codes([])).toEqual([]);
    expect(codes([{ step: 1, loss: 0 }])).toEqual([]);
  });

  it.each<[HealthSign["code"], string, MetricLine[]]>([
    ["LOSS_ZERO", "the first loss", run(1, () => ({ loss: 1e-9 }))],
    ["ZERO_SPREAD", "most groups are equal", run(2, (i) => ({ frac_reward_zero_std: i === 1 ? 0.9 : 0 }))],
    ["CUT_COMPLETIONS", "most are cut", run(2, () => ({ "completions/clipped_ratio": 0.6 }))],
    ["NO_FORMAT", "twenty generations without form", run(20, () => ({ "rewards/format/mean": 0 }))],
    ["FAR_FROM_REFERENCE", "far away", run(2, () => ({ kl: 1.5 }))],
    ["ENTROPY_COLLAPSE", "entropy falls to nothing", run(30, (i) => ({ entropy: i < 10 ? 1 : 0.1 }))],
    ["REWARD_HACKING", "form rises, accuracy falls", run(30, (i) => ({ "rewards/format/mean": i / 30, "rewards/accuracy/mean": 1 - i / 30 }))],
    ["IDENTICAL_COMPLETIONS", "twins", run(2, () => ({ "dramascope/identical_ratio": 0.75 }))],
    ["LENGTH_DRIFT", "three times as long", run(30, (i) => ({ "completions/mean_length": i < 15 ? 100 : 300 }))],
    ["LENGTH_DRIFT", "a third as long", run(30, (i) => ({ "completions/mean_length": i < 15 ? 300 : 100 }))],
    ["UNSCORED", "some have no score", run(2, () => ({ "dramascope/unscored_ratio": 0.01 }))],
  ])("%s: %s", (code, _why, lines) => {
    expect(codes(lines)).toEqual([code]);
  });

  it.each<[string, MetricLine[]]>([
    ["nineteen generations without form", run(19, () => ({ "rewards/format/mean": 0 }))],
    ["nothing scored, so no form known", run(25, () => ({ "rewards/format/mean": null }))],
    ["a loss of 0 later on", run(2, () => ({ loss: 0 }))],
    ["accuracy rises with form", run(30, (i) => ({ "rewards/format/mean": i / 30, "rewards/accuracy/mean": i / 30 }))],
  ])("stay away: %s", (_why, lines) => {
    expect(codes(lines)).toEqual([]);
  });

  it("are told when they come, not again while they stay, nor by steps that did not generate", () => {
    const lines = run(4, (i) => ({ frac_reward_zero_std: i < 2 ? 0 : 1 }));
    const told = [1, 2, 3, 4].map((count) => newHealthSigns(lines.slice(0, count)).length);
    expect(told).toEqual([0, 0, 1, 0]);
    expect(newHealthSigns([...lines.slice(0, 3), { step: 4, loss: 0.1 }])).toEqual([]);
  });

  it("say what to do", () => {
    for (const { text } of healthSigns(run(30, (i) => ({ loss: 0, frac_reward_zero_std: 1, "completions/clipped_ratio": 1, kl: 2, entropy: 1 / (i + 1) })))) expect(text).toMatch(/\. [A-Z].*\.$/u);
  });
});
