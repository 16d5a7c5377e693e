/** Precision, recall and their harmonic mean, each 0 … 1. */
export interface RougeScore {
  /** Hits per n-gram of the prediction. */
  precision: number;
  /** Hits per n-gram of the target. */
  recall: number;
  /** 2PR / (P + R); 0 when both are 0. */
  fmeasure: number;
}

/** Score from counts; an empty side counts as one n-gram, as in Google's package. */
export function scoreOf(hits: number, predicted: number, wanted: number): RougeScore {
  const precision = hits / Math.max(predicted, 1);
  const recall = hits / Math.max(wanted, 1);
  return { precision, recall, fmeasure: precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0 };
}
