import { scoreOf, type AuthorsPrintout, type BaselineScore, type ComparisonTable, type EvaluationReport, type HeldOutCalibration, type Prediction, type ProbabilityScores, type Slice } from "@dramascope/evaluation";
import {
  barChart, bulletList, callout, codeBlock, columns, confusionMatrix, formatNumber, formatPercent, heading, intervalPlot, keyFigures, lineChart, paragraph, renderReport, table,
  type Block, type Cell, type Section,
} from "@dramascope/report";
import { comparisonBlocks } from "./comparison-blocks.ts";
import { intervalText, rightColumns } from "./figure-columns.ts";

/** What `dramascope evaluate` finds. */
export interface EvaluationResult extends EvaluationReport {
  /** The command that gives it again. */
  command: string;
  /** Files with their hashes. */
  inputs: { path: string; sha256: string }[];
  /** What calibration would do, on held-out folds. */
  calibration: HeldOutCalibration;
  /** Other systems against this one. */
  comparison?: ComparisonTable;
  /** Figures of the authors' script. */
  compat?: AuthorsPrintout;
}

/** One drama with its true class and its answer. */
export interface EvaluatedItem {
  dramaId: string;
  quality: number;
  prediction: Prediction | null;
}

const LABELS = ["1", "2", "3", "4", "5"];
const TRIO = [["accuracy", "Accuracy"], ["mse", "MSE"], ["pcc", "PCC"]] as const;
const NO_VALUE = "(no value)";

function summary(result: EvaluationResult): Section {
  const { metrics, intervals, coverage, baselines, compat } = result;
  const key = (name: (typeof TRIO)[number][0], label: string): Parameters<typeof keyFigures>[0][number] => {
    const { low, high } = intervals[name];
    const note = metrics[name] === null ? { note: result.undefined[name] ?? "undefined" } : {};
    return { label, value: formatNumber(metrics[name], 3), interval: low === null || high === null ? null : [low, high], n: name === "accuracy" ? coverage.n : coverage.answered, ...note };
  };
  const row = (name: string, { accuracy, mse }: BaselineScore): Cell[] => [name, accuracy, baselines.n, mse, baselines.n];
  const rows: Cell[][] = [
    ["these predictions", metrics.accuracy, coverage.n, metrics.mse, coverage.answered],
    row("always 3", baselines.always3),
    row(`always ${baselines.majority.label} (commonest)`, baselines.majority),
    row("random", baselines.random),
    row("true classes shuffled", baselines.labelShuffle),
    ["these predictions after the best straight line", "", "", baselines.recalibrated!.mse, baselines.recalibrated!.n],
  ];
  const missing: Cell[][] = [["answered only", coverage.mseAnswered, coverage.answered], ["counted as 3", coverage.mseImputed3, coverage.n], ["counted as the farthest class", coverage.mseWorst, coverage.n]];
  return {
    title: "The three figures",
    blocks: [
      keyFigures([{ label: "Coverage", value: formatPercent(coverage.coverage, 1), n: coverage.n, note: `${coverage.answered} answered` }, ...TRIO.map(([name, label]) => key(name, label))]),
      ...result.warnings.map((text) => callout({ kind: "warning", text })),
      table({ columns: ["", ...rightColumns("Accuracy", "n", "MSE", "n")], rows, highlight: [0], caption: "What answering without looking would score. A missing answer is wrong for accuracy." }),
      ...(coverage.answered < coverage.n ? [table({ columns: ["Missing answers", ...rightColumns("MSE", "n")], rows: missing })] : []),
      ...(compat ? [table({ columns: ["The authors' script", ...rightColumns("Accuracy", "MSE", "PCC", "n")], rows: [["ids in both files", compat.accuracy, compat.mse, compat.pcc, compat.n]] })] : []),
    ],
  };
}

function answers({ metrics, baselines }: EvaluationResult): Section {
  const { perClass, n } = metrics;
  const share = (count: number): number | null => (n === 0 ? null : count / n);
  const bars = perClass.map(({ label, predicted, support }) => ({ label: `class ${label}`, value: [share(predicted), share(support)] }));
  return {
    title: "Where the answers go",
    blocks: [
      confusionMatrix({ labels: LABELS, counts: metrics.confusion, rowTitle: "true class", columnTitle: "predicted class", caption: `n = ${formatNumber(n)} answered of ${formatNumber(baselines.n)}` }),
      barChart({ title: "Answers against the truth", caption: `Shares of the classes, n = ${formatNumber(n)}`, series: ["predicted", "true"], bars, format: (value) => formatPercent(value, 1) }),
    ],
  };
}

const METRIC_NAMES = [
  ["mae", "mean absolute error"], ["rmse", "root mean squared error"], ["within1", "within one class"], ["bias", "bias (prediction − truth)"], ["sdPred", "standard deviation of predictions"], ["sdGold", "standard deviation of true classes"],
  ["srcc", "Spearman"], ["kendall", "Kendall τ-b"], ["qwk", "quadratic weighted kappa"], ["linearKappa", "linearly weighted kappa"], ["macroF1", "macro F1, all five classes"], ["macroF1Present", "macro F1, classes that occur"], ["balancedAccuracy", "balanced accuracy"],
] as const;

function allMetrics({ metrics, undefined: why }: EvaluationResult): Section {
  const classes = metrics.perClass.map(({ label, support, predicted, precision, recall, f1 }): Cell[] => [String(label), support, predicted, precision, recall, f1]);
  return {
    title: "All metrics",
    blocks: [
      table({ columns: ["Metric", ...rightColumns("Value", "n"), "Remark"], rows: METRIC_NAMES.map(([name, words]): Cell[] => [words, metrics[name], metrics.n, why[name] ?? ""]), caption: "On answered items" }),
      table({ columns: ["Class", ...rightColumns("true", "predicted", "precision", "recall", "F1")], rows: classes }),
    ],
  };
}

function sliceBlocks(dimension: string, slices: readonly Slice[], result: EvaluationResult): Block[] {
  const own = slices.filter((slice) => slice.dimension === dimension);
  const shown = own.filter(({ metrics }) => metrics !== null);
  const hidden = own.filter(({ metrics }) => metrics === null);
  const rows = shown.map(({ value, n, answered, metrics, intervals }): Cell[] => [value ?? NO_VALUE, metrics!.accuracy, metrics!.mse, metrics!.pcc, intervalText(intervals!.pcc.low, intervals!.pcc.high), metrics!.bias, intervalText(intervals!.bias.low, intervals!.bias.high), answered, n]);
  const worst = result.worstSlices.filter((one) => one.dimension === dimension).map(({ metric, value, figure, n }) => `worst in ${metric}: ${value}, ${formatNumber(figure, 3)}, n = ${formatNumber(n)}`);
  const plot = shown.map(({ value, n, metrics, intervals }) => ({ label: value ?? NO_VALUE, value: metrics!.accuracy, low: intervals!.accuracy.low, high: intervals!.accuracy.high, n }));
  return [
    heading(dimension),
    ...(shown.length > 0
      ? [intervalPlot({ rows: plot, xLabel: "accuracy, 95 % interval" }), table({ columns: [dimension, ...rightColumns("Accuracy", "MSE", "PCC", "95 %", "Bias", "95 %", "answered", "n")], rows }), bulletList(worst)]
      : []),
    ...(hidden.length > 0 ? [paragraph(`Too small to show: ${hidden.length} with n = ${formatNumber(hidden.reduce((sum, { n }) => sum + n, 0))} together (${hidden.slice(0, 12).map(({ value, n }) => `${value ?? NO_VALUE} ${n}`).join(", ")}${hidden.length > 12 ? " …" : ""}).`)] : []),
  ];
}

function sliceSections(result: EvaluationResult): Section[] {
  const { slices } = result;
  if (slices.length === 0) return [];
  const lead = "Hot value is popularity: exposure, date and promotion are in it, and may differ between these groups.";
  return [{ title: "Slices", lead, blocks: [...new Set(slices.map(({ dimension }) => dimension))].flatMap((dimension) => sliceBlocks(dimension, slices, result)) }];
}

function comparisonSections({ comparison }: EvaluationResult): Section[] {
  if (!comparison) return [];
  const lead = `Against ${comparison.baseline}, on the same dramas. A difference whose interval holds 0 is not distinguishable, whatever its order.`;
  return [{ title: "Comparison", lead, blocks: comparisonBlocks(comparison, "Predictions") }];
}

function probabilitySections(scores: ProbabilityScores | undefined): Section[] {
  if (!scores) return [];
  const { n, brier, rps, ece10, reliability, riskCoverage } = scores;
  const filled = reliability.filter((bin) => bin.n > 0);
  const measured = { name: "measured", points: filled.map(({ confidence, accuracy }): [number, number] => [confidence!, accuracy!]) };
  return [
    {
      title: "Probabilities",
      blocks: [
        keyFigures([{ label: "Brier score", value: formatNumber(brier, 3), n }, { label: "Ranked probability score", value: formatNumber(rps, 3), n }, { label: "Calibration error", value: formatNumber(ece10, 3), n, note: "ten bins" }]),
        columns([
          lineChart({ title: "Reliability", caption: `How often the likeliest class is right, by its probability, n = ${formatNumber(n)}`, size: "half", series: [measured, { name: "perfect", points: [[0, 0], [1, 1]] }], xLabel: "probability of the likeliest class", yLabel: "share right", yRange: [0, 1] }),
          lineChart({ title: "Risk and coverage", caption: `Error when only the surest are judged, n = ${formatNumber(n)}`, size: "half", series: [{ name: "share wrong", points: riskCoverage.map(({ coverage, risk }): [number, number] => [coverage, risk]) }], xLabel: "share judged", yLabel: "share wrong", yRange: [0, 1] }),
        ]),
        table({ columns: rightColumns("above", "to", "mean probability", "share right", "n"), rows: filled.map((bin): Cell[] => [bin.low, bin.high, bin.confidence, bin.accuracy, bin.n]) }),
      ],
    },
  ];
}

function calibrationSection({ calibration }: EvaluationResult): Section {
  const { n, folds, before, isotonic, affine, conformal, undefined: why } = calibration;
  const fits = [["before", before], ["isotonic", isotonic], ["straight line", affine]] as const;
  const reason = (name: string): string => why[name === "straight line" ? "affine" : name] ?? "";
  const series = fits.flatMap(([name, fit]) => (fit ? [{ name, points: fit.curve.map(({ score, gold }): [number, number] => [score, gold]) }] : []));
  const promised = conformal ? formatPercent(1 - conformal.alpha, 0) : "";
  return {
    title: "Calibration",
    lead: `On ${folds} held-out folds: no figure is of items that its curve was fitted on.`,
    blocks: [
      table({ columns: ["Scores", ...rightColumns("MSE", "Bias", "PCC", "n"), "Remark"], rows: fits.map(([name, fit]): Cell[] => [name, fit?.mse ?? null, fit?.bias ?? null, fit?.pcc ?? null, n, reason(name)]) }),
      lineChart({ title: "Mean true class by mean score", caption: `n = ${n}, grouped by the class that a score rounds to`, series: [...series, { name: "perfect", points: [[1, 1], [5, 5]] }], xLabel: "score", yLabel: "true class", yRange: [1, 5] }),
      ...(conformal && conformal.width !== null
        ? [keyFigures([{ label: "Conformal interval", value: formatNumber(conformal.width, 2), unit: "classes wide", n }, { label: "Truths inside", value: formatPercent(conformal.coverage, 1), n, note: `promised ${promised}` }, { label: "Classes in the set", value: formatNumber(conformal.setSize, 2), n }])]
        : [paragraph(`No conformal interval: ${why["conformal"] ?? conformal?.reason ?? "undefined"} (n = ${n}).`)]),
    ],
  };
}

const SHOWN_ERRORS = 12;

function errorSection(items: readonly EvaluatedItem[]): Section {
  const scored = items.flatMap(({ dramaId, quality, prediction }) => (prediction === null ? [] : [{ dramaId, quality, score: scoreOf(prediction) }]));
  const worst = scored.sort((a, b) => Math.abs(b.score - b.quality) - Math.abs(a.score - a.quality) || (a.dramaId < b.dramaId ? -1 : 1)).slice(0, SHOWN_ERRORS);
  return { title: "Largest errors", blocks: [table({ columns: ["Drama", ...rightColumns("true", "prediction")], rows: worst.map(({ dramaId, quality, score }): Cell[] => [dramaId, quality, score]), caption: `${worst.length} of n = ${scored.length}` })] };
}

/** An evaluation as a page. */
export function evaluationPage(result: EvaluationResult, items: readonly EvaluatedItem[]): string {
  const { coverage, command, inputs } = result;
  const origin: Section = { title: "How to get this again", blocks: [codeBlock(command), table({ columns: ["File", "SHA-256"], rows: inputs.map(({ path, sha256 }) => [path, sha256]) })] };
  return renderReport({
    title: "Evaluation",
    subtitle: `${formatNumber(coverage.answered)} of ${formatNumber(coverage.n)} dramas answered`,
    sections: [summary(result), answers(result), allMetrics(result), ...sliceSections(result), ...comparisonSections(result), ...probabilitySections(result.probabilities), calibrationSection(result), errorSection(items), origin],
  });
}
