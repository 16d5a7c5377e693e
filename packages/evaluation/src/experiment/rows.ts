import { EvaluationError } from "../errors.ts";
import type { CompletePlan } from "./plan.ts";

/** One user's sums under one variant. Users with several rows of one variant are a fault of the data; sum them first. */
export interface ExperimentRow {
  /** At most 512 characters. */
  userId: string;
  /** Name of a variant of the plan. */
  variant: string;
  /** Columns that the plan names: finite numbers; null or absent only in a pre-period column. Others are passed over. */
  [column: string]: unknown;
}

/** One drama's sums over all users of one variant. Rows of one drama and variant add up. */
export interface ItemRow {
  /** At most 512 characters. */
  dramaId: string;
  /** Name of a variant of the plan. */
  variant: string;
  /** Metric columns as in {@link ExperimentRow}, and the plan's slice columns: text, number or null. */
  [column: string]: unknown;
}

/** Column of metric values: `optional` ones may lack a value. */
export interface ValueColumn {
  name: string;
  isOptional: boolean;
}

/** The columns a plan reads from rows, each once. A column is optional only when nothing but a pre-period uses it. */
export function valueColumns({ metrics }: Pick<CompletePlan, "metrics">): ValueColumn[] {
  const required = new Set(metrics.flatMap((metric) => (metric.kind === "ratio" ? [metric.numerator, metric.denominator] : [metric.numerator])));
  const optional = new Set(metrics.flatMap(({ prePeriod }) => (prePeriod === undefined || required.has(prePeriod) ? [] : [prePeriod])));
  return [...[...required].map((name) => ({ name, isOptional: false })), ...[...optional].map((name) => ({ name, isOptional: true }))];
}

/** Longest accepted user id, in UTF-16 units. */
export const MAX_ID_LENGTH = 512;

/** A value of unknown kind in a message, at most 80 characters. */
export function shown(value: unknown): string {
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  return ((JSON.stringify(value) as string | undefined) ?? "missing").slice(0, 80);
}

/** Why an id or variant cannot be used; undefined when it can. */
function keyProblem(name: "userId" | "dramaId", row: Readonly<Record<string, unknown>>, variants: ReadonlyMap<unknown, number>): string | undefined {
  const id = row[name];
  if (typeof id !== "string" || id === "") return `${name} is ${shown(id)}; give it as text`;
  if (id.length > MAX_ID_LENGTH) return `${name} has ${id.length} characters; at most ${MAX_ID_LENGTH} are accepted`;
  return variants.has(row["variant"]) ? undefined : `variant is ${shown(row["variant"])}; the plan has ${[...variants.keys()].join(", ")}`;
}

/** Why a value cannot be used; undefined when it can. */
export function valueProblem({ name, isOptional }: ValueColumn, value: unknown): string | undefined {
  if (typeof value === "number" && Number.isFinite(value)) return undefined;
  if (isOptional && (value === null || value === undefined)) return undefined;
  return `${name} is ${shown(value)}; give a finite number`;
}

/** Why a row cannot be used, in words; undefined when it can. */
export function rowProblem(row: Readonly<Record<string, unknown>>, variants: ReadonlyMap<unknown, number>, columns: readonly ValueColumn[], id: "userId" | "dramaId" = "userId"): string | undefined {
  const key = keyProblem(id, row, variants);
  if (key !== undefined) return key;
  for (const column of columns) {
    const problem = valueProblem(column, row[column.name]);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The error of a row that the program gave. */
export function rowError(problem: string, index: number): EvaluationError {
  return new EvaluationError(`row ${index}: ${problem}`, { code: "ROW_INVALID", hint: "Mend or leave out the row; readExperimentRows reports bad lines of files one by one." });
}
