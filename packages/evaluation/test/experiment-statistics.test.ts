import { readFileSync } from "node:fs";
import { cuped, lift, ratioStats, sequentialHalfWidth, srm, type Lift, type Summary } from "@dramascope/evaluation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chiSquareTail, normalQuantile, normalTail, studentQuantile, studentTail } from "../src/experiment/distributions.ts";

interface GoldenLift { estimate: number; se: number; df: number; lo: number; hi: number; p: number; baselineZ: number }
interface Goldens {
  lift: { a: Summary; b: Summary; relative: GoldenLift; absolute: GoldenLift }[];
  srm: { counts: number[]; weights: number[]; expect: { chi2: number; df: number; p: number } }[];
  ratio: { num: number[]; den: number[]; expect: Summary }[];
  cuped: { y: number[]; x: number[]; expect: { theta: number; varianceRatio: number } }[];
  sequential: { varianceOfMean: number; n: number; alpha: number; nStar: number; halfWidth: number; fixed: number }[];
}
const goldens = JSON.parse(readFileSync(new URL("../../../test-fixtures/goldens/evaluation/experiment.json", import.meta.url), "utf8")) as Goldens;
const near = (actual: number | null, expected: number, relative = 1e-9): void => expect(Math.abs(actual! - expected) / (Math.abs(expected) || 1)).toBeLessThanOrEqual(relative);
const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;

describe("against the reference implementation", () => {
  const check = (actual: Lift, { lo, hi, p, ...rest }: GoldenLift): void => {
    for (const [name, value] of Object.entries(rest)) near(actual[name as "estimate"], value);
    near(actual.low, lo);
    near(actual.high, hi);
    near(actual.p, p, 1e-6);
  };
  it.each(goldens.lift)("lift of $a.n and $b.n users", ({ a, b, relative, absolute }) => {
    check(lift(a, b), relative);
    check(lift(a, b, { relative: false }), absolute);
  });

  it.each(goldens.srm)("sample ratio of $counts", ({ counts, weights, expect: expected }) => {
    const found = srm(counts, weights);
    near(found.chi2, expected.chi2);
    near(found.p, expected.p, 1e-6);
    expect(found).toMatchObject({ df: expected.df, isMismatch: expected.p < 0.001 });
  });

  it("ratio statistics, pre-period adjustment and sequential widths", () => {
    for (const { num, den, expect: expected } of goldens.ratio) {
      const found = ratioStats(num, den);
      near(found.mean, expected.mean);
      near(found.variance, expected.variance);
      expect(found.n).toBe(expected.n);
    }
    for (const { y, x, expect: expected } of goldens.cuped) {
      const found = cuped(y, x);
      near(found.theta, expected.theta);
      near(found.varianceRatio, expected.varianceRatio);
    }
    for (const { halfWidth, fixed, alpha, nStar, ...input } of goldens.sequential) {
      near(sequentialHalfWidth(input, { alpha, nStar }), halfWidth);
      expect(halfWidth / fixed).toBeGreaterThan(1.4);
    }
  });
});

describe("tails", () => {
  it.each([
    ["two degrees of freedom have a closed form", (t: number): number => studentTail(t, 2), (t: number): number => 1 / (Math.sqrt(2 + t * t) * (Math.sqrt(2 + t * t) + t))],
    ["one degree of freedom is Cauchy's", (t: number): number => studentTail(t, 1), (t: number): number => Math.atan(1 / t) / Math.PI],
    ["four degrees of freedom", (t: number): number => studentTail(t, 4), (t: number): number => tailOfFour(t)],
    ["χ² with two degrees of freedom is exponential", (t: number): number => chiSquareTail(2 * t, 2), (t: number): number => Math.exp(-t)],
    ["χ² with four degrees of freedom", (t: number): number => chiSquareTail(2 * t, 4), (t: number): number => Math.exp(-t) * (1 + t)],
    ["χ² with one degree of freedom is a squared normal", (t: number): number => chiSquareTail(t * t, 1) / 2, normalTail],
  ] as const)("%s", (_, actual, expected) => {
    for (const t of [0.01, 0.3, 1, 1.7, 2.5, 5, 12, 30]) near(actual(t), expected(t), 1e-11);
  });

  // Reference values from R 4 (pt, pchisq, pnorm, qt), lower.tail = FALSE.
  it.each([
    [normalTail(10), 7.619853024160527e-24],
    [normalTail(37), 5.7255712225245e-300],
    [studentTail(40, 1e8), normalTail(40) * Math.exp(40 ** 4 / 4e8)],
    [studentQuantile(0.975, 1), 12.706204736174694],
    [studentQuantile(0.975, 10), 2.228138851964939],
    [studentQuantile(0.975, 1e9), 1.959963986912],
    [normalQuantile(0.8), 0.8416212335729143],
  ])("%f is %f", (actual, expected) => near(actual, expected, 1e-6));

  it("and quantiles undo each other", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-12, max: 0.499, noNaN: true }), fc.double({ min: 0.5, max: 7, noNaN: true }), (p, magnitude) => {
        const df = 10 ** magnitude;
        near(studentTail(-studentQuantile(p, df), df), p, 1e-9);
        near(normalTail(-normalQuantile(p)), p, 1e-9);
        near(studentTail(-1.3, df), 1 - studentTail(1.3, df), 1e-14);
      }),
    );
  });
});

/** P(T > t) for four degrees of freedom in a form without cancellation: (1 − s)²(2 + s)/4 with s = t/√(4 + t²). */
function tailOfFour(t: number): number {
  const root = Math.sqrt(4 + t * t);
  const gap = 4 / (root * (root + t));
  return (gap ** 2 * (3 - gap)) / 4;
}

describe("lift", () => {
  it.each([1e-82, 1e-30, 1e30, 1e80])("is the same in a unit %s times as large", (unit) => {
    const scaled = (mean: number, variance: number): Summary => ({ mean: mean * unit, variance: variance * unit * unit, n: 1000 });
    const [plain, large] = [lift({ mean: 10, variance: 100, n: 1000 }, { mean: 11, variance: 121, n: 1000 }), lift(scaled(10, 100), scaled(11, 121))];
    for (const name of ["estimate", "se", "df", "low", "high", "p"] as const) expect(large[name]).toBeCloseTo(plain[name]!, 9);
  });

  it("refuses sizes whose products are not finite, and ends on them in any case", () => {
    expect(() => lift({ mean: 1e120, variance: 1, n: 10 }, { mean: 1, variance: 1, n: 10 })).toThrow(expect.objectContaining({ code: "SUMMARY_INVALID" }) as Error);
    expect(() => lift({ mean: 1, variance: 1e300, n: 10 }, { mean: 1, variance: 1, n: 10 })).toThrow(expect.objectContaining({ code: "SUMMARY_INVALID" }) as Error);
  });

  const arm = (mean: number, variance: number, n = 1000): Summary => ({ mean, variance, n });
  it("sets Fieller's interval beside a weak baseline", () => {
    const interval = lift(arm(0.1, 1), arm(0.3, 1));
    expect(interval).toMatchObject({ warning: "weak-baseline", fieller: { shape: "interval" } });
    if (interval.fieller?.shape !== "interval") throw new Error("not an interval");
    // The ends are the lifts at which the difference is just significant.
    for (const end of [interval.fieller.low, interval.fieller.high]) {
      const ratio = 1 + end;
      near(Math.abs(0.3 - ratio * 0.1) / Math.sqrt(1e-3 * (1 + ratio ** 2)), studentQuantile(0.975, interval.df!), 1e-9);
    }
    expect(lift(arm(0.01, 1), arm(0.3, 1)).fieller?.shape).toBe("two-rays");
    expect(lift(arm(0.01, 1), arm(0.02, 1)).fieller).toEqual({ shape: "everything" });
    expect(lift(arm(0.1, 1), arm(0.3, 1), { relative: false })).not.toHaveProperty("fieller");
    expect(lift(arm(1, 1), arm(1, 1))).not.toHaveProperty("warning");
  });

  it.each([1e-80, 1e80])("Fieller's set is the same in a unit %s times as large", (unit) => {
    const scaled = (mean: number): Summary => ({ mean: mean * unit, variance: unit * unit, n: 1000 });
    const [plain, large] = [lift(arm(0.1, 1), arm(0.3, 1)).fieller, lift(scaled(0.1), scaled(0.3)).fieller];
    if (plain?.shape !== "interval" || large?.shape !== "interval") throw new Error("not an interval");
    near(large.low, plain.low);
    near(large.high, plain.high);
  });

  it("has no relative lift where no number holds the quotient", () => {
    expect(lift(arm(1e-300, 0), arm(1e100, 1))).toMatchObject({ estimate: null, se: null, p: null, undefined: "zero-baseline" });
  });

  it("agrees with Fieller where the baseline is strong", () => {
    const strong = lift(arm(0.158, 1), arm(0.18, 1));
    if (strong.fieller?.shape !== "interval") throw new Error("expected Fieller's interval at 4.996 standard errors");
    expect(Math.abs(strong.fieller.low - strong.low!)).toBeLessThan(0.2);
  });

  it("says why a figure is missing", () => {
    expect(lift(arm(0, 1), arm(1, 1))).toMatchObject({ estimate: null, p: null, undefined: "zero-baseline" });
    expect(lift(arm(2, 0), arm(3, 0))).toMatchObject({ estimate: 0.5, p: null, low: null, undefined: "no-variance" });
    expect(JSON.stringify([lift(arm(0, 0), arm(0, 0)), lift(arm(1, 0), arm(0, 0))])).not.toMatch(/NaN|Infinity/u);
  });

  it.each([
    ["one user", () => lift(arm(1, 1, 1), arm(1, 1))],
    ["a negative variance", () => lift(arm(1, 1), arm(1, -1))],
    ["no number", () => lift(arm(Number.NaN, 1), arm(1, 1))],
  ])("refuses %s", (_, act) => expect(act).toThrow(code("SUMMARY_INVALID")));

  it("refuses what is not a ratio, a pair or an experiment", () => {
    expect(() => ratioStats([1, 2], [0, 0])).toThrow(code("RATIO_UNDEFINED"));
    expect(() => ratioStats([1, 2], [1])).toThrow(code("LENGTH_MISMATCH"));
    expect(() => cuped([1], [1])).toThrow(code("LENGTH_MISMATCH"));
    expect(() => srm([1, 2], [1, 0])).toThrow(code("SRM_INVALID"));
    expect(() => cuped([1, 2], [1, Number.NaN])).toThrow(code("VALUE_INVALID"));
    expect(() => lift(arm(1, 1), arm(1, 1), { alpha: 0 })).toThrow(code("OPTION_INVALID"));
    expect(() => sequentialHalfWidth({ varianceOfMean: 1, n: 0 }, { alpha: 0.05, nStar: 100 })).toThrow(code("OPTION_INVALID"));
  });

  it("takes nothing out where the pre-period says nothing", () => {
    expect(cuped([1, 2, 3], [5, 5, 5])).toMatchObject({ theta: 0, varianceRatio: 1 });
    expect(cuped([2, 2, 2], [1, 5, 3])).toMatchObject({ theta: 0, varianceRatio: null });
  });
});

describe("values of any size", () => {
  const users = Array.from({ length: 40 }, (_, i) => i + 1);
  const times = (unit: number): number[] => users.map((value) => value * unit);
  const before = users.map((value) => 1 + ((value * 3) % 11));

  it.each([1e-80, 1e80])("ratios, CUPED and sequential intervals are the same in a unit %s times as large", (unit) => {
    near(ratioStats(times(unit), before).mean, unit * ratioStats(users, before).mean);
    near(ratioStats(times(unit), before).variance, unit ** 2 * ratioStats(users, before).variance);
    near(cuped(times(unit), before).varianceRatio, cuped(users, before).varianceRatio!);
    near(cuped(users, before.map((value) => value * unit)).varianceRatio, cuped(users, before).varianceRatio!);
    near(sequentialHalfWidth({ varianceOfMean: unit ** 2, n: 40 }, { alpha: 0.05, nStar: 40 }), unit * sequentialHalfWidth({ varianceOfMean: 1, n: 40 }, { alpha: 0.05, nStar: 40 }));
  });

  it("whose squares are not finite are refused", () => {
    expect(() => ratioStats(times(1e160), before)).toThrow(code("SUMMARY_INVALID"));
    expect(() => ratioStats(users, times(1e160))).toThrow(code("SUMMARY_INVALID"));
    expect(() => cuped(times(1e160), before)).toThrow(code("VALUE_INVALID"));
    expect(() => cuped(users, times(1e160))).toThrow(code("VALUE_INVALID"));
    expect(sequentialHalfWidth({ varianceOfMean: 1e308, n: 1e6 }, { alpha: 0.05, nStar: 1e6 })).toBeLessThan(1e155);
  });
});
