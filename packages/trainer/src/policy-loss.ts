import { clampedK3Kl, k3Kl } from "./kl.ts";
import { emptyTally, policyMetrics, type PolicyTally, type TallyContents } from "./policy-metrics.ts";

/**
 * How token losses are formed and averaged; see {@link PolicyLossConfig}. `grpo`: arXiv:2402.03300, `dr_grpo`: 2503.20783, `dapo`: 2503.14476,
 * `cispo`: 2506.13585, `sapo`: 2511.20347; `bnpo` and `luspo` as in TRL 1.13.
 */
export type LossType = "grpo" | "bnpo" | "dr_grpo" | "dapo" | "cispo" | "sapo" | "luspo";

/** Settings of the policy loss. */
export interface PolicyLossConfig {
  /**
   * What the summed token losses are divided by: `grpo`, `sapo` the completion's tokens and all completions, `bnpo` the tokens of the micro-batch, `dr_grpo` completions times
   * `maxCompletionLength`, `luspo` completions, `dapo`, `cispo` the mean tokens of an optimiser step.
   */
  lossType: LossType;
  /** Ratio of each token, or one of each completion from its mean log-ratio (GSPO, arXiv:2507.18071). */
  importanceSamplingLevel: "token" | "sequence";
  /** Lower clip: the ratio counts from 1 − epsilon. */
  epsilon: number;
  /** Upper clip: the ratio counts to 1 + epsilonHigh; for `cispo` an absolute cap. */
  epsilonHigh: number;
  /** Cap of the unclipped ratio; null is none. */
  delta: number | null;
  /** Weight of the KL term; 0 is none. */
  beta: number;
  /** Multiplies the KL term by the differentiable ratio. */
  biasCorrectionKl: boolean;
  /** Bounds of ref − logp and of the KL estimate of a token; null is none. Default null. */
  klClamp?: readonly [ratio: number, value: number] | null;
  /** Tokens; for `dr_grpo`. */
  maxCompletionLength: number;
  /** Micro-batches of one optimiser step. */
  gradientAccumulationSteps: number;
  /** Micro-batches of one generation. */
  stepsPerGeneration: number;
  /** Tokens of the generation, for `dapo` and `cispo`. */
  numItemsInBatch: number;
}

/** Completions of one call, row-major [rows, cols]. */
export interface PolicyLossInput {
  /** Completions. */
  rows: number;
  /** Tokens of the longest completion. */
  cols: number;
  /** Log-probabilities under the policy, nats. */
  logp: ArrayLike<number>;
  /** Log-probabilities before the generation's first update; null takes `logp` itself, so that every ratio is 1. */
  old: ArrayLike<number> | null;
  /** Log-probabilities of the reference policy; null without a KL term. */
  ref: ArrayLike<number> | null;
  /** One a row. */
  advantages: ArrayLike<number>;
  /** 1 for tokens that count, else 0; what stands in other places is not read. */
  mask: ArrayLike<number>;
  /** Entropies, nats, for the metrics. Default none. */
  entropy?: ArrayLike<number>;
  /** Rows and tokens of the whole micro-batch when this call is a part of it. Default this call's own. */
  window?: { rows: number; tokens: number };
}

/** Loss with its derivative by each log-probability. */
export interface PolicyLossResult {
  loss: number;
  /** [rows, cols]; 0 where the mask is. */
  dLogp: Float64Array;
  /** Of this call: see {@link policyMetrics}. */
  metrics: Record<string, number>;
  /** Sums behind the metrics, for calls that are parts of a whole. */
  tally: PolicyTally;
}

const SAPO_POSITIVE = 1;
const SAPO_NEGATIVE = 1.05;

interface TokenLoss {
  value: number;
  /** By the log-ratio. */
  byRatio: number;
  /** By `logp` itself. */
  byLogp: number;
}

/** Loss of one token from its log-ratio w. */
function tokenLoss(w: number, logp: number, advantage: number, c: PolicyLossConfig): TokenLoss {
  const ratio = Math.exp(w);
  if (c.lossType === "cispo") return { value: -Math.min(ratio, c.epsilonHigh) * advantage * logp, byRatio: 0, byLogp: -Math.min(ratio, c.epsilonHigh) * advantage };
  if (c.lossType === "sapo") {
    const tau = advantage > 0 ? SAPO_POSITIVE : SAPO_NEGATIVE;
    const gate = 1 / (1 + Math.exp(-tau * (ratio - 1)));
    return { value: (-4 / tau) * gate * advantage, byRatio: -4 * gate * (1 - gate) * ratio * advantage, byLogp: 0 };
  }
  const isInside = ratio >= 1 - c.epsilon && ratio <= 1 + c.epsilonHigh;
  const clipped = Math.min(1 + c.epsilonHigh, Math.max(1 - c.epsilon, ratio));
  const isCapped = c.delta !== null && ratio > c.delta;
  const free = isCapped ? c.delta! : ratio;
  const [left, right] = [free * advantage, clipped * advantage];
  const [dLeft, dRight] = [isCapped ? 0 : ratio * advantage, isInside ? ratio * advantage : 0];
  // A tie shares the derivative, as torch.min does.
  const slope = left < right ? dLeft : left > right ? dRight : (dLeft + dRight) / 2;
  return { value: -Math.min(left, right), byRatio: -slope, byLogp: 0 };
}

/** Factor of a row's summed token losses in the whole loss. */
function rowFactor(c: PolicyLossConfig, rowTokens: number, rows: number, tokens: number): number {
  switch (c.lossType) {
    case "grpo":
    case "sapo":
      return 1 / (Math.max(1, rowTokens) * rows * c.gradientAccumulationSteps);
    case "bnpo":
      return 1 / (Math.max(1, tokens) * c.gradientAccumulationSteps);
    case "dr_grpo":
      return 1 / (rows * c.maxCompletionLength * c.gradientAccumulationSteps);
    case "luspo":
      return 1 / (rows * c.gradientAccumulationSteps);
    case "dapo":
    case "cispo":
      return c.stepsPerGeneration / (Math.max(1, c.numItemsInBatch) * c.gradientAccumulationSteps);
  }
}

/** Which metrics a loss with these settings has. */
export function tallyContents({ beta, lossType }: Pick<PolicyLossConfig, "beta" | "lossType">, hasEntropy: boolean): TallyContents {
  return { kl: beta !== 0, entropy: hasEntropy, clipping: lossType === "cispo" ? "cap" : lossType === "sapo" ? "none" : "both" };
}

/** Whether a ratio is counted as clipped, after the cap of `delta`. */
function clippedSide(w: number, advantage: number, c: PolicyLossConfig): "low" | "high" | undefined {
  if (c.lossType === "cispo") return Math.exp(w) > c.epsilonHigh && advantage > 0 ? "high" : undefined;
  const ratio = Math.min(Math.exp(w), c.delta ?? Number.POSITIVE_INFINITY);
  if (ratio < 1 - c.epsilon && advantage < 0) return "low";
  return ratio > 1 + c.epsilonHigh && advantage > 0 ? "high" : undefined;
}

/**
 * Policy loss of GRPO and its relatives with its gradient, in doubles: this very function is the training path. Completions come in as host numbers and the
 * derivative goes back. Values and metrics are those of TRL 1.13.
 */
export function policyLoss(input: PolicyLossInput, config: PolicyLossConfig): PolicyLossResult {
  const { rows, cols, logp, old, ref, advantages, mask, entropy } = input;
  const isSequence = config.importanceSamplingLevel === "sequence";
  const klClamp = config.klClamp ?? null;
  const allTokens = Array.from({ length: rows * cols }, (_, i) => mask[i]!).reduce((a, b) => a + b, 0);
  const window = input.window ?? { rows, tokens: allTokens };
  const dLogp = new Float64Array(rows * cols);
  const tally = { ...emptyTally(), tokens: allTokens, units: isSequence ? rows : allTokens };
  let loss = 0;
  for (let row = 0; row < rows; row++) {
    const start = row * cols;
    const advantage = advantages[row]!;
    let rowTokens = 0;
    let rowRatio = 0;
    for (let i = start; i < start + cols; i++) {
      if (mask[i] === 0) continue;
      rowTokens++;
      rowRatio += logp[i]! - (old ? old[i]! : logp[i]!);
    }
    rowRatio /= Math.max(1, rowTokens);
    const factor = rowFactor(config, rowTokens, window.rows, window.tokens);
    let sharedSlope = 0;
    let [low, high] = [0, 0];
    for (let i = start; i < start + cols; i++) {
      if (mask[i] === 0) continue;
      const w = isSequence ? rowRatio : logp[i]! - (old ? old[i]! : logp[i]!);
      let { value, byRatio, byLogp } = tokenLoss(w, logp[i]!, advantage, config);
      if (config.beta !== 0 && ref) {
        const term = klClamp ? clampedK3Kl(logp[i]!, ref[i]!, klClamp) : k3Kl(logp[i]!, ref[i]!);
        const ratio = config.biasCorrectionKl ? Math.exp(w) : 1;
        tally.kl += term.value * ratio;
        value += config.beta * term.value * ratio;
        byLogp += config.beta * term.grad * ratio;
        if (config.biasCorrectionKl) byRatio += config.beta * term.value * ratio;
      }
      const side = clippedSide(w, advantage, config);
      if (side === "low") low++;
      if (side === "high") high++;
      if (entropy) tally.entropy += entropy[i]!;
      loss += value * factor;
      dLogp[i]! += byLogp * factor;
      if (isSequence) sharedSlope += byRatio * factor;
      else dLogp[i]! += byRatio * factor;
    }
    const shares = Math.max(1, rowTokens);
    tally.low += isSequence ? low / shares : low;
    tally.high += isSequence ? high / shares : high;
    tally.lowMin = Math.min(tally.lowMin, low / shares);
    tally.highMax = Math.max(tally.highMax, high / shares);
    if (isSequence) for (let i = start; i < start + cols; i++) if (mask[i] !== 0) dLogp[i]! += sharedSlope / shares;
  }
  return { loss, dLogp, tally, metrics: policyMetrics(tally, tallyContents(config, entropy !== undefined)) };
}
