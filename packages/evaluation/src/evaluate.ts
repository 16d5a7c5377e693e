import { computeCoverage, type Coverage } from "./coverage.ts";
import { EvaluationError } from "./errors.ts";
import { classOf, computeMetrics, undefinedMetrics, type Metrics } from "./metrics.ts";
import { bootstrapCi, trioMetric, type BootstrapOptions, type Intervals } from "./resampling.ts";

/** What answering without looking would score. */
export interface Baselines {
  /** Every answer 3. */
  always3: { accuracy: number; mse: number };
  /** Every answer the commonest class. */
  majority: { label: number; accuracy: number; mse: number };
  /** Uniformly random answers, exact expectation. */
  random: { accuracy: number; mse: number };
}

/** Results of {@link evaluate}. */
export interface EvaluationReport {
  coverage: Coverage;
  /** On answered items; its accuracy counts missing answers as wrong. */
  metrics: Metrics;
  /** Why a metric is null, by name. */
  undefined: Record<string, string>;
  baselines: Baselines;
  /** MSE after the best straight-line recalibration of these predictions; null when undefined. */
  recalibratedMse: number | null;
  intervals: Intervals;
  /** The three figures of the authors' script, when asked for. */
  compat?: { n: number; accuracy: string; mse: string; pcc: string };
  warnings: string[];
}

/** Options of {@link evaluate}. */
export interface EvaluateOptions extends BootstrapOptions {
  /** `authors`: also the figures of the released script: items in both files, integers only, four decimals. */
  compat?: "authors";
}

const expectation = (gold: readonly number[], error: (truth: number) => number): number => gold.reduce((sum, truth) => sum + error(truth), 0) / gold.length;

/** Scores of three ways to answer without looking. */
export function baselines(gold: ArrayLike<number>): Baselines {
  const list = Array.from(gold);
  const counts = [1, 2, 3, 4, 5].map((label) => list.filter((truth) => truth === label).length);
  const majority = counts.indexOf(Math.max(...counts)) + 1;
  const constant = (label: number): { accuracy: number; mse: number } => ({ accuracy: expectation(list, (truth) => (truth === label ? 1 : 0)), mse: expectation(list, (truth) => (truth - label) ** 2) });
  return {
    always3: constant(3),
    majority: { label: majority, ...constant(majority) },
    random: { accuracy: 0.2, mse: expectation(list, (truth) => [1, 2, 3, 4, 5].reduce((sum, label) => sum + (truth - label) ** 2, 0) / 5) },
  };
}

function authorsFigures(truth: ReadonlyMap<string, number>, predictions: ReadonlyMap<string, number | null>): NonNullable<EvaluationReport["compat"]> {
  const shared = [...truth].flatMap(([id, gold]): [number, number][] => {
    const prediction = predictions.get(id);
    return prediction === undefined || prediction === null ? [] : [[gold, prediction]];
  });
  if (shared.length === 0) throw new EvaluationError("no id stands in both files", { code: "NO_OVERLAP", hint: "Check that both files use the same ids." });
  const odd = shared.find(([, prediction]) => !Number.isInteger(prediction));
  if (odd) throw new EvaluationError(`the prediction ${odd[1]} is not an integer, which the authors' script refuses`, { code: "NON_INTEGER", hint: "Leave out --compat authors for real-valued predictions." });
  const gold = shared.map(([one]) => one);
  const answers = shared.map(([, one]) => one);
  const show = (value: number | null): string => (value === null ? "nan" : value.toFixed(4));
  const accuracy = answers.filter((answer, i) => answer === gold[i]).length / gold.length;
  return { n: gold.length, accuracy: show(accuracy), mse: show(trioMetric("mse", gold, answers)), pcc: show(trioMetric("pcc", gold, answers)) };
}

/**
 * Compares predictions with true classes by id. A missing or null prediction is wrong for accuracy; its cost in squared error stands in `coverage`.
 *
 * @throws EvaluationError `NO_TRUTH` without items, and under `compat` `NO_OVERLAP` or `NON_INTEGER`.
 */
export function evaluate(truth: ReadonlyMap<string, number>, predictions: ReadonlyMap<string, number | null>, options: EvaluateOptions = {}): EvaluationReport {
  if (truth.size === 0) throw new EvaluationError("there is no true class", { code: "NO_TRUTH", hint: "Give a truth file with at least one item." });
  const warnings: string[] = [];
  const strange = [...predictions.keys()].filter((id) => !truth.has(id)).length;
  if (strange > 0) warnings.push(`${strange} predictions have ids without a true class and are ignored`);
  const gold = [...truth.values()];
  const given = [...truth.keys()].map((id) => predictions.get(id) ?? null);
  const coverage = computeCoverage(gold, given);
  const answeredGold = gold.filter((_, i) => given[i] !== null);
  const answered = given.filter((value): value is number => value !== null);
  const metrics = computeMetrics(answeredGold, answered);
  const classes = answered.map(classOf);
  const commonest = Math.max(...[1, 2, 3, 4, 5].map((label) => classes.filter((value) => value === label).length)) / Math.max(1, classes.length);
  if (commonest > 0.8) warnings.push(`low-entropy: ${Math.round(100 * commonest)} % of the answers are one class`);
  const { pcc, sdGold } = metrics;
  const report: EvaluationReport = {
    coverage,
    metrics: { ...metrics, accuracy: coverage.accuracy },
    undefined: undefinedMetrics(answeredGold, answered, metrics),
    baselines: baselines(gold),
    recalibratedMse: pcc === null || sdGold === null ? null : sdGold ** 2 * (1 - pcc ** 2),
    intervals: bootstrapCi(answeredGold, answered, options),
    warnings,
  };
  if (options.compat === "authors") {
    report.compat = authorsFigures(truth, predictions);
    if (coverage.answered < coverage.n) warnings.push("the authors' script leaves unanswered items out: dropping hard ones improves all three of its figures");
  }
  return report;
}
