import { applyThreeRules, loadSetting, parseCurationConfig, replayDrama, type DramaRecord, type RuleInput, type RuleVerdict, type StepRow } from "@dramascope/curation";
import type { Quality } from "@dramascope/schema";
import { describe, expect, it } from "vitest";
import { golden } from "./golden.ts";
import { CAPTION, recordWith, rowOf, saysClass, saysValid, type Ending } from "./step-answers.ts";

interface RuleCase extends Omit<RuleInput, "truth"> {
  name: string;
  gt: Quality;
  durationSeconds: number;
  expect: RuleVerdict;
}

const { cases } = golden<{ cases: RuleCase[] }>("rules.json");

describe("the three rules", () => {
  it.each(cases)("$name", ({ name: _name, gt, expect: expected, ...input }) => {
    expect(applyThreeRules({ ...input, truth: gt })).toEqual(expected);
  });
});

describe("a round of a curation", () => {
  const recordOf = (quality: Quality, durationSeconds: number): DramaRecord => {
    const record = recordWith({ quality, comments: [] });
    return { ...record, drama: { ...record.drama, episodes: record.drama.episodes.map((episode) => ({ ...episode, durationSeconds: durationSeconds / 5 })) } };
  };

  it.each(cases)("goes by the same rules: $name", async ({ gt, predicted, think, durationSeconds, verdict, expect: expected }) => {
    const setting = await loadSetting(parseCurationConfig({ teacher: { baseURL: "http://127.0.0.1:9/v1", model: "m" }, rounds: { max: 1, perClassMax: {} } }));
    const record = recordOf(gt, durationSeconds);
    const rows: StepRow[] = [];
    const answer = (ending: Ending): void => void rows.push(rowOf(replayDrama(setting, record, rows).missing[0]!, ending));
    answer(CAPTION);
    answer(saysClass(predicted, think));
    const { outcome, missing } = replayDrama(setting, record, rows);
    expect(missing.map(({ kind }) => kind)).toEqual(expected.askTeacher ? ["filter"] : []);
    if (!expected.askTeacher) {
      expect(outcome.rounds).toMatchObject([{ verdict: "mismatch", preflags: expected.flags }]);
      return;
    }
    if (verdict === undefined) return;
    answer(saysValid(verdict.valid));
    expect(replayDrama(setting, record, rows).outcome.rounds).toMatchObject([{ verdict: expected.accepted ? "valid" : "rejected", preflags: expected.flags }]);
  });
});
