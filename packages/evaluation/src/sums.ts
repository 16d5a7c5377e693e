/** Sum of `term(0)` … `term(n − 1)`, compensated (Neumaier 1974), so that the order of the terms does not show. */
export function compensatedSum(n: number, term: (i: number) => number): number {
  let sum = 0;
  let lost = 0;
  for (let i = 0; i < n; i++) {
    const value = term(i);
    const next = sum + value;
    lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
    sum = next;
  }
  return sum + lost;
}

/** Mean of `term(0)` … `term(n − 1)`; null when n is 0. */
export function meanOf(n: number, term: (i: number) => number): number | null {
  return n === 0 ? null : compensatedSum(n, term) / n;
}

/** Population variance, in two passes; null without values. */
export function populationVariance(values: ArrayLike<number>): number | null {
  const centre = meanOf(values.length, (i) => values[i]!);
  return centre === null ? null : meanOf(values.length, (i) => (values[i]! - centre) ** 2);
}
