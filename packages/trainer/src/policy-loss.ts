/** How token losses are formed and averaged. */
export type LossType = "grpo" | "bnpo" | "dr_grpo" | "dapo" | "cispo" | "sapo" | "luspo";

/** Settings of the policy loss. */
export interface PolicyLossConfig {
  lossType: LossType;
  /** `sequence` is GSPO. */
  importanceSamplingLevel: "token" | "sequence";
  /** Lower clip: the ratio counts from 1 − epsilon. */
  epsilon: number;
  /** Upper clip: the ratio counts to 1 + epsilonHigh; for `cispo` an absolute cap. */
  epsilonHigh: number;
  /** Cap of the unclipped ratio; null is none. */
  delta: number | null;
  /** Weight of the KL term. */
  beta: number;
  /** Multiplies the KL term by the ratio. */
  biasCorrectionKl: boolean;
  maxCompletionLength: number;
  gradientAccumulationSteps: number;
  stepsPerGeneration: number;
  /** Tokens of the generation batch, for `dapo` and `cispo`. */
  numItemsInBatch: number;
}

/** Completions of one call, row-major [rows, cols]. */
export interface PolicyLossInput {
  rows: number;
  cols: number;
  logp: ArrayLike<number>;
  /** Log-probabilities at sampling; null takes `logp` itself, so that every ratio is 1. */
  old: ArrayLike<number> | null;
  /** Log-probabilities of the reference policy; null without a KL term. */
  ref: ArrayLike<number> | null;
  /** One a row. */
  advantages: ArrayLike<number>;
  /** 1 for tokens that count. */
  mask: ArrayLike<number>;
  /** Rows and tokens of the whole window when this call is a part of it; default this call's own. */
  window?: { rows: number; tokens: number };
}

/** Loss with its derivative by each log-probability. */
export interface PolicyLossResult {
  loss: number;
  dLogp: Float64Array;
  /** `kl`, and shares of clipped tokens. */
  metrics: Record<string, number>;
}

const SAPO_POSITIVE = 1;
const SAPO_NEGATIVE = 1.05;

/** The k3 estimate of KL(policy ‖ reference) at one token, and its derivative by `logp`. */
export function k3Kl(logp: number, ref: number): { value: number; grad: number } {
  const r = ref - logp;
  return { value: Math.expm1(r) - r, grad: -Math.expm1(r) };
}

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
      return c.stepsPerGeneration / (c.numItemsInBatch * c.gradientAccumulationSteps);
  }
}

/**
 * Policy loss of GRPO and its relatives with its gradient, in doubles: this very function is the training path (arXiv:2402.03300, 2503.14476,
 * 2507.18071). Completions come in as host numbers and the derivative goes back.
 */
export function policyLoss(input: PolicyLossInput, config: PolicyLossConfig): PolicyLossResult {
  const { rows, cols, logp, old, ref, advantages, mask } = input;
  const isSequence = config.importanceSamplingLevel === "sequence";
  const allTokens = Array.from({ length: rows * cols }, (_, i) => mask[i]!).reduce((a, b) => a + b, 0);
  const window = input.window ?? { rows, tokens: allTokens };
  const dLogp = new Float64Array(rows * cols);
  let [loss, kl, low, high] = [0, 0, 0, 0];
  for (let row = 0; row < rows; row++) {
    const start = row * cols;
    const advantage = advantages[row]!;
    let rowTokens = 0;
    let rowRatio = 0;
    for (let i = start; i < start + cols; i++) {
      rowTokens += mask[i]!;
      rowRatio += (logp[i]! - (old ? old[i]! : logp[i]!)) * mask[i]!;
    }
    rowRatio /= Math.max(1, rowTokens);
    const factor = rowFactor(config, rowTokens, window.rows, window.tokens);
    let sharedSlope = 0;
    for (let i = start; i < start + cols; i++) {
      if (mask[i] === 0) continue;
      const w = isSequence ? rowRatio : logp[i]! - (old ? old[i]! : logp[i]!);
      const token = tokenLoss(w, logp[i]!, advantage, config);
      let { value, byRatio, byLogp } = token;
      if (config.beta !== 0 && ref) {
        const term = k3Kl(logp[i]!, ref[i]!);
        kl += term.value;
        const ratio = config.biasCorrectionKl ? Math.exp(w) : 1;
        value += config.beta * term.value * ratio;
        byLogp += config.beta * term.grad * ratio;
        if (config.biasCorrectionKl) byRatio += config.beta * term.value * ratio;
      }
      const ratio = Math.exp(w);
      if (ratio < 1 - config.epsilon && advantage < 0) low++;
      if (ratio > 1 + config.epsilonHigh && advantage > 0) high++;
      loss += value * factor;
      dLogp[i]! += byLogp * factor;
      if (isSequence) sharedSlope += byRatio * factor;
      else dLogp[i]! += byRatio * factor;
    }
    if (isSequence) for (let i = start; i < start + cols; i++) dLogp[i]! += (sharedSlope * mask[i]!) / Math.max(1, rowTokens);
  }
  const tokens = Math.max(1, allTokens);
  return { loss, dLogp, metrics: { kl: kl / tokens, "clip_ratio/low_mean": low / tokens, "clip_ratio/high_mean": high / tokens } };
}
