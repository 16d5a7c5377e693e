/** Tokens of one sample. */
export interface SampleLength {
  prompt: number;
  answer: number;
}

/**
 * Samples put together so that each part, padded to its longest prompt and answer, has at most `maxTokens` tokens; a longer sample is alone. Samples of like lengths
 * stand together, each part in order of the given places, so that the parts are a function of the lengths alone.
 *
 * @returns Places of each part's samples.
 */
export function cutByTokens(lengths: readonly SampleLength[], maxTokens: number): number[][] {
  const total = (i: number): number => lengths[i]!.prompt + lengths[i]!.answer;
  const order = Array.from(lengths.keys()).sort((a, b) => total(a) - total(b) || a - b);
  const parts: number[][] = [];
  let [prompt, answer] = [0, 0];
  for (const i of order) {
    const part = parts.at(-1);
    const [longestPrompt, longestAnswer] = [Math.max(prompt, lengths[i]!.prompt), Math.max(answer, lengths[i]!.answer)];
    if (part && (part.length + 1) * (longestPrompt + longestAnswer) <= maxTokens) {
      part.push(i);
      [prompt, answer] = [longestPrompt, longestAnswer];
    } else {
      parts.push([i]);
      [prompt, answer] = [lengths[i]!.prompt, lengths[i]!.answer];
    }
  }
  return parts.map((part) => part.sort((a, b) => a - b));
}
