import { hashJson } from "@dramascope/schema";
import { conformalInterval, conformalQuantile } from "@dramascope/evaluation";
import { z } from "zod";
import { AssessorError } from "./errors.ts";

/** What turns a bare score into an interval and a percentile: residuals and scores of a held-out catalogue with known classes. */
export const assessmentCalibration = z.object({
  calibrationId: z.string().min(1),
  /** Names the catalogue, for people. */
  catalogue: z.string().min(1),
  /** Half width of the 95 % conformal interval, in score units; null when the catalogue is too small. */
  halfWidth: z.number().min(0).nullable(),
  /** Expected scores of the catalogue, ascending. */
  scores: z.array(z.number().min(1).max(5)),
});
/** Interval and percentile data of a reference catalogue. */
export type AssessmentCalibration = z.infer<typeof assessmentCalibration>;

/**
 * Makes a calibration from held-out dramas.
 *
 * @param input `scores` are the model's expected scores, `gold` the true classes of the same dramas, in one order; all 1 … 5.
 * @throws AssessorError `BAD_CALIBRATION` when the lists differ in length or hold another number.
 */
export function calibrateAssessments(input: { catalogue: string; scores: readonly number[]; gold: readonly number[] }): AssessmentCalibration {
  const { catalogue, scores, gold } = input;
  const stray = [...scores, ...gold].find((value) => !(value >= 1 && value <= 5));
  if (scores.length !== gold.length || stray !== undefined) {
    const why = stray === undefined ? `${scores.length} scores stand against ${gold.length} classes` : `it holds ${stray}`;
    throw new AssessorError(`the catalogue ${JSON.stringify(catalogue)} cannot calibrate: ${why}`, { code: "BAD_CALIBRATION", hint: "Give one score and one class for each drama, all from 1 to 5." });
  }
  const residuals = scores.map((score, i) => Math.abs(score - gold[i]!));
  const body = { catalogue, halfWidth: conformalQuantile(residuals, 0.05), scores: [...scores].sort((a, b) => a - b) };
  return { calibrationId: hashJson(body).slice(0, 16), ...body };
}

/** Interval and percentile of one score. */
export function placeScore(score: number, calibration: AssessmentCalibration): { interval: [number, number] | null; percentile: number | null } {
  const { halfWidth, scores } = calibration;
  const below = scores.filter((other) => other < score).length;
  const equal = scores.filter((other) => other === score).length;
  return {
    interval: halfWidth === null ? null : conformalInterval(score, halfWidth),
    percentile: scores.length === 0 ? null : (100 * (below + equal / 2)) / scores.length,
  };
}
