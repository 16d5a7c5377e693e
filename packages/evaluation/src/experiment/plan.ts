import { describeIssues } from "@dramascope/schema";
import { z } from "zod";
import { EvaluationError } from "../errors.ts";

const RESERVED = new Set(["userId", "dramaId", "variant", "__proto__"]);
const MAX_VARIANTS = 100;
const column = z.string().min(1).refine((name) => !RESERVED.has(name), "this column cannot hold a metric");

const metricFields = {
  name: z.string().min(1),
  numerator: column,
  prePeriod: column.optional(),
  role: z.enum(["primary", "secondary", "guardrail"]),
  direction: z.enum(["increase", "decrease"]).default("increase"),
  limit: z.number().positive().max(1).optional(),
};

const metric = z
  .discriminatedUnion("kind", [z.strictObject({ kind: z.literal("mean"), ...metricFields }), z.strictObject({ kind: z.literal("ratio"), denominator: column, ...metricFields })])
  .check(({ value, issues }) => {
    const issue = (field: string, message: string): void => void issues.push({ code: "custom", path: [field], message, input: value });
    if (value.role === "guardrail" && value.limit === undefined) issue("limit", "a guardrail needs the relative worsening that is still accepted, for example 0.01");
    if (value.role !== "guardrail" && value.limit !== undefined) issue("limit", "only guardrails have a limit");
    const own = value.kind === "ratio" ? [value.numerator, value.denominator] : [value.numerator];
    if (value.prePeriod !== undefined && own.includes(value.prePeriod)) issue("prePeriod", "the pre-period is measured before assignment, so it cannot be the metric's own column");
  });

/**
 * An experiment as it was planned, before anyone saw its data.
 *
 * - `variants`: name and planned share (any positive numbers) of each arm; `control` names the one that the others are compared with.
 * - `metrics`: `kind` `mean` (`numerator` a user) or `ratio` (Σ `numerator` / Σ `denominator`, users as the unit), both names of columns;
 *   `prePeriod` names a column of behaviour before assignment (CUPED); `direction` says which way is good (default `increase`); `role` is
 *   `primary` (decides), `secondary` (reported) or `guardrail` (must not get worse by `limit`, relative).
 * - `minimumEffect`: the smallest relative change of a primary metric worth finding, for example .005.
 * - `alpha`: default .05. `sequential.nStar`: intervals that hold at every look, narrowest at that many users of both arms; default fixed.
 * - `mode`: `ab`, or `aa` when both arms get the same treatment and no effect is expected. Default `ab`.
 * - `slices`: columns of the item rows, for example quality and genre. Default none.
 */
export const experimentPlan = z
  .strictObject({
    variants: z.array(z.strictObject({ name: z.string().min(1), share: z.number().positive() })).min(2).max(MAX_VARIANTS),
    control: z.string(),
    metrics: z.array(metric).min(1),
    minimumEffect: z.number().positive(),
    alpha: z.number().gt(0).lt(0.5).default(0.05),
    sequential: z.strictObject({ nStar: z.number().positive() }).optional(),
    mode: z.enum(["ab", "aa"]).default("ab"),
    slices: z.array(column).default([]),
  })
  .check(({ value, issues }) => {
    const issue = (path: (string | number)[], message: string): void => void issues.push({ code: "custom", path, message, input: value });
    const repeated = (names: readonly string[]): string | undefined => names.find((name, i) => names.indexOf(name) < i);
    for (const field of ["variants", "metrics"] as const) {
      const twice = repeated(value[field].map(({ name }) => name));
      if (twice !== undefined) issue([field], `the name ${JSON.stringify(twice)} stands twice`);
    }
    if (!value.variants.some(({ name }) => name === value.control)) issue(["control"], `${JSON.stringify(value.control)} is none of the variants`);
    if (!value.metrics.some((one) => one.role === "primary")) issue(["metrics"], "one metric must have the role primary");
  });

/** An experiment's plan as it is written. See {@link experimentPlan}. */
export type ExperimentPlan = z.input<typeof experimentPlan>;
/** A plan with its defaults filled in. */
export type CompletePlan = z.output<typeof experimentPlan>;
/** One metric of a plan. */
export type PlannedMetric = CompletePlan["metrics"][number];

/**
 * Checks a plan and fills in its defaults.
 *
 * @throws EvaluationError `CONFIG_INVALID` naming each wrong field.
 */
export function parseExperimentPlan(plan: unknown, what = "experiment plan"): CompletePlan {
  const result = experimentPlan.safeParse(plan);
  if (result.success) return result.data;
  throw new EvaluationError(`${what}: ${describeIssues(result.error)}`, { code: "CONFIG_INVALID", hint: "Correct the named fields; a plan has variants, control, metrics and minimumEffect." });
}
