import {
  authorsFigures, compareSystems, evaluate, heldOutCalibration, PARTIAL_WARNING, readFranchises, readPredictions, readSlices, readTruth,
  type ComparisonTable, type EvaluationReport, type SliceValues,
} from "@dramascope/evaluation";
import { sha256File, writeFileAtomically } from "@dramascope/schema";
import type { Command } from "commander";
import { defineCommand, parseCount, usageError, type CliIo, type SetExitCode } from "../context.ts";
import { evaluationPage, type EvaluationResult } from "../evaluation-report.ts";

interface Options {
  truth: string;
  predictions: string;
  compat?: string;
  compare: string[];
  slices?: string;
  minSlice: string;
  stratify?: boolean;
  coerce?: boolean;
  failUnder: string[];
  out?: string;
  report?: string;
}

const TRIO = ["accuracy", "mse", "pcc"] as const;
/** Figures of which more is better, so that a least value makes sense. */
const LIMITED = ["coverage", "accuracy", "pcc", "srcc", "kendall", "qwk", "linearKappa", "macroF1", "macroF1Present", "balancedAccuracy", "within1"] as const;
type LimitedMetric = (typeof LIMITED)[number];

const show = (value: number | null): string => (value === null ? "undefined" : value.toFixed(4));
const chance = (p: number | null): string => (p !== null && p < 0.0001 ? "< 0.0001" : show(p));
const range = (low: number | null, high: number | null): string => (low === null || high === null ? "" : `  [${show(low)}, ${show(high)}]`);
const collect = (value: string, before: string[]): string[] => [...before, value];

/** A limit such as `pcc=0.3`. */
interface Limit {
  metric: LimitedMetric;
  least: number;
}

function parseLimit(text: string): Limit {
  const [, name = "", number = ""] = /^([A-Za-z0-9]+)=(-?\d+(?:\.\d+)?)$/u.exec(text) ?? [];
  if (number === "") throw usageError(`--fail-under wants a metric and a number, got ${JSON.stringify(text)}`, "For example --fail-under pcc=0.3.");
  const metric = LIMITED.find((one) => one === name);
  if (metric === undefined) throw usageError(`--fail-under ${name}: this is no metric of which more is better`, `Use ${LIMITED.join(", ")}.`);
  return { metric, least: Number(number) };
}

const valueOf = ({ metrics, coverage }: EvaluationReport, metric: LimitedMetric): number | null => (metric === "coverage" ? coverage.coverage : metrics[metric]);

function headLines({ coverage, metrics, intervals, baselines, undefined: why }: EvaluationReport): string[] {
  const counts = { accuracy: coverage.n, mse: coverage.answered, pcc: coverage.answered };
  const { always3, recalibrated } = baselines;
  return [
    `coverage      ${show(coverage.coverage)}  (${coverage.answered} of ${coverage.n})`,
    ...TRIO.map((name) => `${name.padEnd(13)} ${metrics[name] === null ? `undefined (${why[name] ?? "?"})` : show(metrics[name])}${range(intervals[name].low, intervals[name].high)}  n = ${counts[name]}`),
    `always 3      accuracy ${show(always3.accuracy)}, mse ${show(always3.mse)}, n = ${baselines.n}`,
    `recalibrated  mse ${show(recalibrated!.mse)}, n = ${recalibrated!.n}`,
    ...(coverage.answered < coverage.n ? [`unanswered    mse ${show(coverage.mseImputed3)} counted as 3, ${show(coverage.mseWorst)} counted as the farthest class, n = ${coverage.n}`] : []),
  ];
}

function comparisonLines({ rows, baseline }: ComparisonTable): string[] {
  return rows.flatMap(({ name, against }) => {
    if (!against) return [];
    const line = (metric: (typeof TRIO)[number]): string => {
      const { difference, low, high, n, p, pHolm, verdict } = against[metric];
      return `  ${metric.padEnd(9)} ${show(difference)}${range(low, high)}  p ${chance(p)}, Holm ${chance(pHolm)}, n = ${n}  ${verdict?.replace("-", " ") ?? "undefined"}`;
    };
    return [`${name} − ${baseline}`, ...TRIO.map(line)];
  });
}

const sliceLines = ({ slices, worstSlices }: EvaluationReport): string[] => [
  ...worstSlices.map(({ dimension, metric, value, figure, n }) => `worst ${dimension} in ${metric}: ${value}, ${show(figure)}, n = ${n}`),
  ...(slices.some(({ metrics }) => metrics === null) ? [`${slices.filter(({ metrics }) => metrics === null).length} of ${slices.length} slices are too small to show`] : []),
];

/** Compares the predictions with other files of the same items. */
async function compareFiles(truth: ReadonlyMap<string, number>, files: readonly string[], options: { seed: number; stratify: boolean; coerce: boolean }): Promise<ComparisonTable> {
  if (new Set(files).size < files.length) throw usageError("the same file was given twice to be compared", "Give each file of predictions once.");
  const runs = new Map<string, Awaited<ReturnType<typeof readPredictions>>>();
  for (const file of files) runs.set(file, await readPredictions(file, { coerce: options.coerce }));
  return compareSystems(truth, runs, { ...options, baseline: files[0]! });
}

const quoted = (word: string): string => (/^[\w./=:-]+$/u.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** The command that gives this result again. */
function commandOf(options: Options, seed: number): string {
  const flags: [name: string, value: string | boolean | undefined][] = [
    ["truth", options.truth],
    ["predictions", options.predictions],
    ["compat", options.compat],
    ...options.compare.map((file): [string, string] => ["compare", file]),
    ["slices", options.slices],
    ["min-slice", options.slices === undefined ? undefined : options.minSlice],
    ["stratify", options.stratify],
    ["coerce", options.coerce],
    ["seed", String(seed)],
  ];
  return ["dramascope evaluate", ...flags.flatMap(([name, value]) => (typeof value === "string" ? [`--${name} ${quoted(value)}`] : value ? [`--${name}`] : []))].join(" ");
}

async function inputsOf(files: readonly string[]): Promise<{ path: string; sha256: string }[]> {
  return Promise.all(files.map(async (path) => ({ path, sha256: await sha256File(path) })));
}

/** `dramascope evaluate` */
export function addEvaluate(program: Command, io: CliIo, setExitCode: SetExitCode): void {
  defineCommand<Options>(program, io, setExitCode, {
    name: "evaluate",
    summary: "accuracy, MSE, PCC and what they hide",
    example: "dramascope evaluate --truth labels.jsonl --predictions assessments.jsonl --slices dramas.jsonl --report evaluation.html",
    configure: (command) =>
      command
        .requiredOption("--truth <file>", "true classes: JSON object of ids, or JSONL with dramaId and quality")
        .requiredOption("--predictions <file>", "predictions: JSON object of ids, or JSONL of assessments")
        .option("--compat <mode>", "authors: also the three figures of the released script")
        .option("--compare <file>", "another system's predictions, compared with --predictions; may be repeated", collect, [])
        .option("--slices <file>", "metadata to slice by: JSONL with dramaId and fields such as genre")
        .option("--min-slice <n>", "least number of dramas of a slice whose figures are shown", "30")
        .option("--stratify", "resample within each true class: for sets balanced by design")
        .option("--coerce", 'take strings of one digit, such as "4", for numbers')
        .option("--fail-under <metric=value>", "exit 1 when the metric is below; may be repeated", collect, [])
        .option("--out <file>", "the whole result as JSON, with every prediction")
        .option("--report <file>", "the result as a page"),
    run: async ({ seed = 0 }, options) => {
      if (options.compat !== undefined && options.compat !== "authors") throw usageError(`--compat ${options.compat} is unknown`, "Use --compat authors.");
      const { stratify = false, coerce = false } = options;
      const limits = options.failUnder.map(parseLimit);
      const minSlice = parseCount("--min-slice", options.minSlice);
      const told: string[] = [];
      const onWarning = (sentence: string): void => void told.push(sentence);
      const truth = await readTruth(options.truth, { onWarning });
      const predictions = await readPredictions(options.predictions, { coerce });
      const slices: SliceValues | undefined = options.slices === undefined ? undefined : await readSlices(options.slices, { onWarning });
      const report = evaluate(truth, predictions, { seed, stratify, minSlice, ...(slices && { slices }) });
      const franchises = options.slices === undefined ? undefined : await readFranchises(options.slices);
      const result: EvaluationResult = {
        command: commandOf(options, seed),
        inputs: await inputsOf([options.truth, options.predictions, ...options.compare, ...(options.slices === undefined ? [] : [options.slices])]),
        ...report,
        warnings: [...told, ...report.warnings],
        calibration: heldOutCalibration(truth, predictions, { seed, ...(franchises && { groups: franchises }) }),
        ...(options.compare.length > 0 && { comparison: await compareFiles(truth, [options.predictions, ...options.compare], { seed, stratify, coerce }) }),
      };
      for (const { name, answered } of result.comparison?.rows.slice(1) ?? []) if (answered === 0) result.warnings.push(`no answer of ${name} matches an id of the truth`);
      if (options.compat === "authors") {
        result.compat = authorsFigures(truth, predictions).compat;
        if (report.coverage.answered < report.coverage.n) result.warnings = [...result.warnings, PARTIAL_WARNING];
      }
      const items = [...truth].map(([dramaId, quality]) => ({ dramaId, quality, prediction: predictions.get(dramaId) ?? null }));
      if (options.out !== undefined) await writeFileAtomically(options.out, `${JSON.stringify({ ...result, items }, null, 2)}\n`);
      if (options.report !== undefined) await writeFileAtomically(options.report, evaluationPage(result, items));
      const { compat, comparison } = result;
      const under = limits.map((limit) => ({ ...limit, value: valueOf(report, limit.metric) })).filter(({ value, least }) => value === null || value < least);
      const lines = [
        ...headLines(report),
        ...(compat ? [`authors    accuracy ${compat.accuracy}, mse ${compat.mse}, pcc ${compat.pcc} (n = ${compat.n})`] : []),
        ...(comparison ? comparisonLines(comparison) : []),
        ...sliceLines(report),
        ...result.warnings.map((text) => `warning: ${text}`),
        ...under.map(({ metric, least, value }) => `failed: ${metric} ${show(value)} is under ${least}`),
      ];
      return { json: { ...result, failedUnder: under.map(({ metric }) => metric) }, text: `${lines.join("\n")}\n`, exitCode: under.length > 0 ? 1 : 0 };
    },
  });
}
