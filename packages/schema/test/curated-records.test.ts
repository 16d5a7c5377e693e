import { curatedSample, trainingSample, type CuratedSample, type Provenance } from "@dramascope/schema";
import { describe, expect, it } from "vitest";

const provenance: Provenance = {
  runId: "r1",
  generation: 1,
  stepKeys: ["a"],
  templates: ["cot@1.0.0#f"],
  modelRequested: "teacher",
  modelReturned: ["teacher-1"],
  sampling: { round: 1, temperature: 0.7, topP: 0.95 },
  framePlan: { media: "frames" },
  split: { mode: "split-first", seed: "s", groupId: "d1" },
  classCalibration: null,
  codeVersion: "0.1.0",
};
const sample: CuratedSample = {
  sampleId: "sft-d1",
  dramaId: "d1",
  split: "sft",
  quality: 4,
  episodes: [{ index: 1 }],
  caption: "A girl marries an heir.",
  comments: [],
  think: "Strengths: pace.",
  decision: "kept",
  rounds: [{ round: 1, verdict: "valid", predicted: 4, code: null, reason: null, votes: [true], preflags: [], think: "Strengths: pace." }],
  unresolved: 0,
  flags: ["no-comments"],
  provenance,
};

describe("records of curation", () => {
  it("take a whole sample as it is, unknown fields too", () => {
    const given = { ...sample, later: 1 };
    expect(curatedSample.parse(given)).toEqual(given);
  });

  it.each([
    ["a class of 6", { ...sample, quality: 6 }, "quality"],
    ["an unknown verdict", { ...sample, rounds: [{ ...sample.rounds[0], verdict: "fine" }] }, "rounds.0.verdict"],
    ["no generation", { ...sample, provenance: { ...provenance, generation: undefined } }, "provenance.generation"],
    ["sampling without a round", { ...sample, provenance: { ...provenance, sampling: { temperature: 1, topP: 1 } } }, "provenance.sampling.round"],
  ])("refuse %s", (_, given, path) => {
    expect(curatedSample.safeParse(given).error?.issues[0]?.path.join(".")).toBe(path);
  });

  it.each([
    ["without provenance and flags", {}],
    ["with them", { provenance, flags: ["no-caption"] }],
  ])("let a training record be read %s", (_, more) => {
    const grpo = { kind: "grpo", sampleId: "grpo-d1", messages: [{ role: "user", content: "?" }], videos: [], quality: 3, caption: "", comments: [], ...more };
    expect(trainingSample.parse(grpo)).toEqual(grpo);
  });
});
