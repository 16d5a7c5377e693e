import { checkLabels, checkLength } from "./checks.ts";
import { LABELS } from "./classes.ts";
import { EvaluationError } from "./errors.ts";
import { isDistribution } from "./predictions.ts";
import { meanOf } from "./sums.ts";

/** Items whose top probability falls into one tenth. */
export interface ReliabilityBin {
  /** Lower edge, not included. */
  low: number;
  /** Upper edge, included. */
  high: number;
  /** Items. */
  n: number;
  /** Mean top probability; null without items. */
  confidence: number | null;
  /** Share of them whose likeliest class is the true one; null without items. */
  accuracy: number | null;
}

/** Error when only the most confident items are judged. */
export interface RiskPoint {
  /** Share of the items that are judged, 0 … 1; items of equal confidence stay together. */
  coverage: number;
  /** Share of them that are wrong. */
  risk: number;
}

/** Scores of class probabilities. */
export interface ProbabilityScores {
  /** Items. */
  n: number;
  /** Brier score, mean of Σ (p − 1[class])², 0 … 2; null without items. */
  brier: number | null;
  /** Ranked probability score over 4, 0 … 1; null without items. */
  rps: number | null;
  /** Expected calibration error of the top probability in ten bins (low, high], 0 … 1; null without items. */
  ece10: number | null;
  /** Expected class of each item, Σ k·p. */
  expected: number[];
  /** The ten bins behind `ece10`. */
  reliability: ReliabilityBin[];
  /** From the most confident items to all, at most 100 points. */
  riskCoverage: RiskPoint[];
}

const BINS = 10;
const CURVE_POINTS = 100;

/** The tenth that holds a probability: edges belong to the bin below. */
function binOf(probability: number): number {
  let bin = Math.min(BINS - 1, Math.max(0, Math.ceil(probability * BINS) - 1));
  if (bin > 0 && probability <= bin / BINS) bin--;
  if (bin < BINS - 1 && probability > (bin + 1) / BINS) bin++;
  return bin;
}

/** An item's top probability and whether its class is the true one; ties go to the lowest class. */
interface TopAnswer {
  confidence: number;
  right: number;
}

function reliabilityTable(answers: readonly TopAnswer[]): ReliabilityBin[] {
  return Array.from({ length: BINS }, (_, bin) => {
    const own = answers.filter(({ confidence }) => binOf(confidence) === bin);
    return { low: bin / BINS, high: (bin + 1) / BINS, n: own.length, confidence: meanOf(own.length, (i) => own[i]!.confidence), accuracy: meanOf(own.length, (i) => own[i]!.right) };
  });
}

function riskCoverageCurve(answers: readonly TopAnswer[]): RiskPoint[] {
  const sorted = [...answers].sort((a, b) => b.confidence - a.confidence);
  const n = sorted.length;
  const points: RiskPoint[] = [];
  let [wrong, next] = [0, 1];
  sorted.forEach(({ confidence, right }, i) => {
    wrong += 1 - right;
    const isEndOfTie = i + 1 === n || sorted[i + 1]!.confidence < confidence;
    if (!isEndOfTie || i + 1 < Math.ceil((next * n) / CURVE_POINTS)) return;
    points.push({ coverage: (i + 1) / n, risk: wrong / (i + 1) });
    next = Math.floor(((i + 1) * CURVE_POINTS) / n) + 1;
  });
  return points;
}

/**
 * Brier score, ranked probability score, calibration error, reliability table and risk–coverage curve of class probabilities.
 *
 * @param p    Five probabilities an item, summing to 1.
 * @param gold As many true classes.
 * @throws EvaluationError `LENGTH_MISMATCH`, `PROBABILITIES_INVALID`, `GOLD_INVALID`.
 */
export function probabilityScores(p: readonly (readonly number[])[], gold: ArrayLike<number>): ProbabilityScores {
  const n = p.length;
  checkLength(gold, p, "distributions");
  checkLabels(gold);
  p.forEach((shares, i) => {
    if (!isDistribution(shares)) throw new EvaluationError(`distribution ${i} is [${shares.join(", ")}]`, { code: "PROBABILITIES_INVALID", hint: "Give five probabilities that sum to 1." });
  });
  const answers = p.map((shares, i): TopAnswer => {
    const confidence = Math.max(...shares);
    return { confidence, right: shares.indexOf(confidence) + 1 === gold[i] ? 1 : 0 };
  });
  const reliability = reliabilityTable(answers);
  return {
    n,
    brier: meanOf(n, (i) => LABELS.reduce((sum, label, k) => sum + (p[i]![k]! - (label === gold[i] ? 1 : 0)) ** 2, 0)),
    rps: meanOf(n, (i) => rankedError(p[i]!, gold[i]!)),
    ece10: n === 0 ? null : reliability.reduce((sum, bin) => sum + (bin.n === 0 ? 0 : (bin.n / n) * Math.abs(bin.accuracy! - bin.confidence!)), 0),
    expected: p.map((shares) => shares.reduce((sum, share, k) => sum + share * (k + 1), 0)),
    reliability,
    riskCoverage: riskCoverageCurve(answers),
  };
}

/** Squared distance of the cumulated probabilities from the step at the true class, over 4. */
function rankedError(shares: readonly number[], label: number): number {
  let [cumulated, sum] = [0, 0];
  for (let k = 0; k < LABELS.length - 1; k++) {
    cumulated += shares[k]!;
    sum += (cumulated - (k + 1 >= label ? 1 : 0)) ** 2;
  }
  return sum / (LABELS.length - 1);
}
