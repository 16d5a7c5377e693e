import { holm } from "../significance.ts";
import type { MetricEstimates } from "./estimates.ts";
import { evidenceOf, halfWidth, minimumDetectableEffect, testGuardrail, type Evidence, type GuardrailTest } from "./evidence.ts";
import { lift, type Lift } from "./lift.ts";
import type { CompletePlan, PlannedMetric } from "./plan.ts";
import type { Summary } from "./summary.ts";

/** A primary metric after Holm's correction over all primaries and treatments. */
export interface HolmResult {
  /** Adjusted p. */
  p: number;
  /** Level of this metric's interval in Holm's sequence. */
  alpha: number;
  /** Lower end of the interval at that level. */
  low: number;
  /** Upper end. */
  high: number;
}

/** One metric of one treatment against the control. */
export interface MetricComparison {
  /** Name in the plan. */
  metric: string;
  /** What the metric is for. */
  role: PlannedMetric["role"];
  /** Mean a user, or a ratio of sums. */
  kind: PlannedMetric["kind"];
  /** Which way is good. */
  direction: PlannedMetric["direction"];
  /** Null when the arm has no value: the denominators add up to 0. */
  control: Summary | null;
  /** Null as `control`. */
  treatment: Summary | null;
  /** Relative lift as measured; null when an arm has no value. */
  relative: Lift | null;
  /** Difference in the metric's unit; null as `relative`. */
  absolute: Lift | null;
  /** After taking out the pre-period: slope, variance after / before, share of users with a pre-period, lifts; null without one. */
  cuped: { theta: number; varianceRatio: number | null; coverage: number; relative: Lift; absolute: Lift } | null;
  /** What decides: the relative lift, after CUPED where there is a pre-period; null when undefined. */
  evidence: Evidence | null;
  /** Why `evidence` is null. */
  undefined?: "zero-denominator" | "zero-baseline" | "no-variance";
  /** Of primary metrics, else null. */
  holm: HolmResult | null;
  /** Of guardrails with evidence, else null. */
  guardrail: GuardrailTest | null;
  /** Relative effect found in 80 of 100 experiments with these users; null without evidence. */
  minimumDetectableEffect: number | null;
}

/** Compares one metric of one treatment with the control, before Holm's correction. */
export function compareMetric(metric: PlannedMetric, { plain, cuped }: MetricEstimates, control: number, treatment: number, plan: CompletePlan): MetricComparison {
  const { name, role, kind, direction } = metric;
  const [a, b] = [plain[control] ?? null, plain[treatment] ?? null];
  const both = (first: Summary, second: Summary): { relative: Lift; absolute: Lift } => ({ relative: lift(first, second, { alpha: plan.alpha }), absolute: lift(first, second, { relative: false, alpha: plan.alpha }) });
  const lifts = a && b ? both(a, b) : null;
  const adjusted = cuped && { theta: cuped.theta, varianceRatio: cuped.varianceRatio, coverage: cuped.coverage, ...both(cuped.arms[control]!, cuped.arms[treatment]!) };
  const decisive = adjusted?.relative ?? lifts?.relative;
  const evidence = decisive && a && b ? evidenceOf(decisive, adjusted ? "cuped" : "plain", a.n + b.n, plan) : null;
  return {
    metric: name, role, kind, direction,
    control: a,
    treatment: b,
    relative: lifts?.relative ?? null,
    absolute: lifts?.absolute ?? null,
    cuped: adjusted,
    evidence,
    ...(evidence ? {} : { undefined: decisive?.undefined ?? ("zero-denominator" as const) }),
    holm: null,
    guardrail: evidence && metric.limit !== undefined ? testGuardrail(evidence, direction, metric.limit, plan) : null,
    minimumDetectableEffect: evidence && minimumDetectableEffect(evidence, plan, plan.alpha),
  };
}

/**
 * Adds Holm's correction to the primary metrics. Each interval stands at its level in Holm's sequence, α/(m − rank), which stays where
 * it is after the first metric that is not significant; so an interval excludes 0 exactly when the adjusted p is below α.
 */
export function withHolm(comparisons: readonly MetricComparison[], plan: CompletePlan): MetricComparison[] {
  const primaries = comparisons.flatMap(({ role, evidence }, at) => (role === "primary" && evidence ? [{ at, evidence }] : []));
  const adjusted = holm(primaries.map(({ evidence }) => evidence.p));
  const order = primaries.map((_, i) => i).sort((x, y) => primaries[x]!.evidence.p - primaries[y]!.evidence.p);
  const firstKept = order.findIndex((i) => adjusted[i]! >= plan.alpha);
  const results = new Map(
    order.map((i, rank): [number, MetricComparison] => {
      const { at, evidence } = primaries[i]!;
      const alpha = plan.alpha / (primaries.length - (firstKept < 0 ? rank : Math.min(rank, firstKept)));
      const half = halfWidth(evidence, plan, alpha);
      return [at, { ...comparisons[at]!, holm: { p: adjusted[i]!, alpha, low: evidence.estimate - half, high: evidence.estimate + half }, minimumDetectableEffect: minimumDetectableEffect(evidence, plan, alpha) }];
    }),
  );
  return comparisons.map((comparison, i) => results.get(i) ?? comparison);
}
