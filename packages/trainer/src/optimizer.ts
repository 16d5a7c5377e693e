/** Parameters or gradients, one array a tensor. */
export type Arrays = Float32Array[] | Float64Array[];

/** Settings of {@link AdamW}. */
export interface AdamWConfig {
  /** Decay of the first moment. Default .9. */
  beta1?: number;
  /** Decay of the second moment. Default .999. */
  beta2?: number;
  /** Default 1e-8. */
  eps?: number;
  /** Decoupled. Default 0. */
  weightDecay?: number;
}

/** What an optimiser remembers. */
export interface OptimizerState {
  /** Steps taken. */
  step: number;
  /** First moments. */
  m: Arrays;
  /** Second moments. */
  v: Arrays;
}

/** AdamW with decoupled weight decay on host arrays: the numbers of `torch.optim.AdamW`. */
export class AdamW {
  readonly #config: Required<AdamWConfig>;
  #state: OptimizerState | undefined;

  constructor(config: AdamWConfig = {}) {
    this.#config = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, ...config };
  }

  /** Moves the parameters in place by their gradients. */
  step(params: Arrays, grads: Arrays, lr: number): void {
    const { beta1, beta2, eps, weightDecay } = this.#config;
    const zeros = (): Arrays => params.map((p: Float32Array | Float64Array) => (p instanceof Float64Array ? new Float64Array(p.length) : new Float32Array(p.length))) as Arrays;
    const state = (this.#state ??= { step: 0, m: zeros(), v: zeros() });
    const t = ++state.step;
    const correction1 = 1 - beta1 ** t;
    const correction2 = Math.sqrt(1 - beta2 ** t);
    params.forEach((values: Float32Array | Float64Array, i) => {
      const [g, m, v] = [grads[i]!, state.m[i]!, state.v[i]!];
      for (let k = 0; k < values.length; k++) {
        m[k] = beta1 * m[k]! + (1 - beta1) * g[k]!;
        v[k] = beta2 * v[k]! + (1 - beta2) * g[k]! * g[k]!;
        values[k] = values[k]! * (1 - lr * weightDecay) - ((lr / correction1) * m[k]!) / (Math.sqrt(v[k]!) / correction2 + eps);
      }
    });
  }

  /** Moments and step count; undefined before the first step. */
  state(): OptimizerState | undefined {
    return this.#state;
  }

  /** Goes on from a saved state. */
  restore(state: OptimizerState): void {
    this.#state = state;
  }
}

/** Scales gradients in place so that their global norm is at most `maxNorm`; 0 is off. Returns the norm before. */
export function clipGradNorm(grads: Arrays, maxNorm: number): number {
  let sum = 0;
  for (const grad of grads) for (const value of grad) sum += value * value;
  const norm = Math.sqrt(sum);
  const factor = maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1;
  if (factor < 1) for (const grad of grads) for (let k = 0; k < grad.length; k++) grad[k]! *= factor;
  return norm;
}
