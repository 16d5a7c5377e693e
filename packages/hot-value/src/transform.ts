/** Scale on which hot values are clustered. */
export type Transform = "none" | "log1p" | { winsorize: number };

/**
 * The scale of the clustering and the way back.
 *
 * @param sorted Hot values, ascending; they tell where `winsorize` cuts: at its share of the values from either end.
 */
export function createTransform(transform: Transform, sorted: Float64Array): { apply: (value: number) => number; invert: (value: number) => number } {
  const same = (value: number): number => value;
  if (transform === "none") return { apply: same, invert: same };
  if (transform === "log1p") return { apply: Math.log1p, invert: Math.expm1 };
  const skipped = Math.floor(sorted.length * transform.winsorize);
  const [low, high] = [sorted[skipped]!, sorted[sorted.length - 1 - skipped]!];
  return { apply: (value) => Math.min(high, Math.max(low, value)), invert: same };
}
