import { describeIssues } from "@dramascope/schema";
import { z } from "zod";
import type { AssessOptions, ScoreMode } from "./assess.ts";
import { assessmentCalibration } from "./calibration.ts";
import { checkPolicy } from "./decision.ts";
import { AssessorError } from "./errors.ts";

const MODES = ["greedy", "logprob", "ensemble", "direct"] as const satisfies readonly ScoreMode[];

const ranges = z.object({
  modes: z.array(z.enum(MODES)),
  format: z.enum(["tags", "json"]).optional(),
  samples: z.int().min(1).max(65_536).optional(),
  seed: z.int().min(0).optional(),
  maxNewTokens: z.int().min(1).optional(),
  timeBase: z.enum(["pinned", "true-fps"]).optional(),
  calibration: assessmentCalibration.optional(),
});

/**
 * Refuses options that cannot be meant, before anything is computed.
 *
 * @throws AssessorError `NO_MODE`, `BAD_OPTION`, `BAD_POLICY`.
 */
export function checkOptions(modes: readonly ScoreMode[], options: Omit<AssessOptions, "mode">): void {
  if (modes.length === 0) throw new AssessorError("no mode was given", { code: "NO_MODE", hint: `Give at least one of ${MODES.join(", ")}.` });
  const checked = ranges.safeParse({ ...options, modes });
  if (!checked.success) throw new AssessorError(`wrong options: ${describeIssues(checked.error)}`, { code: "BAD_OPTION", hint: "See the documentation of AssessOptions." });
  if (options.policy !== undefined) checkPolicy(options.policy);
}
