import { LABELS } from "./classes.ts";
import { meanOf } from "./sums.ts";

/** How one class fares. */
export interface ClassMetrics {
  /** The class, 1 … 5. */
  label: number;
  /** Items of this true class. */
  support: number;
  /** Items predicted as this class. */
  predicted: number;
  /** Share of the items predicted as this class that are of it, 0 … 1; null where nothing was predicted. */
  precision: number | null;
  /** Share of the items of this class that were predicted so, 0 … 1; null where there is no such item. */
  recall: number | null;
  /** Harmonic mean of both, 0 … 1; null where both are undefined. */
  f1: number | null;
}

/** Precision, recall and F1 of each class of a table of counts [true][predicted]. */
export function classMetrics(confusion: readonly (readonly number[])[]): ClassMetrics[] {
  return LABELS.map((label, i) => {
    const hits = confusion[i]![i]!;
    const support = confusion[i]!.reduce((a, b) => a + b, 0);
    const predicted = confusion.reduce((sum, row) => sum + row[i]!, 0);
    return {
      label,
      support,
      predicted,
      precision: predicted === 0 ? null : hits / predicted,
      recall: support === 0 ? null : hits / support,
      f1: support + predicted === 0 ? null : (2 * hits) / (support + predicted),
    };
  });
}

/** Cohen's weighted kappa: 1 − observed / expected disagreement; null when no disagreement is expected. */
export function weightedKappa(confusion: readonly (readonly number[])[], weight: (difference: number) => number): number | null {
  const rows = confusion.map((row) => row.reduce((a, b) => a + b, 0));
  const columns = LABELS.map((_, j) => confusion.reduce((sum, row) => sum + row[j]!, 0));
  const n = rows.reduce((a, b) => a + b, 0);
  let [observed, expected] = [0, 0];
  for (let i = 0; i < 5; i++) {
    for (let j = 0; j < 5; j++) {
      observed += weight(i - j) * confusion[i]![j]!;
      expected += (weight(i - j) * rows[i]! * columns[j]!) / Math.max(1, n);
    }
  }
  return expected === 0 ? null : 1 - observed / expected;
}

/** Means over classes: F1 over all five (an absent class counts 0), F1 and recall over the classes that occur in the truth; null without items. */
export function macroAverages(perClass: readonly ClassMetrics[]): { macroF1: number | null; macroF1Present: number | null; balancedAccuracy: number | null } {
  const present = perClass.filter(({ support }) => support > 0);
  return {
    macroF1: present.length === 0 ? null : meanOf(5, (i) => perClass[i]!.f1 ?? 0),
    macroF1Present: meanOf(present.length, (i) => present[i]!.f1!),
    balancedAccuracy: meanOf(present.length, (i) => present[i]!.recall!),
  };
}
