import { readFileSync } from "node:fs";
import { originsOf, parseGrpoConfig, parseSftConfig } from "@dramascope/trainer";
import { describe, expect, it } from "vitest";

describe("settings", () => {
  it("that are unknown are refused with the nearest name", () => {
    expect(() => parseGrpoConfig({ runDir: "x", learningrate: 1 })).toThrow("learningrate is no setting; did you mean learningRate?");
    expect(() => parseSftConfig({ runDir: "x", maxBatchToken: 1 })).toThrow("maxBatchToken is no setting; did you mean maxBatchTokens?");
    expect(() => parseSftConfig({ runDir: "x", lora: { rank: 8 } })).toThrow("lora.rank is no setting; did you mean lora.r?");
    expect(() => parseGrpoConfig({ runDir: "x", rewardServer: { url: "x", tokenenv: "y" } })).toThrow("rewardServer.tokenenv is no setting; did you mean rewardServer.tokenEnv?");
    expect(() => parseSftConfig({ runDir: "x", featurecache: "y" }, ["featureCache"])).toThrow("featurecache is no setting; did you mean featureCache?");
  });

  it.each([
    [{ promptsPerStep: 6, gradientAccumulationSteps: 4 }, "promptsPerStep: 6 prompts cannot be cut into 4 equal micro-batches"],
    [{ rewardWorkers: 2, rewardServer: { url: "http://127.0.0.1:1" } }, "rewardWorkers: the reward server scores; leave one of them out"],
    [{ nearMissCredit: 0.5, rewardServer: { url: "http://127.0.0.1:1" } }, "nearMissCredit: a reward server scores by its own options: give it there"],
    [{ promptsPerStep: 6, stepsPerGeneration: 3, gradientAccumulationSteps: 2 }, "stepsPerGeneration: 3 is no multiple of gradientAccumulationSteps 2"],
    [{ lossType: "cispo" }, "epsilonHigh: 0.2 would scale every token down, for with cispo it is a cap of the ratio itself; 5 is usual"],
    [{ beta1: 1 }, "beta1:"],
    [{ klClamp: [20] }, "klClamp:"],
    [{ temperature: 0 }, "temperature:"],
    [{ numGenerations: 1 }, "numGenerations:"],
    [{ topP: 0 }, "topP:"],
    [{ topK: -1 }, "topK:"],
  ])("%j are refused", (given, message) => {
    expect(() => parseGrpoConfig({ runDir: "x", ...given })).toThrow(message);
  });

  it.each([
    { promptsPerStep: 6, stepsPerGeneration: 3 },
    { promptsPerStep: 8, stepsPerGeneration: 4, gradientAccumulationSteps: 2 },
    { lossType: "cispo", epsilonHigh: 5 },
    { klClamp: [20, 10] },
  ])("%j are taken", (given) => {
    expect(parseGrpoConfig({ runDir: "x", ...given })).toMatchObject(given);
  });

  it("have the documented defaults", () => {
    expect(parseGrpoConfig({ runDir: "x" })).toMatchObject({ learningRate: 1e-5, schedule: "linear", weightDecay: 0, maxGradNorm: 1, beta: 0.04, epsilon: 0.2, epsilonHigh: 0.2, numIterations: 1, numGenerations: 16, lossType: "grpo", temperature: 1, topP: 1, topK: 0, maxCompletionLength: 2048, skipZeroStd: true, maskTruncated: false });
    expect(parseSftConfig({ runDir: "x" })).toMatchObject({ learningRate: 1e-4, schedule: "cosine", weightDecay: 0, maxGradNorm: 1, epochs: 3, batchSize: 8, bucketWindow: 128, lora: { r: 8, alpha: 32, dropout: 0.05 } });
  });

  it.each([
    ["SFT", parseSftConfig({ runDir: "x" }), 0],
    ["GRPO", parseGrpoConfig({ runDir: "x", rewardServer: { url: "u" } }), -1],
  ] as const)("of %s all stand in SETTINGS.md with their defaults", (_kind, config, column) => {
    const rows = readFileSync(new URL("../SETTINGS.md", import.meta.url), "utf8").split("\n").filter((line) => line.startsWith("| `")).map((line) => line.split(" | "));
    const written = new Map(rows.map(([name, ...cells]) => [name!.slice(3, -1), cells.slice(0, -1).at(column)]));
    const none = { preset: {}, file: {}, flag: {} };
    const given = ["runDir", "rewardServer.url"];
    for (const { name, value } of originsOf(config, none)) {
      if (given.includes(name) || name.startsWith("rewardWeights.")) continue;
      expect([name, written.get(name)]).toEqual([name, `\`${JSON.stringify(value)}\``]);
    }
    expect(written.get("rewardWeights")).toBe(`\`${Object.values(parseGrpoConfig({ runDir: "x" }).rewardWeights).join(", ")}\``);
  });
});
