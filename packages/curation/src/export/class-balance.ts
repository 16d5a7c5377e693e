import type { Quality } from "@dramascope/schema";

/** Counts of each class 1 … 5. */
export type ByClass = [number, number, number, number, number];

/** None of any class. */
export const noneOfAnyClass = (): ByClass => [0, 0, 0, 0, 0];

/** All classes together. */
export const sumOf = (counts: ByClass): number => counts.reduce((sum, count) => sum + count, 0);

const occurring = (counts: ByClass): number[] => counts.filter((count) => count > 0);

/**
 * Most records of a class under `balance: cap`: `factor` times the smallest class that occurs, rounded down, at least 1.
 * A class without any record limits nobody.
 */
export function classCap(counts: ByClass, factor: number): number {
  const present = occurring(counts);
  return present.length === 0 ? 0 : Math.max(1, Math.floor(Math.min(...present) * factor));
}

/** Weight of a class's records under `balance: weight`: every class that occurs weighs as much as any other, and the mean over all records is 1. */
export function classWeight(counts: ByClass, quality: Quality): number {
  return sumOf(counts) / (occurring(counts).length * counts[quality - 1]!);
}
