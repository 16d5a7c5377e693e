/** Value of a penalty at one token and its derivative by the policy's log-probability. */
export interface TokenKl {
  /** Nats. */
  value: number;
  /** By `logp`. */
  grad: number;
}

/** The k3 estimate of KL(policy ‖ reference) at one token, e^r − 1 − r with r = ref − logp, exact also where r is tiny (Schulman, "Approximating KL divergence"). */
export function k3Kl(logp: number, ref: number): TokenKl {
  const r = ref - logp;
  return { value: Math.expm1(r) - r, grad: -Math.expm1(r) };
}

/** {@link k3Kl} with r held within ±`ratio` and the estimate within ±`value`, as some engines compute it; where a bound holds, there is no gradient. */
export function clampedK3Kl(logp: number, ref: number, [ratio, value]: readonly [ratio: number, value: number]): TokenKl {
  const r = Math.min(ratio, Math.max(-ratio, ref - logp));
  const term = k3Kl(-r, 0);
  const isFree = r === ref - logp && term.value <= value;
  return { value: Math.min(value, term.value), grad: isFree ? term.grad : 0 };
}
