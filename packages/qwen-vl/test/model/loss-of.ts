/** Σ of the weighted mean log-probabilities of completions, with its derivative: -1 for one completion is its mean negative log-likelihood. */
export const lossOf = (weights: readonly number[]) => (logProbs: Float32Array[]): { loss: number; dLogProbs: Float32Array[] } => {
  let loss = 0;
  const dLogProbs = logProbs.map((values, i) => {
    const each = weights[i]! / values.length;
    for (const value of values) loss += each * value;
    return new Float32Array(values.length).fill(each);
  });
  return { loss, dLogProbs };
};
