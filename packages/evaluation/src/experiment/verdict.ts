import type { MetricComparison } from "./comparison.ts";
import type { CompletePlan } from "./plan.ts";

/**
 * - `blocked`: the data cannot be trusted (sample ratio, doubled users, an arm without users, a primary metric without a value).
 * - `harm`: a guardrail is significantly worse, or a primary metric's interval lies on the bad side of 0.
 * - `ship`: a primary metric's interval lies on the good side of 0 after Holm, and no guardrail's bound reaches its limit.
 * - `underpowered`: a primary metric's interval lies on the good side of 0, but a guardrail's bound reaches its limit; or none does, and the
 *   data could have missed the smallest effect worth finding.
 * - `no-effect`: none of these. Without a gain a guardrail whose bound reaches its limit only adds a reason.
 */
export type Verdict = "blocked" | "harm" | "ship" | "underpowered" | "no-effect";

const ORDER: readonly Verdict[] = ["blocked", "harm", "ship", "underpowered", "no-effect"];

const percent = (share: number): string => `${share > 0 ? "+" : share < 0 ? "−" : ""}${Math.abs(100 * share).toFixed(3)} %`;
const size = (share: number): string => `${(100 * share).toFixed(3)} %`;
const range = (low: number, high: number): string => `[${percent(low)}, ${percent(high)}]`;

/** A verdict with its reasons, one sentence each. */
export interface ReasonedVerdict {
  /** See {@link Verdict}. */
  verdict: Verdict;
  /** For people; never empty. */
  reasons: string[];
}

/** The verdict on one treatment from its metrics, when nothing blocks it. */
export function judge(metrics: readonly MetricComparison[], plan: CompletePlan): ReasonedVerdict {
  const harm: string[] = [];
  const gains: string[] = [];
  const unseen: string[] = [];
  const open: string[] = [];
  const quiet: string[] = [];
  for (const { metric, role, direction, evidence, holm, guardrail, minimumDetectableEffect: mde } of metrics) {
    if (role === "guardrail") {
      if (guardrail?.isWorse) harm.push(`guardrail ${metric} is worse: ${percent(evidence!.estimate)}, one-sided p ${guardrail.p.toPrecision(3)}`);
      else if (guardrail === null) open.push(`guardrail ${metric} has no interval, so its limit cannot be checked`);
      else if (guardrail.reachesLimit) open.push(`guardrail ${metric} may be worse by up to ${size(guardrail.worst)}; its limit is ${size(guardrail.limit)}`);
    }
    if (role !== "primary" || !evidence || !holm || mde === null) continue;
    const isGoodUp = direction === "increase";
    if (isGoodUp ? evidence.high < 0 : evidence.low > 0) harm.push(`primary ${metric} is worse: ${percent(evidence.estimate)} ${range(evidence.low, evidence.high)}`);
    else if (isGoodUp ? holm.low > 0 : holm.high < 0) gains.push(`primary ${metric} is better: ${percent(evidence.estimate)} ${range(holm.low, holm.high)}, adjusted p ${holm.p.toPrecision(3)}`);
    else {
      const text = `primary ${metric}: the interval ${range(holm.low, holm.high)} holds 0; ${size(mde)} would be found in 80 of 100 experiments like this`;
      if (mde > plan.minimumEffect) unseen.push(`${text}, the plan wants ${size(plan.minimumEffect)}`);
      else quiet.push(text);
    }
  }
  if (harm.length > 0) return { verdict: "harm", reasons: harm };
  if (gains.length > 0 && open.length === 0) return { verdict: "ship", reasons: [...gains, ...(metrics.some(({ role }) => role === "guardrail") ? ["no guardrail reaches its limit"] : [])] };
  if (gains.length > 0) return { verdict: "underpowered", reasons: [...gains, ...open] };
  if (unseen.length > 0) return { verdict: "underpowered", reasons: [...unseen, ...quiet, ...open] };
  return { verdict: "no-effect", reasons: [...quiet, ...open] };
}

/** The verdict on the experiment: the first in the order blocked, harm, ship, underpowered, no-effect that any treatment has. */
export function overall(verdicts: readonly (ReasonedVerdict & { treatment: string })[]): ReasonedVerdict {
  const verdict = ORDER.find((candidate) => verdicts.some((own) => own.verdict === candidate)) ?? "no-effect";
  const deciding = verdicts.filter((own) => own.verdict === verdict);
  return { verdict, reasons: deciding.flatMap(({ treatment, reasons }) => (verdicts.length === 1 ? reasons : reasons.map((reason) => `${treatment}: ${reason}`))) };
}
