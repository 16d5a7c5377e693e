import { EvaluationError } from "./errors.ts";
import { isDistribution } from "./predictions.ts";

/**
 * Class probabilities for a catalogue with other shares of the classes than the one that the model was trained on (Saerens et al. 2002):
 * p′ ∝ p · to / from.
 *
 * @param p         Five probabilities.
 * @param fromPrior Shares of the classes in the training data, none 0 where `p` is not.
 * @param toPrior   Shares of the classes in the catalogue.
 * @returns Five probabilities that sum to 1.
 * @throws EvaluationError `PROBABILITIES_INVALID`.
 */
export function reweight(p: readonly number[], fromPrior: readonly number[], toPrior: readonly number[]): number[] {
  for (const shares of [p, fromPrior, toPrior]) {
    if (!isDistribution(shares)) throw new EvaluationError(`[${shares.join(", ")}] is not a distribution over five classes`, { code: "PROBABILITIES_INVALID", hint: "Give five shares that sum to 1." });
  }
  const raw = p.map((share, i) => (share === 0 ? 0 : (share * toPrior[i]!) / fromPrior[i]!));
  const sum = raw.reduce((a, b) => a + b, 0);
  if (!(sum > 0 && Number.isFinite(sum))) throw new EvaluationError("the two priors exclude each other's classes", { code: "PROBABILITIES_INVALID", hint: "Give every class that occurs a share above 0 in both priors." });
  return raw.map((share) => share / sum);
}
