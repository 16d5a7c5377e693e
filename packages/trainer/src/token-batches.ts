/** Tokens of one sample. */
export interface SampleLength {
  prompt: number;
  answer: number;
}

/** What a call costs beside its tokens, in tokens: 30 to 150 with models of 1 to 25 million weights on one thread, less with larger ones. */
const CALL_TOKENS = 64;

/**
 * Samples put together into calls of the model, which compute each sample by itself but pad it to the longest prompt and answer of its call. Samples of like lengths stand together, so that
 * padding and calls cost the least; a call has at most `maxTokens` tokens, unless it is one sample. Each call is in order of the given places, so that calls are a function of the lengths alone.
 *
 * @returns Places of each call's samples.
 */
export function cutByTokens(lengths: readonly SampleLength[], maxTokens: number): number[][] {
  const total = (i: number): number => lengths[i]!.prompt + lengths[i]!.answer;
  const order = Array.from(lengths.keys()).sort((a, b) => total(a) - total(b) || a - b);
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
      const cost = ways[start]!.cost + padded + CALL_TOKENS;
      if (cost < best.cost) best = { cost, start };
    }
    ways.push(best);
  }
  const calls: number[][] = [];
  for (let end = order.length; end > 0; end = ways[end]!.start) calls.unshift(order.slice(ways[end]!.start, end).sort((a, b) => a - b));
  return calls;
}
