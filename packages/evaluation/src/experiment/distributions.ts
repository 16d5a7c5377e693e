import { betaFraction, logGammaHalfStep, upperGamma } from "./special-functions.ts";

/** P(X > x) of the χ² distribution with `df` degrees of freedom; accurate also far out. */
export function chiSquareTail(x: number, df: number): number {
  return upperGamma(df / 2, x / 2);
}

/** P(Z > z) of the standard normal distribution; accurate also far out. */
export function normalTail(z: number): number {
  return z < 0 ? 1 - normalTail(-z) : upperGamma(0.5, (z * z) / 2) / 2;
}

/** P(T > t) of Student's distribution with `df` > 0 degrees of freedom, by the incomplete beta function (DLMF 8.17); accurate also far out. */
export function studentTail(t: number, df: number): number {
  if (t < 0) return 1 - studentTail(-t, df);
  const square = (t * t) / df;
  if (square === Infinity) return 0;
  const a = df / 2;
  const x = 1 / (1 + square);
  const y = square / (1 + square);
  const front = Math.exp(logGammaHalfStep(a) - 0.5 * Math.log(Math.PI) - a * Math.log1p(square) + 0.5 * Math.log(y));
  if (x < (a + 1) / (a + 2.5)) return (front * betaFraction(a, 0.5, x)) / (2 * a);
  return 0.5 - front * betaFraction(0.5, a, y);
}

const normalDensity = (z: number): number => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);

const studentDensity = (t: number, df: number): number => Math.exp(logGammaHalfStep(df / 2) - 0.5 * Math.log(Math.PI * df) - ((df + 1) / 2) * Math.log1p((t * t) / df));

/**
 * The positive x with tail(x) = p < ½. Newton's steps on the logarithm of the tail against ln x: that curve is concave for these
 * distributions, so that the steps converge from any start. The start is Abramowitz and Stegun 26.2.23.
 */
function upperQuantile(p: number, tail: (x: number) => number, density: (x: number) => number): number {
  const s = Math.sqrt(-2 * Math.log(p));
  let x = Math.max(1e-8, s - (2.515517 + 0.802853 * s + 0.010328 * s * s) / (1 + 1.432788 * s + 0.189269 * s * s + 0.001308 * s * s * s));
  for (let i = 0; i < 100; i++) {
    const q = tail(x);
    const step = ((Math.log(q) - Math.log(p)) * q) / (density(x) * x);
    x *= Math.exp(step);
    if (Math.abs(step) < 1e-15) break;
  }
  return x;
}

const symmetric = (p: number, upper: (tail: number) => number): number => (p === 0.5 ? 0 : p < 0.5 ? -upper(p) : upper(1 - p));

/** Quantile of the standard normal distribution, 0 < p < 1. */
export function normalQuantile(p: number): number {
  return symmetric(p, (tail) => upperQuantile(tail, normalTail, normalDensity));
}

/** Quantile of Student's distribution with `df` degrees of freedom, 0 < p < 1. */
export function studentQuantile(p: number, df: number): number {
  return symmetric(p, (tail) => upperQuantile(tail, (t) => studentTail(t, df), (t) => studentDensity(t, df)));
}
