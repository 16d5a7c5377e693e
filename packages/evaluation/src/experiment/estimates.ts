import { addMoments, comoment, emptyMoments, momentsOf, type Moments } from "./moments.ts";
import type { CompletePlan, PlannedMetric } from "./plan.ts";
import { ratioWeights } from "./ratio-stats.ts";
import type { ValueColumn } from "./rows.ts";
import { checkSummary, type Summary } from "./summary.ts";

/** One metric in every arm, in the plan's order of variants. */
export interface MetricEstimates {
  /** Null where the arm has no value: a ratio whose denominators add up to 0. */
  plain: (Summary | null)[];
  /** After taking out the pre-period; null without one. */
  cuped: CupedEstimates | null;
}

/** All arms of a metric after CUPED. */
interface CupedEstimates {
  /** Slope, pooled within arms. */
  theta: number;
  /** Variance after / before, pooled within arms; null when the metric does not vary. */
  varianceRatio: number | null;
  /** Share of users with a pre-period; the others are left as they are. */
  coverage: number;
  arms: Summary[];
}

/** Collects a metric's moments, arm by arm, from blocks of users. */
export interface MetricMoments {
  metric: PlannedMetric;
  /** One an arm, over numerator, denominator of a ratio, then pre-period (0 where absent) and its presence. */
  arms: Moments[];
  add: (arm: number, columns: readonly Float64Array[]) => void;
}

/** An empty collection for one metric. */
export function metricMoments(metric: PlannedMetric, plan: CompletePlan, columns: readonly ValueColumn[]): MetricMoments {
  const position = (name: string): number => columns.findIndex((column) => column.name === name);
  const own = (metric.kind === "ratio" ? [metric.numerator, metric.denominator] : [metric.numerator]).map(position);
  const before = metric.prePeriod === undefined ? undefined : position(metric.prePeriod);
  const arms = plan.variants.map(() => emptyMoments(own.length + (before === undefined ? 0 : 2)));
  const add = (arm: number, block: readonly Float64Array[]): void => {
    const variables = own.map((at) => block[at]!);
    if (before !== undefined) {
      const values = block[before]!;
      variables.push(values.map((value) => (Number.isNaN(value) ? 0 : value)), values.map((value) => (Number.isNaN(value) ? 0 : 1)));
    }
    addMoments(arms[arm]!, momentsOf(variables));
  };
  return { metric, arms, add };
}

/** Weights that make a user's value of the metric out of its variables, and the metric's mean; null when there is none. */
function linearisation({ metric }: MetricMoments, arm: Moments): { weights: number[]; mean: number } | null {
  const rest = metric.prePeriod === undefined ? [] : [0, 0];
  if (metric.kind === "mean") return { weights: [1, ...rest], mean: arm.means[0]! };
  return arm.means[1] === 0 ? null : { weights: [...ratioWeights(arm), ...rest], mean: arm.means[0]! / arm.means[1]! };
}

/** Means and variances of every arm; needs at least two users in each. @throws EvaluationError `SUMMARY_INVALID` for values too large or small to be squared. */
export function estimatesOf(collected: MetricMoments): MetricEstimates {
  const { arms, metric: { name, prePeriod } } = collected;
  const linear = arms.map((arm) => linearisation(collected, arm));
  const plain = arms.map((arm, i): Summary | null => {
    const own = linear[i];
    return own ? checkSummary({ mean: own.mean, variance: Math.max(0, comoment(arm, own.weights, own.weights)) / (arm.n - 1), n: arm.n }, `metric ${name}`) : null;
  });
  return { plain, cuped: prePeriod === undefined ? null : adjust(arms, linear, `metric ${name} with pre-period ${prePeriod}`) };
}

/**
 * CUPED over all arms: z = x − x̄ where a pre-period exists, else 0, with one x̄ and one θ = Σ C_yz / Σ C_zz over the arms' own
 * co-moments, so that neither the effect nor the users without a pre-period enter θ.
 */
function adjust(arms: readonly Moments[], linear: readonly ({ weights: number[]; mean: number } | null)[], what: string): CupedEstimates | null {
  if (linear.some((own) => own === null)) return null;
  const size = arms[0]!.means.length;
  const present = arms.reduce((sum, { n, means }) => sum + n * means[size - 1]!, 0);
  if (present === 0) return null;
  const users = arms.reduce((sum, { n }) => sum + n, 0);
  const centre = arms.reduce((sum, { n, means }) => sum + n * means[size - 2]!, 0) / present;
  const z = Array.from({ length: size }, (_, i) => (i === size - 2 ? 1 : i === size - 1 ? -centre : 0));
  const pooled = (of: (arm: Moments, weights: number[]) => number): number => arms.reduce((sum, arm, i) => sum + of(arm, linear[i]!.weights), 0);
  const spread = pooled((arm) => comoment(arm, z, z));
  const theta = spread === 0 ? 0 : pooled((arm, weights) => comoment(arm, weights, z)) / spread;
  const residual = (weights: readonly number[]): number[] => weights.map((weight, i) => weight - theta * z[i]!);
  const before = pooled((arm, weights) => comoment(arm, weights, weights));
  const after = (arm: Moments, weights: readonly number[]): number => Math.max(0, comoment(arm, residual(weights), residual(weights)));
  return {
    theta,
    varianceRatio: before === 0 ? null : pooled(after) / before,
    coverage: present / users,
    arms: arms.map((arm, i) => checkSummary({
      mean: linear[i]!.mean - theta * (arm.means[size - 2]! - centre * arm.means[size - 1]!),
      variance: after(arm, linear[i]!.weights) / (arm.n - 1),
      n: arm.n,
    }, what)),
  };
}
