import { compareMetric, withHolm, type MetricComparison } from "./comparison.ts";
import type { MetricEstimates } from "./estimates.ts";
import type { ItemSlice } from "./item-slices.ts";
import type { CompletePlan } from "./plan.ts";
import { SRM_THRESHOLD, srm, type Srm } from "./srm.ts";
import type { UserFaults } from "./user-records.ts";
import { judge, overall, type ReasonedVerdict, type Verdict } from "./verdict.ts";

/** Share of users in two variants above which the assignment deserves a look. */
const MANY_CROSSOVERS = 0.01;

/** Users of one arm. */
export interface ArmUsers {
  /** Name in the plan. */
  variant: string;
  /** Users counted: those in one variant only. */
  users: number;
  /** Share of all counted users, 0 … 1. */
  share: number;
  /** Planned share, 0 … 1. */
  plannedShare: number;
}

/** One treatment against the control. */
export interface TreatmentComparison extends ReasonedVerdict {
  /** Name in the plan. */
  treatment: string;
  /** In the plan's order. */
  metrics: MetricComparison[];
}

/** What an experiment has found. */
export interface ExperimentReport {
  /** On the whole experiment: the first of blocked, harm, ship, underpowered, no-effect that any treatment has. */
  verdict: Verdict;
  /** Why, one sentence each. */
  reasons: string[];
  /** Whether an A/A experiment has found no effect, as it should; null for A/B. */
  isAsExpected: boolean | null;
  /** In the plan's order of variants. */
  users: ArmUsers[];
  /** Users seen in more than one variant; removed from all. */
  crossovers: number;
  /** Users with several rows under one variant; any blocks. */
  repeated: number;
  /** Test of the arms' sizes; null without any user. */
  srm: Srm | null;
  /** One a treatment; empty when blocked. */
  comparisons: TreatmentComparison[];
  /** Lifts by groups of dramas, exploratory; empty when blocked or without item rows. */
  slices: ItemSlice[];
  /** What a reader should know, one sentence each. */
  warnings: string[];
  /** The plan with its defaults. */
  plan: CompletePlan;
}

/** Users by arm and what was wrong with them. */
export interface UserCounts extends UserFaults {
  /** In the plan's order of variants. */
  arms: readonly number[];
}

function dataFaults({ arms, repeated }: UserCounts, ratio: Srm | null, plan: CompletePlan): string[] {
  const faults: string[] = [];
  if (ratio?.isMismatch) faults.push(`sample ratio mismatch: ${plan.variants.map(({ name }, i) => `${name} ${arms[i]!}`).join(", ")} users do not fit the planned shares (p ${ratio.p.toPrecision(3)} < ${SRM_THRESHOLD}); look for a fault in assignment or logging`);
  if (repeated > 0) faults.push(`${repeated} users have more than one row under a variant; sum each user's rows first`);
  plan.variants.forEach(({ name }, i) => {
    if (arms[i]! < 2) faults.push(`variant ${name} has ${arms[i]!} users; at least 2 are needed`);
  });
  return faults;
}

const EXPLAINED = {
  "zero-denominator": "its denominators add up to 0",
  "zero-baseline": "its control mean is 0 or too near it, so there is no relative lift",
  "no-variance": "it does not vary",
} as const;

function warningsOf(comparisons: readonly TreatmentComparison[], { arms, crossovers }: UserCounts, plan: CompletePlan): string[] {
  const warnings: string[] = [];
  const users = arms.reduce((sum, count) => sum + count, crossovers);
  if (crossovers > MANY_CROSSOVERS * users) warnings.push(`${crossovers} of ${users} users were in more than one variant and are left out: look at the assignment`);
  for (const { treatment, metrics } of comparisons) for (const { metric, relative, cuped, undefined: reason } of metrics) {
    if (relative?.warning !== undefined) warnings.push(`weak-baseline: the control mean of ${metric} is ${relative.baselineZ!.toFixed(2)} standard errors from 0; read Fieller's interval of ${treatment}`);
    if (cuped && cuped.coverage < 1) warnings.push(`${metric}: ${(100 * cuped.coverage).toFixed(1)} % of users have a pre-period; the others are not adjusted`);
    if (reason !== undefined) warnings.push(`${metric} of ${treatment} has no lift: ${EXPLAINED[reason]}`);
  }
  if (plan.sequential === undefined) warnings.push("the intervals hold for one look at a size fixed before; set sequential in the plan to look early");
  return [...new Set(warnings)];
}

/**
 * Puts the report together.
 *
 * @param estimates In the plan's order of metrics; called only when the users themselves do not block.
 */
export function reportOf(plan: CompletePlan, counts: UserCounts, estimates: () => MetricEstimates[]): ExperimentReport {
  const total = counts.arms.reduce((sum, count) => sum + count, 0);
  const shares = plan.variants.reduce((sum, { share }) => sum + share, 0);
  const ratio = total === 0 ? null : srm(counts.arms, plan.variants.map(({ share }) => share));
  const base = {
    users: plan.variants.map(({ name, share }, i): ArmUsers => ({ variant: name, users: counts.arms[i]!, share: total === 0 ? 0 : counts.arms[i]! / total, plannedShare: share / shares })),
    crossovers: counts.crossovers,
    repeated: counts.repeated,
    srm: ratio,
    slices: [],
    plan,
  };
  const isAsExpected = (verdict: Verdict): boolean | null => (plan.mode === "aa" ? verdict === "no-effect" : null);
  const blocked = (reasons: string[]): ExperimentReport => ({ verdict: "blocked", reasons, isAsExpected: isAsExpected("blocked"), ...base, comparisons: [], warnings: warningsOf([], counts, plan) });
  const faults = dataFaults(counts, ratio, plan);
  if (faults.length > 0) return blocked(faults);
  const found = estimates();
  const control = plan.variants.findIndex(({ name }) => name === plan.control);
  const treatments = plan.variants.map((_, i) => i).filter((i) => i !== control);
  const compared = withHolm(treatments.flatMap((treatment) => plan.metrics.map((metric, i) => compareMetric(metric, found[i]!, control, treatment, plan))), plan);
  const missing = compared.filter(({ role, evidence }) => role === "primary" && evidence === null);
  if (missing.length > 0) return blocked([...new Set(missing.map(({ metric, undefined: reason }) => `primary metric ${metric} has no lift: ${EXPLAINED[reason!]}`))]);
  const comparisons = treatments.map((treatment, i): TreatmentComparison => {
    const metrics = compared.slice(i * plan.metrics.length, (i + 1) * plan.metrics.length);
    return { treatment: plan.variants[treatment]!.name, ...judge(metrics, plan), metrics };
  });
  const { verdict, reasons } = overall(comparisons);
  if (isAsExpected(verdict) === false) reasons.push("an A/A experiment should find no effect");
  return { verdict, reasons, isAsExpected: isAsExpected(verdict), ...base, comparisons, warnings: warningsOf(comparisons, counts, plan) };
}
