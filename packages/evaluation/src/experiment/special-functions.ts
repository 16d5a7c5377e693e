/** Relative size of a term below which a series or a continued fraction has converged. */
const EPSILON = 1e-16;
/** Keeps Lentz's quotients away from 0. */
const TINY = 1e-300;

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012,
  9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** ln Γ(x) for x > 0 (Lanczos's sum with g = 7 and nine terms, Godfrey 2001; 1e-15 relative). */
function logGamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const at = x - 1;
  const sum = LANCZOS.reduce((total, term, i) => total + (i === 0 ? term : term / (at + i)));
  return 0.5 * Math.log(2 * Math.PI) + (at + 0.5) * Math.log(at + 7.5) - (at + 7.5) + Math.log(sum);
}

/**
 * ln (Γ(x + ½) / Γ(x)) for x > 0, without the cancellation of two large logarithms: recurrence up to x ≥ 20, then the
 * asymptotic series ½ ln x − 1/(8x) + 1/(192x³) − 1/(640x⁵) + 17/(14336x⁷) (Tricomi and Erdélyi 1951).
 */
export function logGammaHalfStep(x: number): number {
  let at = x;
  let sum = 0;
  for (; at < 20; at++) sum -= Math.log1p(0.5 / at);
  const inverse = 1 / at;
  const square = inverse * inverse;
  return sum + 0.5 * Math.log(at) - inverse * (1 / 8 - square * (1 / 192 - square * (1 / 640 - (square * 17) / 14336)));
}

/** Bounds the steps of a continued fraction; those here need about √df. */
const MAX_STEPS = 1e6;

/** Lentz's method for 1 / (b₀ + a₁/(b₁ + a₂/(b₂ + …))) with b₀ given and `term(i)` = [aᵢ, bᵢ]; NaN gives NaN. */
function continuedFraction(first: number, term: (i: number) => readonly [a: number, b: number]): number {
  let c = 1 / TINY;
  let d = 1 / first;
  let value = d;
  for (let i = 1; i <= MAX_STEPS; i++) {
    const [a, b] = term(i);
    d = 1 / notZero(b + a * d);
    c = notZero(b + a / c);
    value *= c * d;
    if (!(Math.abs(c * d - 1) >= 4 * EPSILON)) return value;
  }
  return value;
}

const notZero = (x: number): number => (Math.abs(x) < TINY ? TINY : x);

/** Regularised upper incomplete gamma function Q(a, x), a > 0, x ≥ 0, also where it is very small (DLMF 8.7.1 and 8.9.2). */
export function upperGamma(a: number, x: number): number {
  if (x <= 0) return 1;
  if (x === Infinity) return 0;
  const front = Math.exp(a * Math.log(x) - x - logGamma(a));
  if (x < a + 1) {
    let term = 1 / a;
    let sum = term;
    for (let i = 1; term > sum * EPSILON; i++) {
      term *= x / (a + i);
      sum += term;
    }
    return 1 - front * sum;
  }
  return front * continuedFraction(x + 1 - a, (i) => [-i * (i - a), x + 2 * i + 1 - a]);
}

/**
 * Continued fraction of the incomplete beta function (DLMF 8.17.22): Iₓ(a, b) = xᵃ(1−x)ᵇ / (a B(a, b)) times this.
 * Converges fast for x < (a + 1)/(a + b + 2).
 */
export function betaFraction(a: number, b: number, x: number): number {
  return continuedFraction(1, (i) => {
    const m = i >> 1;
    const numerator = i % 2 === 0 ? (m * (b - m)) / ((a + 2 * m - 1) * (a + 2 * m)) : (-(a + m) * (a + b + m)) / ((a + 2 * m) * (a + 2 * m + 1));
    return [numerator * x, 1];
  });
}
