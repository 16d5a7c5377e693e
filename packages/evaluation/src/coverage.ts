/** How much was answered, and what missing answers cost. */
export interface Coverage {
  n: number;
  answered: number;
  /** Share answered; null without items. */
  coverage: number | null;
  /** A missing answer is wrong. */
  accuracy: number | null;
  /** Over answered items. */
  mseAnswered: number | null;
  /** Missing answers count as 3. */
  mseImputed3: number | null;
  /** Missing answers count as the class farthest away. */
  mseWorst: number | null;
}

/** Accuracy and squared error with missing answers (null) counted in three ways. */
export function computeCoverage(gold: ArrayLike<number>, predictions: readonly (number | null)[]): Coverage {
  const n = gold.length;
  const share = (sum: number, of: number): number | null => (of === 0 ? null : sum / of);
  let [answered, hits, squared, imputed, worst] = [0, 0, 0, 0, 0];
  predictions.forEach((prediction, i) => {
    const truth = gold[i]!;
    if (prediction === null) {
      imputed += (3 - truth) ** 2;
      worst += Math.max(truth - 1, 5 - truth) ** 2;
      return;
    }
    answered++;
    if (Math.min(5, Math.max(1, Math.floor(prediction + 0.5))) === truth) hits++;
    squared += (prediction - truth) ** 2;
  });
  return {
    n,
    answered,
    coverage: share(answered, n),
    accuracy: share(hits, n),
    mseAnswered: share(squared, answered),
    mseImputed3: share(squared + imputed, n),
    mseWorst: share(squared + worst, n),
  };
}
