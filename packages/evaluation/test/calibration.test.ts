import {
  applyCalibration, calibrationFile, calibrationTable, conformalClasses, conformalInterval, conformalQuantile, createRandom, crossConformal, crossFit, fitAffine, fitIsotonic, heldOutCalibration, nameCalibration, parseCalibration, probabilityScores, reweight,
  scoreFromLogprobs, scoreFromSamples, type ProbabilityScores, type ScoreDistribution,
} from "@dramascope/evaluation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agree, code, golden } from "./goldens.ts";

interface Goldens {
  isotonic: { x: number[]; y: number[]; w: number[]; at: number[]; expect: { knots: number[]; values: number[]; predict: number[] } }[];
  affine: { x: number[]; y: number[]; intercept: number; slope: number; mseAfter: number }[];
  probabilities: { p: number[][]; gold: number[]; expect: Partial<ProbabilityScores> }[];
  logprobs: ({ logprobs: (number | null)[] } & ScoreDistribution)[];
  conformal: { residuals: number[]; alpha: number; q: number | null }[];
}
const data = golden<Goldens>("calibration.json");
const points = fc.array(fc.record({ x: fc.integer({ min: 0, max: 12 }), y: fc.double({ min: -5, max: 5, noNaN: true }), w: fc.double({ min: 0.1, max: 4, noNaN: true }) }), { minLength: 1, maxLength: 40 });

describe("score modes", () => {
  it("take the expectation of log-probabilities", () => {
    for (const { logprobs, mass, p, expected, std } of data.logprobs) agree(scoreFromLogprobs(logprobs, { minMass: 0 }), { mass, p, expected, std });
    agree(scoreFromLogprobs([0.02, 0.08, 0.15, 0.35, 0.4].map(Math.log)).expected, 4.03);
    expect(scoreFromLogprobs([-5, -5, -5, -5, -5])).toMatchObject({ p: null, expected: null, std: null, reason: "low-mass" });
    expect(scoreFromLogprobs([null, null, null, null, null])).toEqual({ mass: 0, p: null, expected: null, std: null, reason: "low-mass" });
    expect(scoreFromLogprobs([0, -Infinity, null, null, null])).toMatchObject({ mass: 1, expected: 1, std: 0 });
    for (const bad of [[0, 0, 0, 0], [0.5, null, null, null, null], [Number.NaN, 0, 0, 0, 0]]) expect(() => scoreFromLogprobs(bad)).toThrow(code("LOGPROBS_INVALID"));
  });

  it.each([
    [[3, 4, 5, null], { n: 3, mean: 4, counts: [0, 0, 1, 1, 1], majority: 4 }],
    [[1, 1, 2, 5, 5], { n: 5, mean: 2.8, majority: 1 }],
    [[2, 4], { mean: 3, std: 1, majority: 2 }],
    [[3.4, 3.6], { mean: 3.5, counts: [0, 0, 1, 1, 0], majority: 3 }],
    [[7, 0, Number.NaN, null], { n: 0, mean: null, std: null, majority: null, reason: "no-valid-sample" }],
    [[], { n: 0, mean: null, reason: "no-valid-sample" }],
  ])("take the mean of samples %j", (scores, expected) => {
    expect(scoreFromSamples(scores)).toMatchObject(expected);
  });
});

describe("probabilities", () => {
  it("are scored as the reference does", () => {
    for (const { p, gold, expect: expected } of data.probabilities) agree(probabilityScores(p, gold), expected);
  });

  it("fall into bins whose upper edge belongs to them", () => {
    const rows = [[0.3, 0.3, 0.2, 0.1, 0.1], [0.7, 0.3, 0, 0, 0], [0.1, 0.2, 0.2, 0.2, 0.3], [1, 0, 0, 0, 0]];
    const { reliability, n } = probabilityScores(rows, [1, 1, 5, 2]);
    expect(reliability.map((bin) => bin.n)).toEqual([0, 0, 2, 0, 0, 0, 1, 0, 0, 1]);
    expect(reliability[2]).toMatchObject({ low: 0.2, high: 0.3, accuracy: 1 });
    expect(reliability.reduce((sum, bin) => sum + bin.n, 0)).toBe(n);
  });

  it("make a curve from the surest items to all, ties whole", () => {
    const sure = [0, 0, 0.1, 0.9, 0];
    const unsure = [0.5, 0.5, 0, 0, 0];
    expect(probabilityScores([unsure, sure, unsure, sure], [1, 4, 2, 4]).riskCoverage).toEqual([{ coverage: 0.5, risk: 0 }, { coverage: 1, risk: 0.25 }]);
    const random = createRandom(1);
    const many = Array.from({ length: 5000 }, () => {
      const raw = Array.from({ length: 5 }, () => random.uniform());
      const sum = raw.reduce((a, b) => a + b);
      return raw.map((value) => value / sum);
    });
    const curve = probabilityScores(many, many.map(() => 3)).riskCoverage;
    expect(curve.length).toBe(100);
    expect(curve.at(-1)!.coverage).toBe(1);
  });

  it("refuse what is none", () => {
    expect(() => probabilityScores([[0.5, 0.5, 0, 0]], [1])).toThrow(code("PROBABILITIES_INVALID"));
    expect(() => probabilityScores([[0.5, 0.6, 0, 0, 0]], [1])).toThrow(code("PROBABILITIES_INVALID"));
    expect(() => probabilityScores([[1, 0, 0, 0, 0]], [7])).toThrow(code("GOLD_INVALID"));
    expect(() => probabilityScores([], [1])).toThrow(code("LENGTH_MISMATCH"));
    expect(probabilityScores([], [])).toMatchObject({ n: 0, brier: null, rps: null, ece10: null, riskCoverage: [] });
  });

  it("follow other shares of the classes", () => {
    const flat = [0.2, 0.2, 0.2, 0.2, 0.2];
    agree(reweight(flat, flat, [0.5, 0.2, 0.1, 0.1, 0.1]), [0.5, 0.2, 0.1, 0.1, 0.1]);
    agree(reweight([0.1, 0.2, 0.3, 0.3, 0.1], flat, flat), [0.1, 0.2, 0.3, 0.3, 0.1]);
    expect(() => reweight(flat, [1, 0, 0, 0, 0], flat)).toThrow(code("PROBABILITIES_INVALID"));
    expect(() => reweight([1, 0, 0, 0, 0], flat, [0, 1, 0, 0, 0])).toThrow(code("PROBABILITIES_INVALID"));
  });
});

describe("isotonic curves", () => {
  it("are those of the reference", () => {
    for (const { x, y, w, at, expect: expected } of data.isotonic) {
      const model = fitIsotonic({ x, y, weights: w });
      agree(model, { knots: expected.knots, values: expected.values });
      agree(at.map((score) => applyCalibration(model, score)), expected.predict);
    }
  });

  it("never fall, keep the weighted mean, and are no worse than any other rising curve", () => {
    fc.assert(fc.property(points, fc.array(fc.double({ min: 0, max: 2, noNaN: true }), { minLength: 13, maxLength: 13 }), fc.double({ min: -5, max: 0, noNaN: true }), (rows, steps, start) => {
      const [x, y, weights] = [rows.map((row) => row.x), rows.map((row) => row.y), rows.map((row) => row.w)];
      const model = fitIsotonic({ x, y, weights });
      expect(model.values.every((value, i) => i === 0 || value >= model.values[i - 1]! - 1e-12)).toBe(true);
      const fitted = x.map((score) => applyCalibration(model, score));
      const total = (values: readonly number[]): number => values.reduce((sum, value, i) => sum + weights[i]! * value, 0);
      expect(total(fitted)).toBeCloseTo(total(y), 6);
      const other = x.map((score) => steps.slice(0, score + 1).reduce((sum, step) => sum + step, start));
      const loss = (values: readonly number[]): number => values.reduce((sum, value, i) => sum + weights[i]! * (value - y[i]!) ** 2, 0);
      expect(loss(fitted)).toBeLessThanOrEqual(loss(other) + 1e-9);
    }));
  });

  it("refuse data without a pair", () => {
    for (const bad of [{ x: [], y: [] }, { x: [1], y: [1, 2] }, { x: [1], y: [Number.NaN] }, { x: [1], y: [1], weights: [0] }]) expect(() => fitIsotonic(bad)).toThrow(code("CALIBRATION_DATA"));
  });
});

describe("straight lines", () => {
  it("are those of the reference", () => {
    for (const { x, y, intercept, slope, mseAfter } of data.affine) {
      const model = fitAffine({ x, y });
      agree(model, { intercept, slope });
      agree(y.reduce((sum, target, i) => sum + (applyCalibration(model, x[i]!) - target) ** 2, 0) / y.length, mseAfter);
    }
  });

  it("refuse to turn scores round", () => {
    expect(() => fitAffine({ x: [1, 2, 3], y: [3, 2, 1] })).toThrow(code("INVERTED"));
    expect(() => fitAffine({ x: [1, 2], y: [4, 4] })).toThrow(code("INVERTED"));
    expect(() => fitAffine({ x: [2, 2], y: [1, 4] })).toThrow(code("CONSTANT_INPUT"));
  });
});

describe("a calibration for a ranker", () => {
  const model = fitIsotonic({ x: [1, 2, 3, 4, 5], y: [0.01, 0.03, 0.02, 0.05, 0.06] });

  it("is a table for at most five scores", () => {
    const table = calibrationTable(model, [5, 1, 3, 3]);
    expect(table).toEqual({ kind: "table", entries: [[1, 0.01], [3, 0.025], [5, 0.06]] });
    expect(applyCalibration(table, 3)).toBe(0.025);
    expect(applyCalibration({ kind: "none" }, 2.5)).toBe(2.5);
    expect(() => applyCalibration(table, 2)).toThrow(code("SCORE_NOT_IN_TABLE"));
    expect(() => calibrationTable(model, [1, 2, 3, 4, 5, 4.5])).toThrow(code("TOO_MANY_SCORES"));
  });

  it("is named by its data, options, code and numbers", () => {
    const source = { dataIds: ["a", "b"], options: { kind: "isotonic" }, codeVersion: "1" };
    const file = nameCalibration(model, source);
    const id = (change: object, other: Parameters<typeof nameCalibration>[0] = model): string => nameCalibration(other, { ...source, ...change }).calibrationId;
    expect(parseCalibration(JSON.parse(JSON.stringify(file)), "m.json")).toEqual(file);
    expect(() => parseCalibration({ ...file, model: { kind: "none" } }, "m.json")).toThrow("was changed");
    expect(() => parseCalibration({ ...file, extra: 1 }, "m.json")).toThrow(code("CALIBRATION_INVALID"));
    expect(id({ dataIds: ["b", "a"] })).toBe(file.calibrationId);
    const changed = [id({ dataIds: ["a", "c"] }), id({ options: { kind: "affine" } }), id({ codeVersion: "2" }), id({}, { kind: "none" })];
    expect(new Set([file.calibrationId, ...changed]).size).toBe(5);
  });

  it.each([
    { kind: "isotonic", knots: [1, 1], values: [0, 1] },
    { kind: "isotonic", knots: [1, 2], values: [1, 0] },
    { kind: "isotonic", knots: [1, 2], values: [1] },
    { kind: "affine", intercept: 0, slope: -1 },
    { kind: "magic" },
  ])("is not read from %j", (bad) => {
    expect(calibrationFile.safeParse({ ...nameCalibration(model, { dataIds: ["a"], options: {} }), model: bad }).success).toBe(false);
  });
});

describe("held-out values", () => {
  const random = createRandom(12);
  const gold = Array.from({ length: 200 }, (_, i) => 1 + (i % 5));
  const scores = gold.map((label) => Math.min(5, Math.max(1, 3.6 + 0.2 * (label - 3) + 0.3 * random.normal())));
  const groups = gold.map((_, i) => `series ${Math.floor(i / 4)}`);

  it("come from curves that have not seen the item or its group", () => {
    const { values, foldOf, models } = crossFit("isotonic", { x: scores, y: gold, folds: 5, seed: 1, groups });
    for (let i = 0; i < gold.length; i++) expect(foldOf[i]).toBe(foldOf[Math.floor(i / 4) * 4]);
    expect(new Set(foldOf).size).toBe(5);
    const others = gold.map((_, i) => i).filter((i) => foldOf[i] !== foldOf[0]);
    const refit = fitIsotonic({ x: others.map((i) => scores[i]!), y: others.map((i) => gold[i]!) });
    expect(models[foldOf[0]!]).toEqual(refit);
    expect(values[0]).toBe(applyCalibration(refit, scores[0]!));
    expect(crossFit("isotonic", { x: scores, y: gold, folds: 5, seed: 1, groups }).values).toEqual(values);
    expect(crossFit("affine", { x: scores, y: gold, weights: gold.map(() => 2) }).values).toEqual(crossFit("affine", { x: scores, y: gold }).values);
    expect(() => crossFit("affine", { x: scores, y: gold, folds: 51, groups })).toThrow(code("FOLDS_INVALID"));
    expect(() => crossFit("affine", { x: scores, y: gold, groups: ["a"] })).toThrow(code("LENGTH_MISMATCH"));
    expect(() => crossFit("affine", { x: scores, y: gold.map((label) => 6 - label) })).toThrow(code("INVERTED"));
  });

  it("show what calibration would do", () => {
    const ids = gold.map((_, i) => `d${i}`);
    const truth = new Map(ids.map((id, i) => [id, gold[i]!]));
    const check = heldOutCalibration(truth, new Map(ids.map((id, i) => [id, scores[i]!])), { groups: new Map(ids.map((id, i) => [id, groups[i]!])) });
    expect(check.isotonic!.mse!).toBeLessThan(check.before.mse!);
    expect(Math.abs(check.affine!.bias!)).toBeLessThan(Math.abs(check.before.bias!) / 3);
    expect(check.conformal).toMatchObject({ n: 200, alpha: 0.05 });
    expect(check.conformal!.coverage!).toBeGreaterThan(0.9);
    expect(check.before.curve.reduce((sum, { n }) => sum + n, 0)).toBe(200);
    const line = { x: [2, 2.1, 2.2, 4, 4.5, 5], y: [1, 1, 1, 5, 5, 5] };
    const many = Array.from({ length: 10 }, () => line);
    const [x, y] = [many.flatMap((one) => one.x), many.flatMap((one) => one.y)];
    const names = x.map((_, i) => `d${i}`);
    const raw = crossFit("affine", { x, y }).values;
    expect(Math.max(...raw)).toBeGreaterThan(5);
    const kept = raw.map((value) => Math.min(5, Math.max(1, value)));
    expect(heldOutCalibration(new Map(names.map((id, i) => [id, y[i]!])), new Map(names.map((id, i) => [id, x[i]!]))).affine!.mse).toBeCloseTo(kept.reduce((sum, value, i) => sum + (value - y[i]!) ** 2, 0) / 60, 12);
    const inverted = heldOutCalibration(truth, new Map(ids.map((id, i) => [id, 6 - gold[i]!])));
    expect(inverted).toMatchObject({ affine: null, undefined: { affine: "inverted" } });
    expect(heldOutCalibration(truth, new Map(ids.slice(0, 8).map((id) => [id, 3])))).toMatchObject({ n: 8, isotonic: null, conformal: null, undefined: { isotonic: "too-few-items", conformal: "too-few-items", "before.pcc": "too-few-or-constant" } });
  });

  it("do not run out of stack or time on a large falling catalogue", () => {
    const many = Array.from({ length: 150_000 }, (_, i) => i);
    const target = many.map((i) => -i);
    const { values } = fitIsotonic({ x: many, y: target });
    expect(values).toHaveLength(many.length);
    expect(values[0]).toBeCloseTo(-74_999.5, 6);
    expect(crossFit("isotonic", { x: many, y: target }).foldOf.filter((fold) => fold === 4)).toHaveLength(30_000);
  });

  it("say when there are too few for the promised share", () => {
    expect(crossConformal([1, 2, 3, 4], [1, 2, 3, 4], { folds: 2 })).toEqual({ n: 4, alpha: 0.05, width: null, coverage: null, setSize: null, reason: "too-few-items" });
  });
});

describe("conformal", () => {
  it("quantiles are those of the reference", () => {
    for (const { residuals, alpha, q } of data.conformal) expect(conformalQuantile(residuals, alpha)).toBe(q);
    expect(conformalQuantile([], 0.1)).toBeNull();
    for (const alpha of [0, 1, Number.NaN]) expect(() => conformalQuantile([1], alpha)).toThrow(code("OPTION_INVALID"));
  });

  it("sets are never empty, and hold the classes inside the interval", () => {
    expect(conformalInterval(4.5, 1.2)).toEqual([3.3, 5]);
    expect(conformalClasses(3.4, 0.1)).toEqual([3]);
    expect(conformalClasses(4.1, 0.9)).toEqual([4, 5]);
    fc.assert(fc.property(fc.double({ min: 1, max: 5, noNaN: true }), fc.double({ min: 0, max: 5, noNaN: true }), (score, width) => {
      const classes = conformalClasses(score, width);
      const [low, high] = conformalInterval(score, width);
      expect(classes.length).toBeGreaterThan(0);
      if (classes.length > 1) for (const label of classes) expect(label >= low - 1e-8 && label <= high + 1e-8).toBe(true);
    }));
  });
});
