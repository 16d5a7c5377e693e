import type { Assessment, Distribution, Quality } from "@dramascope/schema";
import { AssessorError } from "./errors.ts";

/** The buyer's thresholds; `rejectBelow` ≤ `procureFrom` ≤ `recommendFrom`. */
export interface DecisionPolicy {
  /** Recommend widely from this expected score on; above 5 is never. Default 4.2. */
  recommendFrom: number;
  /** Procure from this expected score on. Default 3.5. */
  procureFrom: number;
  /** Reject below this expected score; 1 or less is never. Default 1.8. */
  rejectBelow: number;
  /** A human decides when the most likely class is less likely than this, 0 … 1. Default 0.45. */
  minConfidence: number;
  /** A human decides when a smaller share of the sampled answers holds a score, 0 … 1. Default 0.5. */
  minReadable: number;
}

/** Cautious thresholds: no work is rejected on thin evidence. */
export const DEFAULT_POLICY: Readonly<DecisionPolicy> = { recommendFrom: 4.2, procureFrom: 3.5, rejectBelow: 1.8, minConfidence: 0.45, minReadable: 0.5 };

/** What the decision looks at. */
export interface DecisionInput {
  score: number | null;
  quality: Quality | null;
  distribution: Distribution | null;
  /** 95 % interval of the score. Default null: unknown. */
  interval?: readonly [low: number, high: number] | null;
  /** Share of the answers that hold a score. Default 1. */
  readable?: number;
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;

const isShare = (value: number): boolean => value >= 0 && value <= 1;

/**
 * Refuses thresholds that no decision can rest on.
 *
 * @throws AssessorError `BAD_POLICY` for NaN, thresholds out of order, shares outside 0 … 1.
 */
export function checkPolicy(policy: DecisionPolicy): void {
  const { recommendFrom, procureFrom, rejectBelow, minConfidence, minReadable } = policy;
  if (rejectBelow <= procureFrom && procureFrom <= recommendFrom && isShare(minConfidence) && isShare(minReadable)) return;
  throw new AssessorError(`the policy's thresholds make no sense: ${Object.entries(policy).map(([name, value]) => `${name} ${String(value)}`).join(", ")}`, {
    code: "BAD_POLICY",
    hint: "rejectBelow, procureFrom and recommendFrom must rise in this order; minConfidence and minReadable are shares from 0 to 1.",
  });
}

function checkInput({ score, distribution, interval = null, readable = 1 }: DecisionInput): void {
  const shares = distribution === null ? [] : [distribution.p1, distribution.p2, distribution.p3, distribution.p4, distribution.p5];
  const isSound = (score === null || (score >= 1 && score <= 5)) && shares.every(isShare) && isShare(readable) && (interval === null || interval[0] <= interval[1]);
  if (!isSound) throw new AssessorError(`nothing can be decided on score ${String(score)}, distribution ${shares.join(", ")}, interval ${String(interval)}, readable ${readable}`, { code: "BAD_SCORE", hint: "Scores are 1 to 5, shares 0 to 1; what is unknown is null." });
}

/**
 * The action that the policy's thresholds lead to, with the reason in words. Thin evidence always goes to a human.
 *
 * @throws AssessorError `BAD_SCORE` for numbers outside their ranges, `BAD_POLICY` for thresholds that make no sense.
 */
export function decide(input: DecisionInput, policy: DecisionPolicy = DEFAULT_POLICY): Assessment["decision"] {
  checkPolicy(policy);
  checkInput(input);
  const { score, distribution, interval = null, readable = 1 } = input;
  if (score === null) return { action: "human-review", why: "The model gave no readable score." };
  if (distribution === null) return { action: "human-review", why: "The model's answer carries no probabilities, so its certainty is unknown." };
  if (readable < policy.minReadable) return { action: "human-review", why: `Only ${percent(readable)} of the model's answers hold a score; ${percent(policy.minReadable)} is asked for.` };
  const top = Math.max(distribution.p1, distribution.p2, distribution.p3, distribution.p4, distribution.p5);
  const shown = score.toFixed(2);
  if (top < policy.minConfidence) {
    return { action: "human-review", why: `The most likely class has only ${percent(top)} of the probability; ${percent(policy.minConfidence)} is asked for.` };
  }
  if (score >= policy.recommendFrom) return { action: "recommend", why: `Expected score ${shown} reaches ${policy.recommendFrom}.` };
  if (score >= policy.procureFrom) return { action: "procure", why: `Expected score ${shown} reaches ${policy.procureFrom}.` };
  if (score < policy.rejectBelow && interval !== null && interval[1] >= policy.procureFrom) {
    return { action: "human-review", why: `Expected score ${shown} is below ${policy.rejectBelow}, but its 95 % interval reaches ${interval[1].toFixed(2)}: too unsure to reject.` };
  }
  if (score < policy.rejectBelow) return { action: "reject", why: `Expected score ${shown} is below ${policy.rejectBelow}.` };
  return { action: "price", why: `Expected score ${shown} lies between ${policy.rejectBelow} and ${policy.procureFrom}: worth it at the right price.` };
}
