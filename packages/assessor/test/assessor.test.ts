import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  assessDramas, assessFrames, assessmentCalibration, calibrateAssessments, decide, DEFAULT_POLICY, placeScore, readAnswer, readProfile, reasonsOf, writeProfile,
  type AnswerFormat, type AssessOptions, type DecisionInput, type EpisodeFrames, type ScoreMode,
} from "@dramascope/assessor";
import { loadQwenVl, type QwenVl } from "@dramascope/qwen-vl";
import { assessment, createRandom } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const withCode = (code: string): Error => expect.objectContaining({ name: "AssessorError", code }) as Error;

const baseModel = fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url));

describe("reasons", () => {
  it("come with their side, episode and time", () => {
    const reasons = reasonsOf("Strengths: the slap at 0:07 in episode 1; warm faces, rich places. Weaknesses: none. Overall good.");
    expect(reasons).toEqual([
      { kind: "strength", text: "the slap at 0:07 in episode 1", episode: 1, seconds: 7 },
      { kind: "strength", text: "warm faces", episode: null, seconds: null },
      { kind: "strength", text: "rich places", episode: null, seconds: null },
      { kind: "remark", text: "good", episode: null, seconds: null },
    ]);
    expect(reasonsOf("no headings here")).toEqual([]);
  });

  it("never throw, whatever the text", () => {
    fc.assert(fc.property(fc.string(), (text) => void reasonsOf(`Strengths: ${text} Weaknesses: ${text}`)));
  });
});

describe("answers", () => {
  it("are read in both forms, and a score is never made up", () => {
    expect(readAnswer('<caption>c</caption><comments>["x"]</comments><think>t</think><answer>\\boxed{4}</answer>', "tags")).toEqual({ score: 4, scoreAt: [77, 78], caption: "c", comments: ["x"], think: "t", problem: null });
    expect(readAnswer('{"think": "t", "answer": 2}', "json")).toMatchObject({ score: 2, scoreAt: [25, 26], think: "t", problem: null });
    for (const format of ["tags", "json"] as const) {
      const none = readAnswer("four out of five", format);
      expect(none.score).toBeNull();
      expect(none.problem).toBeTruthy();
    }
  });
});

describe("decisions", () => {
  const sure = (k: number) => ({ p1: 0, p2: 0, p3: 0, p4: 0, p5: 0, [`p${k}`]: 1 });
  it.each([
    [4.6, 5, sure(5), "recommend"],
    [3.8, 4, sure(4), "procure"],
    [2.9, 3, sure(3), "price"],
    [1.2, 1, sure(1), "reject"],
    [1.2, 1, { p1: 0.3, p2: 0.3, p3: 0.2, p4: 0.1, p5: 0.1 }, "human-review"],
    [4.6, 5, null, "human-review"],
    [null, null, null, "human-review"],
  ] as const)("score %s leads to %s", (score, quality, distribution, action) => {
    expect(decide({ score, quality, distribution }).action).toBe(action);
  });

  it("leaves a drama to a human when most answers hold no score", () => {
    expect(decide({ score: 4.6, quality: 5, distribution: sure(5), readable: 0.25 })).toEqual({ action: "human-review", why: "Only 25 % of the model's answers hold a score; 50 % is asked for." });
    expect(decide({ score: 4.6, quality: 5, distribution: sure(5), readable: 0.5 }).action).toBe("recommend");
  });

  it("are not made on numbers that mean nothing", () => {
    const input: DecisionInput = { score: 4.6, quality: 5, distribution: sure(5) };
    for (const change of [{ score: NaN }, { score: 5.5 }, { distribution: { ...sure(5), p1: NaN } }, { interval: [NaN, 5] as const }, { readable: NaN }]) {
      expect(() => decide({ ...input, ...change })).toThrow(withCode("BAD_SCORE"));
    }
    for (const change of [{ recommendFrom: NaN }, { rejectBelow: NaN }, { procureFrom: 4.5 }, { rejectBelow: 3.6 }, { minConfidence: 45 }, { minReadable: NaN }]) {
      expect(() => decide(input, { ...DEFAULT_POLICY, ...change })).toThrow(withCode("BAD_POLICY"));
    }
    expect(decide(input, { ...DEFAULT_POLICY, recommendFrom: Infinity }).action).toBe("procure");
  });

  it("rejects nothing whose interval reaches the scores that are procured", () => {
    expect(decide({ score: 1.2, quality: 1, distribution: sure(1), interval: [1, 3.4] }).action).toBe("reject");
    expect(decide({ score: 1.2, quality: 1, distribution: sure(1), interval: [1, 3.63] })).toEqual({ action: "human-review", why: "Expected score 1.20 is below 1.8, but its 95 % interval reaches 3.63: too unsure to reject." });
  });
});

describe("calibration", () => {
  it("gives an interval that covers, and a percentile", () => {
    const random = createRandom(4);
    const gold = Array.from({ length: 400 }, () => 1 + random.below(5));
    const scores = gold.map((truth) => Math.min(5, Math.max(1, truth + random.normal())));
    const calibration = calibrateAssessments({ catalogue: "x", scores: scores.slice(0, 200), gold: gold.slice(0, 200) });
    const covered = scores.slice(200).filter((score, i) => {
      const [low, high] = placeScore(score, calibration).interval!;
      return gold[200 + i]! >= low && gold[200 + i]! <= high;
    }).length;
    expect(covered / 200).toBeGreaterThan(0.9);
    expect(placeScore(1, calibration).percentile!).toBeLessThan(20);
    expect(placeScore(5, calibration).percentile!).toBeGreaterThan(80);
    expect(calibrateAssessments({ catalogue: "x", scores: [3], gold: [3] }).halfWidth).toBeNull();
    expect(assessmentCalibration.parse(calibrateAssessments({ catalogue: "x", scores: gold, gold })).halfWidth).toBe(0);
  });

  it.each([
    [[1, 2], [1]],
    [[1, NaN], [1, 2]],
    [[1, 2], [1, 6]],
  ])("takes no catalogue of scores %j and classes %j", (scores, gold) => {
    expect(() => calibrateAssessments({ catalogue: "x", scores, gold })).toThrow(withCode("BAD_CALIBRATION"));
  });
});

describe("profiles", () => {
  it("come back as written, and a broken one is an error", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-profile-"));
    expect(await readProfile(folder)).toBeUndefined();
    const profile = (await readProfile(baseModel))!;
    expect(profile.template.id).toBe("grpo");
    const { template: _template, ...rest } = profile;
    await writeProfile(folder, rest);
    expect(await readProfile(folder)).toMatchObject(rest);
    await writeFile(join(folder, "dramascope.json"), "{}");
    await expect(readProfile(folder)).rejects.toThrow(withCode("PROFILE_INVALID"));
    await rm(join(folder, "dramascope.json"));
    await mkdir(join(folder, "dramascope.json"));
    await expect(readProfile(folder)).rejects.toThrow(withCode("PROFILE_INVALID"));
  });
});

describe("a drama's frames", () => {
  let model: QwenVl;
  let options: AssessOptions;
  beforeAll(async () => {
    const { tf } = await loadTensorFlow({ threads: 1 });
    model = await loadQwenVl(baseModel, { tf });
    const profile = (await readProfile(baseModel))!;
    options = { model, template: profile.template, samples: 3, maxNewTokens: 140, identity: { model: { name: "demo-base", sha256: null }, adapter: null }, clock: () => 0 };
  });
  afterAll(() => model.dispose());
  const random = createRandom(9);
  const episodes = Array.from({ length: 2 }, (): EpisodeFrames => ({ frames: Uint8Array.from({ length: 4 * 84 * 56 * 3 }, () => random.below(256)), frameCount: 4, width: 56, height: 84, secondsPerGrid: 2 }));
  const drama = { dramaId: "7300000000000000001", episodes, frames: { strideSeconds: 1, clock: "continuous" as const } };

  it.each<ScoreMode>(["greedy", "logprob", "ensemble", "direct"])("give a valid assessment in mode %s, the same twice, and leave no tensor", async (mode) => {
    const { tf } = await loadTensorFlow();
    const before = tf.memory().numTensors;
    const first = await assessFrames(drama, { ...options, mode });
    expect(assessment.parse(first)).toEqual(first);
    expect(await assessFrames(drama, { ...options, mode })).toEqual(first);
    expect(tf.memory().numTensors).toBe(before);
    if (first.status === "ok") expect(first.score! >= 1 && first.score! <= 5).toBe(true);
    else expect([first.score, first.decision.action]).toEqual([null, "human-review"]);
    expect(first.frames).toMatchObject({ episodes: 2, frames: 8, tokens: 24 });
  });

  it.each<[Partial<AssessOptions>, string]>([
    [{ mode: "Ensemble" as ScoreMode }, "BAD_OPTION"],
    [{ format: "xml" as AnswerFormat }, "BAD_OPTION"],
    [{ samples: 0 }, "BAD_OPTION"],
    [{ seed: 0.5 }, "BAD_OPTION"],
    [{ maxNewTokens: NaN }, "BAD_OPTION"],
    [{ timeBase: "Pinned" as "pinned" }, "BAD_OPTION"],
    [{ calibration: { calibrationId: "x", catalogue: "x", halfWidth: NaN, scores: [] } }, "BAD_OPTION"],
    [{ policy: { ...DEFAULT_POLICY, procureFrom: NaN } }, "BAD_POLICY"],
  ])("are not looked at with %j", async (wrong, code) => {
    await expect(assessFrames({ ...drama, episodes: [] }, { ...options, ...wrong })).rejects.toThrow(withCode(code));
    await expect(assessDramas([], { ...options, modes: [wrong.mode ?? "direct"], ...wrong }).next()).rejects.toThrow(withCode(code));
  });

  it("stop when cancelled", async () => {
    await expect(assessFrames(drama, { ...options, signal: AbortSignal.abort() })).rejects.toThrow();
  });
});

it("shows code that runs in the README", () => {
  const code = /```ts\n([\s\S]*?)```/u.exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))![1]!;
  const output = execFileSync(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", code], { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" });
  expect(output.trim()).toBe("4 strength procure");
});
