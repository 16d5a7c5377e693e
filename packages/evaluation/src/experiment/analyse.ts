import type { OnProgress } from "@dramascope/schema";
import { EvaluationError } from "../errors.ts";
import { estimatesOf, metricMoments, type MetricEstimates } from "./estimates.ts";
import { itemSlices } from "./item-slices.ts";
import { parseExperimentPlan, type CompletePlan, type ExperimentPlan } from "./plan.ts";
import { reportOf, type ExperimentReport } from "./report.ts";
import { MAX_ID_LENGTH, rowError, rowProblem, valueColumns, type ExperimentRow, type ItemRow } from "./rows.ts";
import { checkSummary, type ArmSummary, type Summary } from "./summary.ts";
import { createUserPartitions } from "./user-partitions.ts";

/** Rows between looks at the signal and progress reports. */
const STRIDE = 1 << 16;

/** Options of {@link analyseExperiment}. */
export interface AnalyseExperimentOptions {
  /** Rows by drama and variant for lifts by the plan's slices; read before the rows of users. Default none. */
  items?: AsyncIterable<ItemRow>;
  /** Folder for rows beyond 32 MiB. Default the system's folder for temporary files. */
  temporaryFolder?: string;
  /** Stops the analysis. */
  signal?: AbortSignal;
  /** Told of the rows taken in so far. */
  onProgress?: OnProgress;
}

/** Takes the rows in; the promise resolves to each metric's moments and the users by arm. */
async function collect(rows: AsyncIterable<ExperimentRow>, plan: CompletePlan, { temporaryFolder, signal, onProgress }: AnalyseExperimentOptions) {
  const variants = new Map(plan.variants.map(({ name }, i) => [name, i]));
  const columns = valueColumns(plan);
  const names = columns.map(({ name }) => name);
  const values = new Float64Array(columns.length);
  const takeValues = (row: ExperimentRow): boolean => {
    for (let c = 0; c < names.length; c++) {
      const value = row[names[c]!];
      if (typeof value === "number" && Number.isFinite(value)) values[c] = value;
      else if (columns[c]!.isOptional && (value === null || value === undefined)) values[c] = Number.NaN;
      else return false;
    }
    return true;
  };
  const metrics = plan.metrics.map((metric) => metricMoments(metric, plan, columns));
  const faults = { crossovers: 0, repeated: 0 };
  const users = plan.variants.map(() => 0);
  const partitions = createUserPartitions({ variants: variants.size, columns: columns.length, temporaryFolder });
  try {
    let done = 0;
    for await (const row of rows) {
      const { userId } = row;
      const variant = variants.get(row.variant);
      if (variant === undefined || typeof userId !== "string" || userId === "" || userId.length > MAX_ID_LENGTH || !takeValues(row)) throw rowError(rowProblem(row, variants, columns) ?? "it is not a row", done);
      const writing = partitions.add(userId, variant, values);
      if (writing) await writing;
      done++;
      if (done % STRIDE === 0) {
        signal?.throwIfAborted();
        onProgress?.({ phase: "rows", done });
      }
    }
    signal?.throwIfAborted();
    onProgress?.({ phase: "rows", done, total: done });
    for await (const block of partitions.blocks(faults)) {
      signal?.throwIfAborted();
      block.forEach((own, arm) => {
        users[arm]! += own[0]!.length;
        for (const metric of metrics) metric.add(arm, own);
      });
    }
  } finally {
    await partitions.close();
  }
  return { users, faults, metrics };
}

/**
 * Analyses an online experiment from one row a user and variant: sample ratio, lifts with users as the unit, CUPED, Holm's correction,
 * guardrails, power and a verdict with its reasons. Users in two variants are removed from both and counted, exactly.
 *
 * Memory: 32 MiB of rows, then a temporary file (about 30 bytes a row and 8 a column), then 1/256 of the rows at a time.
 * The order of rows changes nothing above 1e-12.
 *
 * @param plan What was decided before the experiment; see {@link experimentPlan}.
 * @throws EvaluationError `CONFIG_INVALID` for a plan, `ROW_INVALID` for a row, `SUMMARY_INVALID` for values too large or small to be squared, `SLICES_MISSING`, `TEMPORARY_FILE`; the signal's reason when it is aborted.
 */
export async function analyseExperiment(rows: AsyncIterable<ExperimentRow>, plan: ExperimentPlan, options: AnalyseExperimentOptions = {}): Promise<ExperimentReport> {
  const complete = parseExperimentPlan(plan);
  // The item rows come first: they are few, and what is wrong with them is found before all users are read.
  const slices = options.items ? await itemSlices(options.items, complete) : [];
  const { users, faults, metrics } = await collect(rows, complete, options);
  const report = reportOf(complete, { arms: users, ...faults }, () => metrics.map(estimatesOf));
  return report.verdict === "blocked" ? report : { ...report, slices };
}

/**
 * The same from summaries, one an arm and metric; without CUPED and without the search for users in two variants.
 *
 * @throws EvaluationError `CONFIG_INVALID`, and `SUMMARY_INVALID` for summaries that are missing, doubled, unknown to the plan or of unequal n.
 */
export function analyseSummaries(summaries: Iterable<ArmSummary>, plan: ExperimentPlan): ExperimentReport {
  const complete = parseExperimentPlan(plan);
  const arms = complete.metrics.map(() => complete.variants.map((): Summary | null => null));
  const refuse = (problem: string): never => {
    throw new EvaluationError(problem, { code: "SUMMARY_INVALID", hint: "Give one summary for each metric and variant of the plan, with the same n in all of a variant's." });
  };
  for (const { variant, metric, mean, variance, n } of summaries) {
    const [m, v] = [complete.metrics.findIndex(({ name }) => name === metric), complete.variants.findIndex(({ name }) => name === variant)];
    if (m < 0 || v < 0) refuse(`metric ${JSON.stringify(metric)} of variant ${JSON.stringify(variant)} is not in the plan`);
    if (arms[m]![v]) refuse(`metric ${metric} of variant ${variant} is given twice`);
    arms[m]![v] = checkSummary({ mean, variance, n }, `metric ${metric} of variant ${variant}`);
  }
  const users = complete.variants.map(({ name }, v) => {
    const sizes = arms.map((own, m) => own[v]?.n ?? refuse(`metric ${complete.metrics[m]!.name} of variant ${name} is missing`));
    return sizes.every((n) => n === sizes[0]) ? sizes[0]! : refuse(`variant ${name} has summaries of ${[...new Set(sizes)].join(" and ")} users`);
  });
  const report = reportOf(complete, { arms: users, crossovers: 0, repeated: 0 }, () => arms.map((plain): MetricEstimates => ({ plain, cuped: null })));
  report.warnings.push("from summaries: users in two variants cannot be seen, and no pre-period is taken out");
  return report;
}
