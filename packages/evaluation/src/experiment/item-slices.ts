import { EvaluationError } from "../errors.ts";
import { studentQuantile, studentTail } from "./distributions.ts";
import type { CompletePlan, PlannedMetric } from "./plan.ts";
import { rowError, rowProblem, shown, valueColumns, type ItemRow } from "./rows.ts";

/** Dramas below which an interval over dramas is flagged. */
const FEW_DRAMAS = 30;

/** Relative lift of one metric on one group of dramas, with dramas as the unit. */
export interface ItemSlice {
  /** Column of the item rows, for example quality. */
  column: string;
  /** Value of that column; null where the drama has none. */
  value: string | number | null;
  /** Variant that is compared with the control. */
  treatment: string;
  /** Name in the plan. */
  metric: string;
  /** Dramas in the group: the clusters of the variance. */
  dramas: number;
  /** Relative lift; null when undefined. */
  estimate: number | null;
  /** Cluster-robust standard error; null when undefined. */
  se: number | null;
  /** Lower end of the interval at the plan's alpha; null when undefined. */
  low: number | null;
  /** Upper end. */
  high: number | null;
  /** Two-sided; null when undefined. */
  p: number | null;
  /** Why a figure is null. */
  undefined?: "zero-denominator" | "zero-baseline" | "few-dramas" | "no-variance";
  /** `few-dramas`: fewer than 30, so that the interval is rough. */
  warning?: "few-dramas";
}

interface Drama {
  /** Values of the slice columns, in the plan's order. */
  slices: (string | number | null)[];
  /** Sums by variant, then column. */
  sums: Float64Array[];
}

const sliceValue = (value: unknown): string | number | null | undefined => (value === undefined || value === null ? null : typeof value === "string" || (typeof value === "number" && Number.isFinite(value)) ? value : undefined);

async function sumByDrama(items: AsyncIterable<ItemRow>, plan: CompletePlan, variants: ReadonlyMap<string, number>): Promise<Map<string, Drama>> {
  const columns = valueColumns({ metrics: plan.metrics.map(({ prePeriod: _, ...metric }) => metric) });
  const dramas = new Map<string, Drama>();
  const unseen = new Set(plan.slices);
  let index = 0;
  for await (const row of items) {
    const problem = rowProblem(row, variants, columns, "dramaId");
    if (problem !== undefined) throw rowError(problem, index);
    const slices = plan.slices.map((column) => sliceValue(row[column]));
    const odd = slices.indexOf(undefined);
    if (odd >= 0) throw rowError(`${plan.slices[odd]!} is ${shown(row[plan.slices[odd]!])}; give text, a number or null`, index);
    for (const column of unseen) if (row[column] !== undefined) unseen.delete(column);
    let drama = dramas.get(row.dramaId);
    if (!drama) {
      drama = { slices: slices as Drama["slices"], sums: plan.variants.map(() => new Float64Array(columns.length)) };
      dramas.set(row.dramaId, drama);
    }
    const differs = drama.slices.findIndex((value, i) => value !== slices[i]);
    if (differs >= 0) throw rowError(`${plan.slices[differs]!} of drama ${row.dramaId} is ${shown(slices[differs])} here and ${shown(drama.slices[differs])} before`, index);
    const sums = drama.sums[variants.get(row.variant)!]!;
    columns.forEach(({ name }, c) => (sums[c]! += row[name] as number));
    index++;
  }
  if (index > 0 && unseen.size > 0) throw new EvaluationError(`no item row has ${[...unseen].join(", ")}`, { code: "SLICES_MISSING", hint: "Give the columns that the plan's slices name; write null where a drama has no value." });
  return dramas;
}

/** Numerators and denominators of one metric, one pair a drama and arm; a mean metric counts each drama once. */
type Pairs = readonly { numerator: number; denominator: number }[];

/**
 * Relative lift R_B/R_A − 1 over dramas, with the variance clustered by drama: G/(G−1) Σ ψ², ψ = e_B/(D_B R_A) − (R_B/R_A²) e_A/D_A,
 * e = numerator − R·denominator. A drama's rows in both arms stay together, so that what is good about a drama cancels. G − 1 degrees
 * of freedom (Liang and Zeger 1986; Cameron and Miller 2015).
 */
function clusteredLift(a: Pairs, b: Pairs, alpha: number): Pick<ItemSlice, "dramas" | "estimate" | "se" | "low" | "high" | "p" | "undefined" | "warning"> {
  const dramas = a.length;
  const total = (pairs: Pairs, of: "numerator" | "denominator"): number => pairs.reduce((sum, pair) => sum + pair[of], 0);
  const [da, db] = [total(a, "denominator"), total(b, "denominator")];
  const none = { dramas, estimate: null, se: null, low: null, high: null, p: null };
  if (da === 0 || db === 0) return { ...none, undefined: "zero-denominator" };
  const [ra, rb] = [total(a, "numerator") / da, total(b, "numerator") / db];
  if (ra === 0) return { ...none, undefined: "zero-baseline" };
  const estimate = rb / ra - 1;
  if (dramas < 2) return { ...none, estimate: Number.isFinite(estimate) ? estimate : null, undefined: "few-dramas" };
  const squares = a.reduce((sum, one, i) => {
    const other = b[i]!;
    return sum + (((other.numerator - rb * other.denominator) / db - ((rb / ra) * (one.numerator - ra * one.denominator)) / da) / ra) ** 2;
  }, 0);
  const se = Math.sqrt((squares * dramas) / (dramas - 1));
  if (!Number.isFinite(estimate) || !Number.isFinite(se)) return { ...none, undefined: "zero-baseline" };
  if (se === 0) return { ...none, estimate, se, undefined: "no-variance" };
  const half = studentQuantile(1 - alpha / 2, dramas - 1) * se;
  return { dramas, estimate, se, low: estimate - half, high: estimate + half, p: 2 * studentTail(Math.abs(estimate / se), dramas - 1), ...(dramas < FEW_DRAMAS ? { warning: "few-dramas" as const } : {}) };
}

/**
 * Lifts by groups of dramas, such as predicted class or genre. Exploratory: no correction for the number of groups.
 *
 * @throws EvaluationError `ROW_INVALID`, and `SLICES_MISSING` when the plan names no slice columns or no row has one of them.
 */
export async function itemSlices(items: AsyncIterable<ItemRow>, plan: CompletePlan): Promise<ItemSlice[]> {
  if (plan.slices.length === 0) throw new EvaluationError("item rows were given, but the plan names no columns to slice them by", { code: "SLICES_MISSING", hint: "Add slices to the plan, for example slices: [quality, genre]." });
  const variants = new Map(plan.variants.map(({ name }, i) => [name, i]));
  const dramas = [...(await sumByDrama(items, plan, variants)).values()];
  const names = valueColumns({ metrics: plan.metrics.map(({ prePeriod: _, ...metric }) => metric) }).map(({ name }) => name);
  const control = variants.get(plan.control)!;
  const pairs = (members: readonly Drama[], arm: number, metric: PlannedMetric): Pairs =>
    members.map(({ sums }) => ({ numerator: sums[arm]![names.indexOf(metric.numerator)]!, denominator: metric.kind === "ratio" ? sums[arm]![names.indexOf(metric.denominator)]! : 1 }));
  return plan.slices.flatMap((column, at) => {
    const values = [...new Set(dramas.map(({ slices }) => slices[at]!))].sort((x, y) => (typeof x === "number" && typeof y === "number" ? x - y : String(x) < String(y) ? -1 : 1));
    return values.flatMap((value) => {
      const members = dramas.filter(({ slices }) => slices[at] === value);
      return plan.variants.flatMap(({ name: treatment }, arm) =>
        arm === control ? [] : plan.metrics.map((metric) => ({ column, value, treatment, metric: metric.name, ...clusteredLift(pairs(members, control, metric), pairs(members, arm, metric), plan.alpha) })),
      );
    });
  });
}
