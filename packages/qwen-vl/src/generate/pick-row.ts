import { pickToken, processLogits, refuseLogits } from "./sampler.ts";
import type { SamplingOptions } from "./sampler.ts";

/** A chosen token. */
export interface Choice {
  id: number;
  /** Log-softmax of raw logits / temperature over the whole vocabulary (temperature 1 when greedy). */
  logProb: number;
}

/** Picks tokens of one generation; keeps the scratch arrays. */
export interface RowPicker {
  /** Draws from `row` with one uniform number; `history` are the ids of prompt and output, read only under a repetition penalty. */
  pick(row: Float32Array, history: () => ArrayLike<number>, u: number): Choice;
  /** Temperature at which {@link draw} may take probabilities instead of logits; undefined when only {@link pick} serves. */
  readonly drawTemperature: number | undefined;
  /**
   * Draws from probabilities at {@link drawTemperature}: the same choice without an exponential for every id. Undefined when
   * forbidden ids hold nearly everything, so that too little precision is left.
   */
  draw(probabilities: Float32Array, u: number): Choice | undefined;
}

/**
 * Picker for a vocabulary. Plain temperature sampling and argmax take one pass over the row; top-k, top-p and penalty go through
 * {@link processLogits}.
 */
export function createRowPicker(vocab: number, options: SamplingOptions): RowPicker {
  const temperature = options.temperature ?? 1;
  const allowed = new Uint8Array(vocab).fill(1);
  for (const id of options.forbiddenIds ?? []) if (id < vocab) allowed[id] = 0;
  const weights = new Float64Array(vocab);
  const plain = (options.topK ?? 0) === 0 && (options.topP ?? 1) === 1 && (options.repetitionPenalty ?? 1) === 1;
  const scale = temperature > 0 ? 1 / temperature : 1;

  return {
    drawTemperature: plain && temperature > 0 ? temperature : undefined,
    draw(probabilities, u) {
      let open = 0;
      for (let i = 0; i < vocab; i++) if (allowed[i] === 1) open += probabilities[i]!;
      if (!(open > 1e-6)) return undefined;
      const limit = u * open;
      let sum = 0;
      let last = 0;
      for (let i = 0; i < vocab; i++) {
        const p = probabilities[i]!;
        if (allowed[i] === 0 || p === 0) continue;
        sum += p;
        last = i;
        if (sum > limit) break;
      }
      return { id: last, logProb: Math.log(probabilities[last]!) };
    },
    pick(row, history, u) {
      let max = -Infinity;
      let best = -1;
      let bestValue = -Infinity;
      for (let i = 0; i < vocab; i++) {
        const value = row[i]!;
        if (value > max) max = value;
        if (value > bestValue && allowed[i] === 1) {
          bestValue = value;
          best = i;
        }
      }
      if (best < 0) refuseLogits();
      let total = 0;
      let open = 0;
      for (let i = 0; i < vocab; i++) {
        const weight = Math.exp((row[i]! - max) * scale);
        weights[i] = weight;
        total += weight;
        if (allowed[i] === 1) open += weight;
      }
      let id = best;
      if (!plain) id = pickToken(processLogits(row, history(), options), u);
      else if (temperature > 0) {
        const limit = u * open;
        let sum = 0;
        for (let i = 0; i < vocab; i++) {
          if (allowed[i] === 0) continue;
          sum += weights[i]!;
          if (sum > limit) {
            id = i;
            break;
          }
        }
      }
      return { id, logProb: (row[id]! - max) * scale - Math.log(total) };
    },
  };
}
