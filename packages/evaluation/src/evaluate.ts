import { authorsFigures, PARTIAL_WARNING, type AuthorsMetrics, type AuthorsPrintout } from "./authors.ts";
import { baselines, type Baselines } from "./baselines.ts";
import { itemIntervals, type BootstrapOptions, type Intervals } from "./bootstrap.ts";
import type { Coverage } from "./coverage.ts";
import { orderItems, predictionsOf, scoresOrNaN, type PredictionMap } from "./items.ts";
import type { Metrics } from "./metrics.ts";
import { figureItems } from "./paper-figures.ts";
import { probabilitiesOf, type CoerceOptions, type Prediction } from "./predictions.ts";
import { probabilityScores, type ProbabilityScores } from "./probability-scores.ts";
import { scoreItems, scoreSlices, worstSlices, type Slice, type SliceValues, type WorstSlice } from "./slices.ts";

/** Results of {@link evaluate}. */
export interface EvaluationReport {
  /** How much was answered, and what missing answers cost. */
  coverage: Coverage;
  /** On answered items; its accuracy counts missing answers as wrong. */
  metrics: Metrics;
  /** Why a value is null: metrics by their name, other values by their path, such as `coverage.mseAnswered`. */
  undefined: Record<string, string>;
  /** What answering without looking would score, and what a straight line could make of these predictions. */
  baselines: Baselines;
  /** Bootstrap intervals; that of accuracy is over all items, the others over answered ones. */
  intervals: Intervals;
  /** The same by metadata; empty when none was given. */
  slices: Slice[];
  /** The slices that fare worst. */
  worstSlices: WorstSlice[];
  /** Scores of the class probabilities, over the predictions that carry them; absent when none does. */
  probabilities?: ProbabilityScores;
  /** One sentence each, beginning with a name where there is one, such as `low-entropy`. */
  warnings: string[];
}

/** Results of {@link evaluate} under `compat: "authors"`. */
export interface AuthorsReport extends Omit<EvaluationReport, "metrics"> {
  /** The three figures of the released script. */
  metrics: AuthorsMetrics;
  /** The same as the script prints them. */
  compat: AuthorsPrintout;
}

/** Options of {@link evaluate}. */
export interface EvaluateOptions extends BootstrapOptions, CoerceOptions {
  /** Metadata to slice by: dimension → id → value. Default none. */
  slices?: SliceValues;
  /** Least number of items of a slice whose figures are shown. Default 30. */
  minSlice?: number;
}

/** Options of {@link evaluate} that reproduce the authors' script. */
export interface AuthorsOptions extends EvaluateOptions {
  /** Metrics as the released script computes them: ids in both maps only, integers only, three figures. */
  compat: "authors";
}

/** Says why nothing is answered: the commonest reason is two files with different kinds of ids. */
function warnUnanswered(answered: number, known: number): string[] {
  if (answered > 0) return [];
  return [known === 0 ? "no-answers: no answer matches an id of the truth; check that both use the same ids" : `no-answers: all ${known} predictions of ids with a true class are null`];
}

const LOW_ENTROPY_SHARE = 0.8;

function warnLowEntropy({ perClass, n }: Metrics): string[] {
  const commonest = perClass.reduce((a, b) => (b.predicted > a.predicted ? b : a));
  return commonest.predicted > LOW_ENTROPY_SHARE * n ? [`low-entropy: ${Math.round((100 * commonest.predicted) / n)} % of ${n} answers are class ${commonest.label}`] : [];
}

/** Scores of the predictions that carry probabilities, if any does. */
function scoreProbabilities(given: readonly (Prediction | null)[], gold: readonly number[]): ProbabilityScores | undefined {
  const carried = given.flatMap((prediction, i) => {
    const p = probabilitiesOf(prediction);
    return p ? [{ p, label: gold[i]! }] : [];
  });
  return carried.length === 0 ? undefined : probabilityScores(carried.map(({ p }) => p), carried.map(({ label }) => label));
}

/**
 * Compares predictions with true classes by id. A missing or null prediction is wrong for accuracy; its cost in squared error stands in `coverage`.
 * The order of the maps changes nothing. The result holds no NaN and no infinity; every null has its reason in `undefined`.
 *
 * @param truth       True classes, integers 1 … 5, by id.
 * @param predictions Answers by id; ids without a true class are ignored with a warning.
 * @throws EvaluationError `NO_TRUTH`, `GOLD_INVALID`, `PREDICTION_INVALID`, and under `compat` `NO_OVERLAP` or `NON_INTEGER`.
 */
export function evaluate(truth: ReadonlyMap<string, number>, predictions: PredictionMap, options: AuthorsOptions): AuthorsReport;
export function evaluate(truth: ReadonlyMap<string, number>, predictions: PredictionMap, options?: EvaluateOptions): EvaluationReport;
export function evaluate(truth: ReadonlyMap<string, number>, predictions: PredictionMap, options: EvaluateOptions & Partial<AuthorsOptions> = {}): EvaluationReport | AuthorsReport {
  const { slices: sliceValues, minSlice = 30, coerce = false, compat, ...resampling } = options;
  const items = orderItems(truth);
  const { ids, gold } = items;
  const given = predictionsOf(items, predictions, { coerce });
  const scores = scoresOrNaN(given);
  const scored = scoreItems(gold, scores, resampling);
  const isAnswered = (_: unknown, i: number): boolean => given[i] !== null;
  const answered: Answered = { gold: gold.filter(isAnswered), predictions: scores.filter(isAnswered) };
  const strange = [...predictions.keys()].filter((id) => !truth.has(id)).length;
  const probabilities = scoreProbabilities(given, gold);
  const slices = sliceValues ? scoreSlices(ids, gold, scores, sliceValues, { ...resampling, minSlice }) : [];
  const report: EvaluationReport = {
    ...scored,
    baselines: baselines(gold, answered),
    slices,
    worstSlices: worstSlices(slices),
    ...(probabilities && { probabilities }),
    warnings: [...warnUnanswered(answered.gold.length, predictions.size - strange), ...(strange > 0 ? [`${strange} predictions have ids without a true class and are ignored`] : []), ...warnLowEntropy(scored.metrics)],
  };
  probabilities?.reliability.forEach(({ n }, i) => {
    if (n === 0) for (const name of ["confidence", "accuracy"]) report.undefined[`probabilities.reliability.${i}.${name}`] = "empty-bin";
  });
  if (report.baselines.recalibrated!.mse === null) report.undefined["baselines.recalibrated.mse"] = scored.undefined["pcc"]!;
  return compat === undefined ? report : asAuthors(report, authorsFigures(truth, new Map(ids.map((id, i) => [id, given[i]!]))), answered, resampling);
}

/** The items that the script looks at. */
interface Answered {
  gold: number[];
  predictions: Float64Array;
}

/** The report with the script's three figures in place of the metrics, and intervals over the items that it looks at. */
function asAuthors(report: EvaluationReport, figures: Pick<AuthorsReport, "metrics" | "compat">, { gold, predictions }: Answered, resampling: BootstrapOptions): AuthorsReport {
  const { pcc } = report.undefined;
  const kept = Object.entries(report.undefined).filter(([name]) => name.includes(".") && !name.startsWith("perClass."));
  return {
    ...report,
    ...figures,
    undefined: Object.fromEntries(pcc === undefined ? kept : [["pcc", pcc], ...kept]),
    intervals: itemIntervals(gold, figureItems(gold, predictions), resampling),
    warnings: report.coverage.answered < report.coverage.n ? [...report.warnings, PARTIAL_WARNING] : report.warnings,
  };
}
