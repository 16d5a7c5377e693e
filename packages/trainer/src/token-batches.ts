import type { QwenVlConfig } from "@dramascope/qwen-vl";
import { layerParameters } from "./run-plan.ts";

/** Tokens of one sample. */
export interface SampleLength {
  prompt: number;
  answer: number;
}

/** Tokens that cost as much as short products lose against long ones in a call. */
const LEAST_CALL_TOKENS = 16;
/** Values of the linears times tokens that cost as much as a call does beside its products: calls of a new shape are compiled first, and small models have many calls in the time of a compilation. */
const CALL_PRODUCTS = 2e9;

/** What a call of a model costs beside its tokens, in tokens. */
export function callTokens(config: QwenVlConfig): number {
  return LEAST_CALL_TOKENS + CALL_PRODUCTS / (config.text.layers * layerParameters(config));
}

/**
 * Samples put together into calls of the model, which compute each sample by itself but pad it to the longest prompt and answer of its call. Samples of like lengths stand together, so that
 * padding and calls cost the least; a call has at most `maxTokens` tokens, unless it is one sample. Each call is in order of the given places, so that calls are a function of the lengths alone.
 *
 * @param cost What a call costs beside its tokens, see {@link callTokens}.
 * @returns   Places of each call's samples.
 */
export function cutByTokens(lengths: readonly SampleLength[], maxTokens: number, cost: number): number[][] {
  const tokens = (i: number): number => lengths[i]!.prompt + lengths[i]!.answer;
  const order = Array.from(lengths.keys()).sort((a, b) => tokens(a) - tokens(b) || a - b);
  // The cheapest way to compute the first so many samples, by the start of its last call.
  const ways = [{ cost: 0, start: 0 }];
  for (let end = 1; end <= order.length; end++) {
    let [prompt, answer] = [0, 0];
    let best = { cost: Number.POSITIVE_INFINITY, start: end - 1 };
    for (let start = end - 1; start >= 0; start--) {
      const { prompt: ownPrompt, answer: ownAnswer } = lengths[order[start]!]!;
      [prompt, answer] = [Math.max(prompt, ownPrompt), Math.max(answer, ownAnswer)];
      const padded = (end - start) * (prompt + answer);
      if (padded > maxTokens && end - start > 1) break;
      const total = ways[start]!.cost + padded + cost;
      if (total < best.cost) best = { cost: total, start };
    }
    ways.push(best);
  }
  const calls: number[][] = [];
  for (let end = order.length; end > 0; end = ways[end]!.start) calls.unshift(order.slice(ways[end]!.start, end).sort((a, b) => a - b));
  return calls;
}
