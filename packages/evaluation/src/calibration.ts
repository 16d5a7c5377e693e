import { describeIssues, hashJson } from "@dramascope/schema";
import { z } from "zod";
import { fitAffine } from "./affine.ts";
import type { CalibrationData } from "./calibration-data.ts";
import { EvaluationError } from "./errors.ts";
import { applyIsotonic, fitIsotonic } from "./isotonic.ts";

const finite = z.number();
const rises = (values: readonly number[], isStrict: boolean): boolean => values.every((value, i) => i === 0 || (isStrict ? value > values[i - 1]! : value >= values[i - 1]!));

const isotonicModel = z
  .strictObject({ kind: z.literal("isotonic"), knots: z.array(finite).min(1), values: z.array(finite).min(1) })
  .refine(({ knots, values }) => knots.length === values.length && rises(knots, true) && rises(values, false), "knots must ascend, and values must not fall and be as many");

/** Schema of {@link Calibration}. */
export const calibration = z.union([
  isotonicModel,
  z.strictObject({ kind: z.literal("affine"), intercept: finite, slope: finite.positive() }),
  z.strictObject({ kind: z.literal("table"), entries: z.array(z.tuple([finite, finite])).min(1).max(5) }),
  z.strictObject({ kind: z.literal("none") }),
]);
/** What turns a score into a target: a non-decreasing curve, a rising line, a table of at most five scores, or nothing. */
export type Calibration = z.infer<typeof calibration>;

/** Schema of {@link CalibrationFile}. */
export const calibrationFile = z.strictObject({
  /** Hash of data ids, options, code version and model. */
  calibrationId: z.string().regex(/^[0-9a-f]{16}$/u),
  model: calibration,
  /** What it was fitted on and how. */
  fit: z.strictObject({ n: z.int().min(1), dataHash: z.string(), options: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])), codeVersion: z.string() }),
});
/** A calibration as it is kept in a file. */
export type CalibrationFile = z.infer<typeof calibrationFile>;

/** Changes whenever the same data would be fitted to another curve. */
const CODE_VERSION = "calibration-1";
const MAX_TABLE = 5;

/** Fits a curve of a kind. */
export function fitCalibration(kind: "isotonic" | "affine", data: CalibrationData): Calibration {
  return kind === "isotonic" ? fitIsotonic(data) : fitAffine(data);
}

/**
 * The target of a score.
 *
 * @throws EvaluationError `SCORE_NOT_IN_TABLE` for a score that a table does not hold.
 */
export function applyCalibration(model: Calibration, x: number): number {
  switch (model.kind) {
    case "isotonic":
      return applyIsotonic(model, x);
    case "affine":
      return model.intercept + model.slope * x;
    case "none":
      return x;
    case "table": {
      const entry = model.entries.find(([score]) => score === x);
      if (entry) return entry[1];
      throw new EvaluationError(`the score ${x} is not in the calibration table of ${model.entries.map(([score]) => score).join(", ")}`, { code: "SCORE_NOT_IN_TABLE", hint: "Use the curve itself for other scores." });
    }
  }
}

/**
 * A calibration as a table of its scores, for a ranker that looks values up.
 *
 * @param scores The scores that will be looked up; at most five different ones, such as the classes.
 * @throws EvaluationError `TOO_MANY_SCORES`.
 */
export function calibrationTable(model: Calibration, scores: Iterable<number>): Calibration {
  const distinct = [...new Set(scores)].sort((a, b) => a - b);
  if (distinct.length === 0 || distinct.length > MAX_TABLE) {
    throw new EvaluationError(`a table of ${distinct.length} different scores was asked for`, { code: "TOO_MANY_SCORES", hint: `A table holds 1 to ${MAX_TABLE} scores; keep the curve instead.` });
  }
  return { kind: "table", entries: distinct.map((score) => [score, applyCalibration(model, score)]) };
}

/** What a calibration comes from. */
export interface CalibrationSource {
  /** Ids of the items it was fitted on; their order changes nothing. */
  dataIds: readonly string[];
  /** Options of the fit. */
  options: Readonly<Record<string, string | number | boolean>>;
  /** Default: that of this package. */
  codeVersion?: string;
}

/** A calibration with its `calibrationId`: 16 hex digits of a hash of data ids, options, code version and the fitted numbers. */
export function nameCalibration(model: Calibration, { dataIds, options, codeVersion = CODE_VERSION }: CalibrationSource): CalibrationFile {
  const fit = { n: dataIds.length, dataHash: hashJson([...dataIds].sort()), options: { ...options }, codeVersion };
  return { calibrationId: idOf({ model, fit }), model, fit };
}

const idOf = (content: Omit<CalibrationFile, "calibrationId">): string => hashJson(content).slice(0, 16);

const MAX_SHOWN = 160;
const shortened = (text: string): string => (text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text);

/**
 * Checks a calibration from outside.
 *
 * @param where Names the file for the error.
 * @throws EvaluationError `CALIBRATION_INVALID`, also when the content is not the one that `calibrationId` names.
 */
export function parseCalibration(value: unknown, where: string): CalibrationFile {
  const parsed = calibrationFile.safeParse(value);
  if (!parsed.success) throw new EvaluationError(`${where} is no calibration: ${shortened(describeIssues(parsed.error))}`, { code: "CALIBRATION_INVALID", hint: "Give a file that calibrate fit wrote." });
  const { calibrationId, ...content } = parsed.data;
  if (idOf(content) !== calibrationId) throw new EvaluationError(`${where} was changed: its content is not that of ${calibrationId}`, { code: "CALIBRATION_INVALID", hint: "Fit the calibration again." });
  return parsed.data;
}
