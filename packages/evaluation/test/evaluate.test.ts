import { readFileSync } from "node:fs";
import { authorsFigures, compareSystems, computeCoverage, computeMetrics, evaluate, heldOutCalibration, type Prediction } from "@dramascope/evaluation";
import { createRandom } from "@dramascope/schema";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agree, code } from "./goldens.ts";

const N = 100;
const ids = Array.from({ length: N }, (_, i) => String(7300000000000000000n + BigInt(i) * 13n));
const truth = new Map(ids.map((id, i) => [id, 1 + (i % 5)]));
const random = createRandom(3);
const noisy = (spread: number): Map<string, number> => new Map([...truth].map(([id, gold]) => [id, Math.min(5, Math.max(1, Math.round(gold + spread * random.normal())))]));
const fast = { replicates: 50 };

/** Paths of all nulls of a report; parts with reasons of their own are looked at there. */
function nullPaths(value: unknown, path: string[] = []): string[] {
  if (value === null) return [path.join(".")];
  return typeof value === "object" ? Object.entries(value).flatMap(([key, inner]) => nullPaths(inner, [...path, key])) : [];
}

/** Every null has a reason beside it, and the JSON holds no NaN. */
function expectReasons(value: object): void {
  const { undefined: reasons = {}, slices, rows, ...rest } = value as { undefined?: Record<string, string>; slices?: object[]; rows?: object[] };
  for (const part of [...(slices ?? []), ...(rows ?? [])]) expectReasons(part);
  const missing = nullPaths(rest).map((path) => path.replace(/^metrics\./u, "")).filter((path) => reasons[path] === undefined);
  expect(missing).toEqual([]);
  expect(JSON.stringify(value)).not.toMatch(/NaN|Infinity/u);
}

describe("evaluate", () => {
  it("counts missing answers as wrong, and scores the others", () => {
    const predictions = new Map<string, Prediction | null>([...noisy(1)].slice(0, 60));
    predictions.set(ids[0]!, null);
    const report = evaluate(truth, predictions, fast);
    const answered = ids.slice(1, 60);
    const gold = answered.map((id) => truth.get(id)!);
    const answers = answered.map((id) => predictions.get(id) as number);
    const all = [...ids].map((id) => (predictions.get(id) ?? null) as number | null);
    agree(report.coverage, computeCoverage([...truth.values()], all));
    agree(report.metrics, { ...computeMetrics(gold, answers), accuracy: report.coverage.accuracy });
    expect(report.metrics.n).toBe(59);
    expect(report.intervals.accuracy.low! < report.metrics.accuracy! && report.metrics.accuracy! < report.intervals.accuracy.high!).toBe(true);
    expect(report.baselines.recalibrated).toMatchObject({ n: 59 });
    expectReasons(report);
  });

  it("never gets better by leaving an answer out", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: N, maxLength: N }), fc.array(fc.nat(N - 1), { minLength: 1 }), (answers, left) => {
        const all = new Map(ids.map((id, i) => [id, answers[i]!]));
        const some = new Map(all);
        for (const i of left) some.delete(ids[i]!);
        const accuracy = (predictions: Map<string, number>): number => evaluate(truth, predictions, { replicates: 1 }).metrics.accuracy!;
        expect(accuracy(some)).toBeLessThanOrEqual(accuracy(all));
      }),
      { numRuns: 30 },
    );
  });

  it("gives the same report for any order of the maps", () => {
    const predictions = noisy(1);
    const genre = new Map(ids.map((id, i) => [id, i % 2 === 0 ? "甜宠" : "逆袭"]));
    const shuffled = <T>(map: ReadonlyMap<string, T>): Map<string, T> => new Map(createRandom(8).shuffle([...map]));
    const options = { ...fast, stratify: true };
    expect(evaluate(shuffled(truth), shuffled(predictions), { ...options, slices: new Map([["genre", shuffled(genre)]]) })).toEqual(evaluate(truth, predictions, { ...options, slices: new Map([["genre", genre]]) }));
    const table = (order: typeof shuffled): unknown => compareSystems(order(truth), new Map([["a", order(predictions)], ["b", order(truth)]]), { ...fast, baseline: "a" });
    expect(table(shuffled)).toEqual(table((map) => new Map(map)));
    expect(heldOutCalibration(shuffled(truth), shuffled(predictions))).toEqual(heldOutCalibration(truth, predictions));
  });

  it("takes classes, reals, distributions and null, and strings of one digit only on request", () => {
    const scored = { expected: 4.03, p1: 0.02, p2: 0.08, p3: 0.15, p4: 0.35, p5: 0.4 };
    const four = new Map([["a", 1], ["b", 2], ["c", 4], ["d", 5]]);
    const mixed = new Map<string, Prediction | null>([["a", 1], ["b", 2.25], ["c", scored], ["d", null]]);
    const report = evaluate(four, mixed, fast);
    expect(report.coverage).toMatchObject({ answered: 3, accuracy: 0.75 });
    expect(report.probabilities).toMatchObject({ n: 1, expected: [expect.closeTo(4.03, 9)] });
    expectReasons(report);
    expect(() => evaluate(four, new Map([["a", "4"]]))).toThrow(code("PREDICTION_INVALID"));
    expect(evaluate(four, new Map([["a", "1"]]), { ...fast, coerce: true }).coverage.accuracy).toBe(0.25);
    for (const bad of ["44", " 4", "４", "6", "", "4.0", "four"]) expect(() => evaluate(four, new Map([["a", bad]]), { coerce: true }), bad).toThrow(code("PREDICTION_INVALID"));
  });

  it.each([0, 5.5, Number.NaN, Infinity, { expected: 6 }, { expected: 3, p1: 1, p2: 1, p3: 0, p4: 0, p5: 0 }, [3], true])("refuses the prediction %j", (bad) => {
    expect(() => evaluate(truth, new Map([[ids[0]!, bad as number]]))).toThrow(code("PREDICTION_INVALID"));
  });

  it("refuses no truth and impossible classes", () => {
    expect(() => evaluate(new Map(), new Map())).toThrow(code("NO_TRUTH"));
    expect(() => evaluate(new Map([["a", 0]]), new Map())).toThrow(code("GOLD_INVALID"));
  });

  it("warns of answers to unknown ids, and of one class nearly everywhere", () => {
    const report = evaluate(truth, new Map([...ids.map((id): [string, number] => [id, 3]), ["__proto__", 4]]), fast);
    expect(report.warnings).toEqual(["1 predictions have ids without a true class and are ignored", "low-entropy: 100 % of 100 answers are class 3"]);
    expect(report.undefined).toMatchObject({ pcc: "constant-prediction", "baselines.recalibrated.mse": "constant-prediction" });
    expect(evaluate(truth, new Map(ids.map((id, i) => [id, i % 5 === 0 ? 1 : 3])), fast).warnings).toEqual([]);
    expect(evaluate(truth, new Map([["other", 3]]), fast).warnings[0]).toBe("no-answers: no answer matches an id of the truth; check that both use the same ids");
    expect(evaluate(truth, new Map([[ids[0]!, null]]), fast).warnings).toEqual(["no-answers: all 1 predictions of ids with a true class are null"]);
  });

  it("says why everything is null when nothing was answered", () => {
    const report = evaluate(truth, new Map(), { ...fast, slices: new Map([["genre", new Map(ids.map((id) => [id, "x"]))]]) });
    expect(report.coverage).toMatchObject({ coverage: 0, accuracy: 0, mseAnswered: null, mseImputed3: 2 });
    expect(report.undefined).toMatchObject({ mse: "no-items", "coverage.mseAnswered": "no-answers", "intervals.mse.low": "undefined-in-every-replicate" });
    expectReasons(report);
  });
});

describe("slices", () => {
  it("show figures from 30 items on, count the others, and name the worst", () => {
    const genre = new Map(ids.map((id, i) => [id, i < 40 ? "古装" : i < 80 ? "constructor" : "rare"]));
    genre.delete(ids[99]!);
    const predictions = new Map(ids.map((id, i) => [id, i < 40 ? 6 - truth.get(id)! : truth.get(id)!]));
    const { slices, worstSlices } = evaluate(truth, predictions, { ...fast, slices: new Map([["genre", genre]]) });
    expect(slices.map(({ value, n, metrics }) => [value, n, metrics?.accuracy ?? null])).toEqual([["constructor", 40, 1], ["古装", 40, 0.2], ["rare", 19, null], [null, 1, null]]);
    expect(slices[2]!.undefined).toEqual({ coverage: "below-min-slice", metrics: "below-min-slice", intervals: "below-min-slice" });
    expect(worstSlices).toEqual([
      { dimension: "genre", metric: "accuracy", value: "古装", figure: 0.2, n: 40 },
      { dimension: "genre", metric: "mse", value: "古装", figure: 8, n: 40 },
      { dimension: "genre", metric: "pcc", value: "古装", figure: expect.closeTo(-1, 9) as number, n: 40 },
    ]);
    expectReasons({ slices });
    expect(evaluate(truth, predictions, { ...fast, minSlice: 1, slices: new Map([["genre", genre]]) }).slices.every(({ metrics }) => metrics !== null)).toBe(true);
  });
});

describe("the authors' script", () => {
  interface Case { name: string; firstId: string; gold: string; pred: string; n: number; accuracy: string; mse: string; pcc: string }
  const { cases } = JSON.parse(readFileSync(new URL("authors.json", import.meta.url), "utf8")) as { cases: Case[] };
  const maps = ({ firstId, gold, pred }: Case): [Map<string, number>, Map<string, number>] => {
    const all = Array.from(gold, (_, i) => String(BigInt(firstId) + 7n * BigInt(i)));
    return [new Map(all.map((id, i) => [id, Number(gold[i])])), new Map(all.flatMap((id, i): [string, number][] => (pred[i] === "-" ? [] : [[id, Number(pred[i])]])))];
  };

  it.each(cases)("prints what it prints: $name", (one) => {
    const { n, accuracy, mse, pcc } = one;
    expect(authorsFigures(...maps(one)).compat).toEqual({ n, accuracy, mse, pcc });
  });

  it("shares its three figures, and what they leave out", () => {
    const partial = cases.find(({ name }) => name.startsWith("partial"))!;
    const [gold, answers] = maps(partial);
    const report = evaluate(gold, answers, { ...fast, compat: "authors" });
    expect(Object.keys(report.metrics)).toEqual(["accuracy", "mse", "pcc"]);
    expect(report.metrics.accuracy.toFixed(4)).toBe(partial.accuracy);
    expect(report.compat.n).toBe(936);
    expect(report.warnings.join()).toContain("leaves unanswered items out");
    expect(report.coverage.accuracy!).toBeLessThan(report.metrics.accuracy);
    expectReasons(report);
    const complete = evaluate(...maps(cases[0]!), { ...fast, compat: "authors" });
    expect(complete.warnings).toEqual([]);
    expectReasons(evaluate(...maps(cases.find(({ name }) => name === "always 3")!), { ...fast, compat: "authors" }));
  });

  it("refuses what it refuses", () => {
    expect(() => evaluate(truth, new Map([["x", 1]]), { compat: "authors" })).toThrow(code("NO_OVERLAP"));
    expect(() => evaluate(truth, new Map([[ids[0]!, null]]), { compat: "authors" })).toThrow(code("NO_OVERLAP"));
    expect(() => evaluate(truth, new Map([[ids[0]!, 1.5]]), { compat: "authors" })).toThrow(code("NON_INTEGER"));
  });
});

describe("an ablation table", () => {
  it("compares every run with the baseline, with Holm over the rows", () => {
    const [bad, good, same] = [noisy(3), noisy(0.5), noisy(3)];
    const table = compareSystems(truth, new Map<string, ReadonlyMap<string, number>>([["base", bad], ["好", good], ["same", same]]), { baseline: "base", replicates: 300, seed: 4 });
    const [base, better, none] = table.rows;
    expect(base!.against).toBeUndefined();
    for (const metric of ["accuracy", "mse", "pcc"] as const) {
      expect(better!.against![metric].verdict, metric).toBe("better");
      expect(none!.against![metric].verdict, metric).toBe("not-distinguishable");
      expect(better!.against![metric].pHolm).toBeCloseTo(Math.min(1, 2 * better!.against![metric].p!), 12);
    }
    const { mse: worse } = compareSystems(truth, new Map([["good", good], ["bad", bad]]), { baseline: "good", replicates: 300 }).rows[1]!.against!;
    expect(worse.verdict).toBe("worse");
    expectReasons(table);
  });

  it("counts missing answers as wrong, and compares errors where both answered", () => {
    const half = new Map([...truth].slice(0, 50));
    const { rows } = compareSystems(truth, new Map([["all", truth], ["half", half], ["none", new Map<string, number>()]]), { ...fast, baseline: "all" });
    expect(rows[1]!.against).toMatchObject({ accuracy: { difference: -0.5, n: 100, verdict: "worse" }, mse: { difference: 0, n: 50, verdict: "not-distinguishable" } });
    expect(rows[2]!.against).toMatchObject({ accuracy: { difference: -1 }, mse: { difference: null, n: 0, p: null, pHolm: null, verdict: null } });
    expectReasons({ rows });
    expect(() => compareSystems(truth, new Map([["a", truth]]), { baseline: "b" })).toThrow(code("UNKNOWN_BASELINE"));
  });
});
