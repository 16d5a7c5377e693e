import { parseExperimentPlan, type ExperimentPlan } from "./plan.ts";
import { rowProblem, valueColumns, valueProblem, type ExperimentRow, type ItemRow } from "./rows.ts";
import type { ArmSummary } from "./summary.ts";
import { readTable, reject, type ReadRowsOptions } from "./table-files.ts";

async function* readRows(path: string, id: "userId" | "dramaId", plan: ExperimentPlan, options: ReadRowsOptions): AsyncGenerator<Record<string, unknown>> {
  const complete = parseExperimentPlan(plan);
  const variants = new Map(complete.variants.map(({ name }, i) => [name, i]));
  const columns = valueColumns(id === "userId" ? complete : { metrics: complete.metrics.map(({ prePeriod: _, ...metric }) => metric) });
  const texts = [id, "variant", ...(id === "dramaId" ? complete.slices : [])];
  for await (const item of readTable(path, { texts, numbers: columns.map(({ name }) => name) })) {
    const problem = "problem" in item ? item.problem : rowProblem(item.fields, variants, columns, id);
    if (problem !== undefined) reject(path, item.line, problem, options);
    else if ("fields" in item) yield item.fields;
  }
}

/**
 * Rows of users from CSV or JSONL, `.gz` accepted, for {@link analyseExperiment}: `userId`, `variant` and the columns that the plan names.
 * User ids are text: in JSONL a number is refused, because large ones have lost digits already.
 *
 * @throws EvaluationError `CONFIG_INVALID` for the plan, `FILE_FORMAT`, `CSV_HEADER`, `NO_ROWS`, and `BAD_LINE` unless `onRejected` takes bad lines; DataError `FILE_UNREADABLE`.
 */
export async function* readExperimentRows(path: string, plan: ExperimentPlan, options: ReadRowsOptions = {}): AsyncGenerator<ExperimentRow> {
  yield* readRows(path, "userId", plan, options) as AsyncGenerator<ExperimentRow>;
}

/** Rows of dramas, `dramaId`, `variant`, metric columns and the plan's slices; otherwise as {@link readExperimentRows}. */
export async function* readItemRows(path: string, plan: ExperimentPlan, options: ReadRowsOptions = {}): AsyncGenerator<ItemRow> {
  yield* readRows(path, "dramaId", plan, options) as AsyncGenerator<ItemRow>;
}

/** Summaries from CSV or JSONL with `variant`, `metric`, `mean`, `variance` and `n`; the first bad line is an error. */
export async function readArmSummaries(path: string): Promise<ArmSummary[]> {
  const numbers = ["mean", "variance", "n"] as const;
  const summaries: ArmSummary[] = [];
  for await (const item of readTable(path, { texts: ["variant", "metric"], numbers })) {
    if ("problem" in item) {
      reject(path, item.line, item.problem, {});
      continue;
    }
    const { variant, metric } = item.fields;
    const values = numbers.map((name) => item.fields[name]);
    const problem =
      typeof variant !== "string" || typeof metric !== "string" ? "variant and metric must be text" : numbers.map((name, i) => valueProblem({ name, isOptional: false }, values[i])).find((one) => one !== undefined);
    if (problem !== undefined) reject(path, item.line, problem, {});
    const [mean, variance, n] = values as [number, number, number];
    summaries.push({ variant: variant as string, metric: metric as string, mean, variance, n });
  }
  return summaries;
}
