/** Number, means and co-moments of a few variables: enough for variances of anything linear in them, and mergeable. */
export interface Moments {
  /** Observations. */
  n: number;
  /** One mean a variable. */
  means: Float64Array;
  /** Σ (x − x̄)(y − ȳ), a symmetric matrix by rows. */
  comoments: Float64Array;
}

/** Moments of nothing. */
export function emptyMoments(size: number): Moments {
  return { n: 0, means: new Float64Array(size), comoments: new Float64Array(size * size) };
}

/** Moments of columns of one length, in two passes, so that large means cost no digits. */
export function momentsOf(columns: readonly ArrayLike<number>[]): Moments {
  const size = columns.length;
  const n = columns[0]!.length;
  const moments = emptyMoments(size);
  if (n === 0) return moments;
  moments.n = n;
  for (let a = 0; a < size; a++) {
    const x = columns[a]!;
    let sum = 0;
    for (let i = 0; i < n; i++) sum += x[i]!;
    const centre = sum / n;
    moments.means[a] = centre;
    for (let b = 0; b <= a; b++) {
      const y = columns[b]!;
      const other = moments.means[b]!;
      let product = 0;
      for (let i = 0; i < n; i++) product += (x[i]! - centre) * (y[i]! - other);
      moments.comoments[a * size + b] = product;
      moments.comoments[b * size + a] = product;
    }
  }
  return moments;
}

/** Adds a block's moments to a total (Chan, Golub and LeVeque 1979). */
export function addMoments(total: Moments, block: Moments): void {
  if (block.n === 0) return;
  const size = total.means.length;
  const n = total.n + block.n;
  const weight = (total.n * block.n) / n;
  const shift = block.means.map((mean, i) => mean - total.means[i]!);
  for (let a = 0; a < size; a++) for (let b = 0; b < size; b++) total.comoments[a * size + b]! += block.comoments[a * size + b]! + weight * shift[a]! * shift[b]!;
  for (let a = 0; a < size; a++) total.means[a]! += (shift[a]! * block.n) / n;
  total.n = n;
}

/** Σ u·C·w: co-moment of two linear combinations of the variables. */
export function comoment({ comoments }: Moments, u: readonly number[], w: readonly number[]): number {
  let sum = 0;
  for (let a = 0; a < u.length; a++) for (let b = 0; b < w.length; b++) sum += u[a]! * w[b]! * comoments[a * u.length + b]!;
  return sum;
}
