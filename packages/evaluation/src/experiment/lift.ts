import { checkAlpha } from "../checks.ts";
import { studentQuantile, studentTail } from "./distributions.ts";
import { checkSummary, type Summary } from "./summary.ts";

/** Standard errors from 0 below which a control mean is too weak a base for a relative lift. */
const WEAK_BASELINE_Z = 5;

/** Fieller's confidence set of a relative lift: right also where the control mean is near 0. */
export type FiellerSet =
  /** All values from `low` to `high`. */
  | { shape: "interval"; low: number; high: number }
  /** All values up to `low` and all from `high` on: the data bound the lift only from within. */
  | { shape: "two-rays"; low: number; high: number }
  /** The data exclude no value. */
  | { shape: "everything" };

/** Difference of two arms with its interval. */
export interface Lift {
  /** Relative: (treatment − control)/control, dimensionless; absolute: the difference in the metric's unit. Null when the control mean is 0, or so near it that no number holds the quotient. */
  estimate: number | null;
  /** Standard error; null with `estimate`. */
  se: number | null;
  /** Welch's degrees of freedom; null when neither arm varies. */
  df: number | null;
  /** Lower end of the two-sided interval; null when undefined. */
  low: number | null;
  /** Upper end; null when undefined. */
  high: number | null;
  /** Two-sided, of no difference; null when undefined. */
  p: number | null;
  /** Control mean in its standard errors from 0, never negative; null when the control does not vary. */
  baselineZ: number | null;
  /** Why a figure is null. */
  undefined?: "zero-baseline" | "no-variance";
  /** `weak-baseline`: the control mean is less than 5 standard errors from 0, so that the relative interval cannot be trusted; see `fieller`. */
  warning?: "weak-baseline";
  /** With `weak-baseline` of a relative lift. */
  fieller?: FiellerSet;
}

/** Options of {@link lift}. */
export interface LiftOptions {
  /** Relative to the control mean, or in the metric's unit. Default true. */
  relative?: boolean;
  /** One minus the level of the interval. Default .05. */
  alpha?: number;
}

/** Fieller's set for treatment/control − 1 of two independent means. */
function fiellerSet(control: Summary, treatment: Summary, quantile: number): FiellerSet {
  // Each arm in a unit of its own, so that no square overflows or vanishes.
  const inUnits = ({ mean, variance, n }: Summary): { mean: number; se: number; unit: number } => {
    const se = Math.sqrt(variance / n);
    const unit = Math.hypot(mean, se) || 1;
    return { mean: mean / unit, se: se / unit, unit };
  };
  const [own, other] = [inUnits(control), inUnits(treatment)];
  const a = own.mean ** 2 - (quantile * own.se) ** 2;
  const b = own.mean * other.mean;
  const c = other.mean ** 2 - (quantile * other.se) ** 2;
  const root = b * b - a * c;
  if (root < 0 || a === 0) return { shape: "everything" };
  const ends = [-1, 1].map((sign) => ((b + sign * Math.sqrt(root)) / a) * (other.unit / own.unit) - 1).sort((x, y) => x - y) as [number, number];
  return { shape: a > 0 ? "interval" : "two-rays", low: ends[0], high: ends[1] };
}

/**
 * Difference of treatment and control with users as the unit. Relative: variance s_B²/(m_A² n_B) + s_A² m_B²/(m_A⁴ n_A) by the delta
 * method; Welch's degrees of freedom; interval and p from Student's distribution. Summaries of ratio metrics come from {@link ratioStats}.
 *
 * @throws EvaluationError `SUMMARY_INVALID`, and `OPTION_INVALID` unless 0 < alpha < 1.
 */
export function lift(control: Summary, treatment: Summary, options: LiftOptions = {}): Lift {
  const { relative = true, alpha = 0.05 } = options;
  checkAlpha(alpha);
  const { mean: a } = checkSummary(control, "control");
  const { mean: b } = checkSummary(treatment, "treatment");
  const va = control.variance / control.n;
  const vb = treatment.variance / treatment.n;
  // Shares and quotients instead of powers: these neither overflow nor vanish, whatever the metric's unit.
  const share = va / (va + vb);
  const df = va + vb === 0 ? null : 1 / (share ** 2 / (control.n - 1) + (1 - share) ** 2 / (treatment.n - 1));
  const baselineZ = va === 0 ? null : Math.abs(a) / Math.sqrt(va);
  if (relative && a === 0) return { estimate: null, se: null, df, low: null, high: null, p: null, baselineZ, undefined: "zero-baseline" };
  const estimate = relative ? (b - a) / a : b - a;
  const se = relative ? Math.hypot(Math.sqrt(vb) / a, (Math.sqrt(va) / a) * (b / a)) : Math.sqrt(va + vb);
  if (!Number.isFinite(estimate) || !Number.isFinite(se)) return { estimate: null, se: null, df, low: null, high: null, p: null, baselineZ, undefined: "zero-baseline" };
  if (df === null || se === 0) return { estimate, se, df, low: null, high: null, p: null, baselineZ, undefined: "no-variance" };
  const quantile = studentQuantile(1 - alpha / 2, df);
  const result: Lift = { estimate, se, df, low: estimate - quantile * se, high: estimate + quantile * se, p: 2 * studentTail(Math.abs(estimate / se), df), baselineZ };
  if (baselineZ === null || baselineZ >= WEAK_BASELINE_Z) return result;
  return { ...result, warning: "weak-baseline", ...(relative ? { fieller: fiellerSet(control, treatment, quantile) } : {}) };
}
