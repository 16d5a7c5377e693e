import type { PromptId } from "@dramascope/prompts";
import type { Provenance } from "@dramascope/schema";
import { codeVersion } from "../code-version.ts";
import type { RoundOutcome } from "../pipeline/outcome.ts";
import { templateName } from "../pipeline/setting.ts";
import type { ExportSetting, ReplayedDrama } from "./replayed-drama.ts";

/**
 * How a record came about. `sampling` is null.
 *
 * @param tasks   Prompts that had a part in it, the one that the record itself asks with first.
 * @param rounds  Sampling rounds that the record rests on.
 */
export function provenanceOf({ outcome, answers }: ReplayedDrama, setting: ExportSetting, tasks: readonly PromptId[], rounds: readonly RoundOutcome[]): Provenance {
  const { config, runId, generation, templates } = setting;
  const { groupId, drama } = outcome.record;
  const others = new Set(outcome.rounds.filter((one) => !rounds.includes(one)).flatMap(({ stepKeys }) => stepKeys));
  const stepKeys = outcome.stepKeys.filter((key) => !others.has(key));
  const used = new Set(stepKeys);
  const models = new Set(answers.flatMap(({ key, model }) => (used.has(key) && model !== null ? [model] : [])));
  return {
    runId,
    generation,
    stepKeys,
    templates: tasks.map((task) => templateName(templates[task])),
    modelRequested: config.teacher.model,
    modelReturned: [...models].sort(),
    sampling: null,
    framePlan: { media: config.teacher.media, position: config.mediaPosition, ...config.frames },
    split: { mode: config.split.mode, seed: config.split.seed, groupId },
    classCalibration: drama.classCalibration ?? null,
    codeVersion: codeVersion(),
  };
}
