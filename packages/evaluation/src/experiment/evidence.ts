import { normalQuantile, studentQuantile, studentTail } from "./distributions.ts";
import type { Lift } from "./lift.ts";
import type { CompletePlan } from "./plan.ts";
import { alwaysValidP, halfWidthAt, mixtureScale } from "./sequential.ts";

/** Chance of finding an effect of the size called detectable. */
const POWER = 0.8;

/** The relative lift that decides, with the interval that was planned. */
export interface Evidence {
  /** Whether the pre-period has been taken out. */
  basis: "plain" | "cuped";
  /** `sequential` intervals hold at every look. */
  interval: "fixed" | "sequential";
  /** Relative lift. */
  estimate: number;
  /** Standard error of `estimate`. */
  se: number;
  /** Welch's degrees of freedom. */
  df: number;
  /** Users of both arms. */
  n: number;
  /** Lower end of the two-sided interval at the plan's alpha. */
  low: number;
  /** Upper end. */
  high: number;
  /** Two-sided; under `sequential` it holds at every look. */
  p: number;
}

/** Half-width of the planned kind of interval at a level of its own. */
export function halfWidth({ se, df, n, interval }: Pick<Evidence, "se" | "df" | "n" | "interval">, plan: CompletePlan, alpha: number): number {
  if (interval === "fixed") return studentQuantile(1 - alpha / 2, df) * se;
  return halfWidthAt(se, n, mixtureScale({ alpha: plan.alpha, nStar: plan.sequential!.nStar }), alpha);
}

/** The evidence in a relative lift of two arms; null when the lift or its error is undefined. */
export function evidenceOf({ estimate, se, df, p }: Lift, basis: Evidence["basis"], n: number, plan: CompletePlan): Evidence | null {
  if (estimate === null || se === null || df === null || p === null) return null;
  const interval = plan.sequential ? ("sequential" as const) : ("fixed" as const);
  const half = halfWidth({ se, df, n, interval }, plan, plan.alpha);
  const everyLook = plan.sequential && alwaysValidP(estimate, se, n, mixtureScale({ alpha: plan.alpha, nStar: plan.sequential.nStar }));
  return { basis, interval, estimate, se, df, n, low: estimate - half, high: estimate + half, p: everyLook ?? p };
}

/** The relative effect that data like these find in 80 of 100 experiments, at level alpha. */
export function minimumDetectableEffect(evidence: Evidence, plan: CompletePlan, alpha: number): number {
  const half = evidence.interval === "fixed" ? normalQuantile(1 - alpha / 2) * evidence.se : halfWidth(evidence, plan, alpha);
  return half + normalQuantile(POWER) * evidence.se;
}

/** A guardrail's one-sided test. */
export interface GuardrailTest {
  /** Relative worsening that the plan accepts. */
  limit: number;
  /** One-sided, of no worsening. */
  p: number;
  /** The largest relative worsening that the data leave possible (one-sided bound at the plan's alpha); negative when even that is an improvement. */
  worst: number;
  /** True when `p` is below the plan's alpha. */
  isWorse: boolean;
  /** True when `worst` reaches the limit. */
  reachesLimit: boolean;
}

/** One-sided test of a guardrail. Under `sequential` the two-sided interval serves, which is on the safe side. */
export function testGuardrail(evidence: Evidence, direction: "increase" | "decrease", limit: number, plan: CompletePlan): GuardrailTest {
  const { se, df, interval } = evidence;
  const worsening = direction === "increase" ? -evidence.estimate : evidence.estimate;
  const half = interval === "fixed" ? studentQuantile(1 - plan.alpha, df) * se : halfWidth(evidence, plan, plan.alpha);
  const p = interval === "fixed" ? studentTail(worsening / se, df) : worsening > 0 ? evidence.p : 1;
  const worst = worsening + half;
  return { limit, p, worst, isWorse: p < plan.alpha, reachesLimit: worst >= limit };
}
