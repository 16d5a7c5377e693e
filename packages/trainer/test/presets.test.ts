import { grpoPreset, mergeSettings, originsOf, parseGrpoConfig } from "@dramascope/trainer";
import { describe, expect, it } from "vitest";

describe("presets", () => {
  it.each([
    ["paper", { numGenerations: 16, advantageConvention: "paper", advantageStd: "population", beta: 0.04, rewardWeights: { caption: 0.2, comments: 0.2, accuracy: 0.5, format: 0.1 } }],
    ["trl-1.13", { lossType: "dapo", beta: 0, biasCorrectionKl: true, advantageConvention: "trl" }],
    ["gspo", { lossType: "grpo", importanceSamplingLevel: "sequence", epsilon: 3e-4, epsilonHigh: 4e-4 }],
  ])("%s is valid as it stands", (name, expected) => {
    expect(parseGrpoConfig({ ...grpoPreset(name), runDir: "x" })).toMatchObject(expected);
  });

  it("are found by their own names only", () => {
    expect(() => grpoPreset("constructor")).toThrow('there is no preset "constructor"');
  });
});

describe("layers of settings", () => {
  it("go over each other part by part", () => {
    expect(mergeSettings({ lora: { r: 8, alpha: 32 }, betas: [1, 2] }, { lora: { r: 16 }, betas: [3] })).toEqual({ lora: { r: 16, alpha: 32 }, betas: [3] });
  });

  it("keep where each value comes from", () => {
    const [preset, file, flag] = [grpoPreset("paper"), { runDir: "x", beta: 0.1, lora: { r: 4 } }, { beta: 0.2 }];
    const resolved = parseGrpoConfig(mergeSettings(mergeSettings(preset, file), flag));
    const origins = new Map(originsOf(resolved, { preset, file, flag }).map(({ name, value, origin }) => [name, [value, origin]]));
    expect(origins.get("beta")).toEqual([0.2, "flag"]);
    expect(origins.get("lora.r")).toEqual([4, "file"]);
    expect(origins.get("lora.alpha")).toEqual([32, "default"]);
    expect(origins.get("numGenerations")).toEqual([16, "preset"]);
    expect(origins.get("rewardWeights.accuracy")).toEqual([0.5, "preset"]);
  });
});
