import { baselines, bootstrapCi, computeCoverage, computeMetrics, createRandom, undefinedMetrics, type Metrics } from "@dramascope/evaluation";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agree, code, golden } from "./goldens.ts";

const items = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.oneof(fc.double({ min: 1, max: 5, noNaN: true }), fc.integer({ min: 1, max: 5 }))), { minLength: 2, maxLength: 60 });
const split = (pairs: readonly [number, number][]): [number[], number[]] => [pairs.map(([gold]) => gold), pairs.map(([, prediction]) => prediction)];

describe("metrics", () => {
  it.each(golden<{ name: string; gold: number[]; pred: number[]; expect: Metrics }[]>("metrics.json"))("$name", ({ gold, pred, expect: expected }) => agree(computeMetrics(gold, pred), expected));

  it("coverage", () => {
    for (const { gold, pred, expect: expected } of golden<{ gold: number[]; pred: (number | null)[]; expect: object }[]>("coverage.json")) agree(computeCoverage(gold, pred), expected);
  });

  it("does not depend on the order of items", () => {
    fc.assert(fc.property(items, fc.infiniteStream(fc.nat()), (pairs, keys) => {
      const shuffled = pairs.map((pair) => ({ pair, key: keys.next().value as number })).sort((a, b) => a.key - b.key);
      agree(computeMetrics(...split(shuffled.map(({ pair }) => pair))), computeMetrics(...split(pairs)), "", 1e-12);
    }));
  });

  it("holds the identity MSE = Var(gold) + s² + b² − 2·r·sdGold·s", () => {
    fc.assert(fc.property(items, (pairs) => {
      const { mse, sdGold, sdPred, bias, pcc } = computeMetrics(...split(pairs));
      if (pcc !== null) expect(Math.abs(sdGold! ** 2 + sdPred! ** 2 + bias! ** 2 - 2 * pcc * sdGold! * sdPred! - mse!)).toBeLessThan(1e-9);
    }));
  });

  it("counts concordant pairs as the definition of τ-b does", () => {
    fc.assert(fc.property(items, (pairs) => {
      let [balance, x, y] = [0, 0, 0];
      pairs.forEach(([g, p], i) =>
        pairs.slice(0, i).forEach(([otherG, otherP]) => {
          balance += Math.sign(g - otherG) * Math.sign(p - otherP);
          x += Math.abs(Math.sign(g - otherG));
          y += Math.abs(Math.sign(p - otherP));
        }));
      const { kendall } = computeMetrics(...split(pairs));
      if (x === 0 || y === 0) expect(kendall).toBeNull();
      else expect(kendall).toBeCloseTo(balance / Math.sqrt(x * y), 9);
    }));
  });

  it("rounds real predictions half up and clamps them, for the class metrics only", () => {
    const { accuracy, mse, confusion } = computeMetrics([3, 5, 1], [2.5, 6.2, 0.4]);
    expect(accuracy).toBe(1);
    expect(mse).toBeCloseTo((0.25 + 1.44 + 0.36) / 3, 12);
    expect(confusion.flat().reduce((a, b) => a + b)).toBe(3);
  });

  it.each([
    [[], [], { accuracy: "no-items", mse: "no-items", pcc: "no-items", qwk: "no-items", macroF1: "no-items" }],
    [[3], [4], { pcc: "too-few-items", srcc: "too-few-items", kendall: "too-few-items" }],
    [[2, 2], [1, 5], { pcc: "constant-gold", srcc: "constant-gold", "perClass.0.recall": "no-such-item" }],
    [[1, 2], [4.1, 4.1], { pcc: "constant-prediction", kendall: "constant-prediction", "perClass.0.precision": "never-predicted", "perClass.4.f1": "absent-class" }],
    [[4, 4], [4, 4], { qwk: "no-expected-disagreement", linearKappa: "no-expected-disagreement", pcc: "constant-gold" }],
  ] as [number[], number[], Record<string, string>][])("says why values of %j and %j are null", (gold, pred, expected) => {
    const metrics = computeMetrics(gold, pred);
    const reasons = undefinedMetrics(metrics);
    expect(reasons).toMatchObject(expected);
    const { perClass: _classes, confusion: _counts, ...figures } = metrics;
    expect(Object.keys(reasons).filter((name) => !name.includes(".")).sort()).toEqual(Object.entries(figures).flatMap(([name, value]) => (value === null ? [name] : [])).sort());
    expect(JSON.stringify(metrics)).not.toMatch(/NaN|Infinity/u);
  });

  it.each([
    [[1, 2], [1], "LENGTH_MISMATCH"],
    [[1, 6], [1, 2], "GOLD_INVALID"],
    [[1, 2.5], [1, 2], "GOLD_INVALID"],
    [[1, 2], [1, Number.NaN], "PREDICTION_INVALID"],
    [[1, 2], [1, Infinity], "PREDICTION_INVALID"],
  ])("refuses %j with %j", (gold, pred, expected) => {
    expect(() => computeMetrics(gold, pred)).toThrow(code(expected));
  });
});

describe("baselines", () => {
  const balanced = Array.from({ length: 50 }, (_, i) => 1 + (i % 5));

  it("are those of a balanced set", () => {
    expect(baselines(balanced)).toEqual({
      n: 50,
      always3: { accuracy: 0.2, mse: 2 },
      majority: { label: 1, accuracy: 0.2, mse: 6 },
      random: { accuracy: 0.2, mse: 4 },
      labelShuffle: { accuracy: 0.2, mse: 4 },
    });
  });

  it("give the mean over all permutations for shuffled labels", () => {
    const gold = [1, 2, 2, 5];
    const permutations = (rest: number[]): number[][] => (rest.length === 0 ? [[]] : rest.flatMap((one, i) => permutations(rest.toSpliced(i, 1)).map((tail) => [one, ...tail])));
    const all = permutations(gold).map((shuffled) => computeMetrics(gold, shuffled));
    const mean = (name: "accuracy" | "mse"): number => all.reduce((sum, metrics) => sum + metrics[name]!, 0) / all.length;
    agree(baselines(gold).labelShuffle, { accuracy: mean("accuracy"), mse: mean("mse") });
  });

  it("say what a straight line could make of predictions", () => {
    const predictions = balanced.map((label, i) => 3 + 0.2 * (label - 3) + (i % 3) / 10);
    const { recalibrated } = baselines(balanced, { gold: balanced, predictions });
    const { pcc } = computeMetrics(balanced, predictions);
    expect(recalibrated).toEqual({ n: 50, mse: 2 * (1 - pcc! ** 2) });
    expect(baselines([], { gold: [], predictions: [] })).toMatchObject({ always3: { accuracy: null, mse: null }, random: { accuracy: null, mse: null }, labelShuffle: { accuracy: null, mse: null }, recalibrated: { n: 0, mse: null } });
  });
});

describe("the paper's figures", () => {
  const gold = Array.from({ length: 1000 }, (_, i) => 1 + (i % 5));

  it("have an MSE 1.9 % below always answering 3, and far above what a straight line makes of their correlation", () => {
    const { always3 } = baselines(gold);
    expect((100 * (always3.mse! - 1.962)) / always3.mse!).toBeCloseTo(1.9, 9);
    const random = createRandom(9);
    const noise = gold.map(() => random.normal());
    // Scores whose correlation with the truth is .502: the truth's part, and a part of the noise that is free of it.
    const { sdPred } = computeMetrics(gold, noise);
    const slope = noise.reduce((sum, value, i) => sum + value * (gold[i]! - 3), 0) / gold.reduce((sum, label) => sum + (label - 3) ** 2, 0);
    const free = noise.map((value, i) => value - slope * (gold[i]! - 3));
    const scale = Math.sqrt((2 * (1 - 0.502 ** 2)) / (sdPred! ** 2 - 2 * slope ** 2));
    const scores = gold.map((label, i) => 0.502 * (label - 3) + scale * free[i]!);
    expect(computeMetrics(gold, scores).pcc).toBeCloseTo(0.502, 9);
    expect(baselines(gold, { gold, predictions: scores }).recalibrated!.mse).toBeCloseTo(1.496, 3);
    const { pcc } = bootstrapCi(gold, scores, { seed: 1 });
    expect(pcc.low).toBeCloseTo(0.454, 2);
    expect(pcc.high).toBeCloseTo(0.547, 2);
  });

  it("have an accuracy of .438 ± .031 on 1,000 items, which holds the steps of its ablation", () => {
    const predictions = gold.map((label, i) => (i < 438 ? label : (label % 5) + 1));
    const { accuracy } = bootstrapCi(gold, predictions, { seed: 1 });
    expect((accuracy.high! - accuracy.low!) / 2).toBeCloseTo(0.031, 2);
    expect(accuracy.low! < 0.423).toBe(true);
  });
});
