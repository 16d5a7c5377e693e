import { createRandom, type IndicatorRow } from "@dramascope/schema";
import { clusterHotValues, computeThresholds, fitHotValue, INDICATORS, isEligible, parseModel, parseRowJson, scoreCompletionRate, scoreIndicator, scoreRow, serializeModel, validateWeights, type FitOptions } from "@dramascope/hot-value";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lastEligibleRelease } from "../src/eligibility.ts";
import { population, WEIGHTS } from "./population.ts";

const options: FitOptions = { weights: WEIGHTS, asOf: "2026-06-30" };
const rows = population();
const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;

describe("scores", () => {
  const marks = computeThresholds(Float64Array.from({ length: 1000 }, (_, i) => 3 + i * i));
  const step = (x: number): number => Math.abs(x) * Number.EPSILON;

  it.each([marks.p30, marks.p93, marks.rank10])("are continuous at %d", (x) => {
    expect(Math.abs(scoreIndicator(x - step(x), marks) - scoreIndicator(x, marks))).toBeLessThan(1e-9);
  });

  it.each([0.3, 0.7])("are continuous at a completion rate of %d", (x) => {
    expect(Math.abs(scoreCompletionRate(x - step(x)) - scoreCompletionRate(x + step(x)))).toBeLessThan(1e-9);
  });

  it("rise with every indicator", () => {
    const { model } = fitHotValue(rows, options);
    fc.assert(fc.property(fc.nat({ max: rows.length - 1 }), fc.constantFrom(...INDICATORS), fc.nat({ max: 10_000 }), (i, name, more) => {
      const row = rows[i]!;
      expect(scoreRow(model, { ...row, [name]: row[name] + more }).hotValue).toBeGreaterThanOrEqual(scoreRow(model, row).hotValue);
    }));
  });
});

describe("a fit", () => {
  it("does not change when an indicator is multiplied by a power of two", () => {
    const scaled = rows.map((row) => ({ ...row, likes: row.likes * 1024 }));
    expect(fitHotValue(scaled, options).labels).toEqual(fitHotValue(rows, options).labels);
  });

  it("does not depend on the order of the rows", () => {
    const { labels, model } = fitHotValue(rows, options);
    fc.assert(fc.property(fc.nat(), (seed) => {
      const other = fitHotValue(createRandom(seed).shuffle([...rows]), options);
      expect(other.labels).toEqual(labels);
      expect(other.model).toEqual(model);
    }), { numRuns: 5 });
  });

  it("never lowers a maximum when a snapshot is added to frozen cohorts", () => {
    const { model } = fitHotValue(rows, { ...options, reference: { mode: "pooled" } });
    const frozen: FitOptions = { ...options, reference: { mode: "frozen", model } };
    const before = new Map(fitHotValue(rows, frozen).labels.map((label) => [label.dramaId, label.hotValue]));
    const more = rows.slice(0, 50).map((row): IndicatorRow => ({ ...row, date: "2026-06-29" }));
    for (const label of fitHotValue([...rows, ...more], { ...frozen, duplicates: "first" }).labels) expect(label.hotValue).toBeGreaterThanOrEqual(before.get(label.dramaId) ?? 0);
  });

  it("takes the earliest of equal peaks", () => {
    const twin = rows.find((row) => row.date === "2026-05-31" && row.releasedOn < "2026-04-01")!;
    const others = rows.filter((row) => row.dramaId !== twin.dramaId);
    const snapshots = ["2026-06-30", "2026-04-30", "2026-05-31"].map((date) => ({ ...twin, date }));
    const { labels } = fitHotValue([...others, ...snapshots], { ...options, reference: { mode: "pooled" } });
    expect(labels.find((label) => label.dramaId === twin.dramaId)!.peakDate).toBe("2026-04-30");
  });

  it("knows the last release that is old enough", () => {
    fc.assert(fc.property(fc.date({ min: new Date("2020-01-01"), max: new Date("2030-12-31"), noInvalidDate: true }), fc.oneof(fc.record({ months: fc.nat({ max: 14 }) }), fc.record({ days: fc.nat({ max: 400 }) })), (day, minAge) => {
      const asOf = day.toISOString().slice(0, 10);
      const last = lastEligibleRelease(asOf, minAge);
      expect(isEligible(last, asOf, minAge)).toBe(true);
      for (let k = 1; k < 6; k++) expect(isEligible(new Date(Date.parse(last) + k * 86_400_000).toISOString().slice(0, 10), asOf, minAge)).toBe(false);
    }));
  });

  it.each([
    [{ reference: { minCohort: 1000 } }, "SMALL_COHORT"],
    [{ reference: { mode: "frozen" } }, "OPTIONS_INVALID"],
    [{ asOf: "soon" }, "OPTIONS_INVALID"],
    [{ transform: { winsorize: 0.9 } }, "OPTIONS_INVALID"],
    [{ asOf: "2020-01-01" }, "NO_ROWS"],
    [{ rank: 399 }, "DEGENERATE_COHORT"],
    [{ rank: 401, reference: { mode: "per-date" } }, "COHORT_BELOW_RANK"],
    [{ weights: { ...WEIGHTS, likes: 2 } }, "WEIGHTS_SUM"],
    [{ minEngagement: [{ indicator: "likes", atLeast: 1e9 }] }, "TOO_FEW_DISTINCT"],
  ] as [Partial<FitOptions>, string][])("refuses %j", (variant, expected) => {
    expect(() => fitHotValue(rows, { ...options, ...variant })).toThrow(code(expected));
  });

  it("names rows in memory that cannot be used", () => {
    const { rejected, report } = fitHotValue([{ ...rows[0]!, likes: Number.NaN }, ...rows], options);
    expect(rejected).toEqual([{ file: "rows", line: 1, reason: "not-a-number", field: "likes" }]);
    expect(report.rejected).toEqual({ count: 1, reasons: { "not-a-number": 1 } });
  });

  it("reports what a reader should know", () => {
    const odd = rows.map((row, i): IndicatorRow => ({ ...row, favorites: row.likes * 3, search: i % 10 < 8 ? 0 : row.search }));
    const { report } = fitHotValue(odd, { ...options, stability: 10, degenerate: "fallback" });
    const codes = new Set(report.warnings.map((warning) => warning.code));
    for (const expected of ["small-class", "many-zeros", "p30-is-minimum", "doubled-indicators", "left-truncated"]) expect(codes).toContain(expected);
    expect(report.indicators.doubled.map(({ pair }) => pair)).toEqual([["favorites", "likes"]]);
    expect(report.nonDefaultOptions).toEqual({ degenerate: "fallback" });
    expect(report.stability!.rounds).toBe(10);
    expect(report.stability!.sameClass).toBeGreaterThan(0.5);
    report.stability!.breakpoints.forEach(({ low, high }) => expect(low).toBeLessThanOrEqual(high));
    expect(report.histogram.counts.reduce((a, b) => a + b, 0)).toBe(report.dramas);
  });

  it("counts every score of the fallback rule by date and indicator", () => {
    const flat = rows.map((row) => ({ ...row, comments: 3 }));
    expect(() => fitHotValue(flat, options)).toThrow(expect.objectContaining({ code: "DEGENERATE_COHORT", cause: "p93-equals-p30" }) as Error);
    expect(fitHotValue(flat, { ...options, degenerate: "fallback" }).report.fallbackUses).toEqual(["2026-04-30", "2026-05-31", "2026-06-30"].map((cohort) => ({ cohort, indicator: "comments", cause: "p93-equals-p30" })));
  });
});

describe("a model", () => {
  const { model } = fitHotValue(rows, options);

  it("scores bit-identically after its file", () => {
    const again = parseModel(JSON.parse(serializeModel(model)));
    for (const row of rows) expect(scoreRow(again, row)).toEqual(scoreRow(model, row));
  });

  it.each([
    ["a mark out of order", (m: typeof model) => (m.thresholds["2026-06-30"]!.likes.p30 = 1e9)],
    ["a short list", (m: typeof model) => m.clusters.centroids.pop()],
    ["a foreign key", (m: typeof model) => ((m.clusters as Record<string, unknown>)["extra"] = 1)],
    ["weights that do not sum to 1", (m: typeof model) => (m.weights.likes += 0.1)],
    ["a break that is no mean", (m: typeof model) => (m.clusters.breakpoints[1]! += 0.01)],
    ["sizes beyond the dramas", (m: typeof model) => (m.clusters.sizes[0] = 1e6)],
    ["no cohort", (m: typeof model) => (m.thresholds = {})],
    ["an option that does not exist", (m: typeof model) => ((m.options as Record<string, unknown>)["rankTies"] = "both")],
    ["an edited day", (m: typeof model) => (m.asOf = "2026-06-29")],
  ])("is refused with %s", (_, edit) => {
    const edited = structuredClone(model);
    edit(edited);
    expect(() => parseModel(edited)).toThrow();
  });

  it("says which cohort a date without its own is compared with, or refuses", () => {
    const row = { ...rows[0]!, date: "2026-07-15" };
    expect(scoreRow(model, row).thresholdsDate).toBe("2026-06-30");
    expect(() => scoreRow(model, row, { onUnknownDate: "error" })).toThrow(code("UNKNOWN_DATE"));
    expect(() => scoreRow(model, { ...row, date: "2020-01-01", releasedOn: "2020-01-01" })).toThrow(code("UNKNOWN_DATE"));
  });
});

describe("classes on another scale", () => {
  const values = Float64Array.from({ length: 500 }, (_, i) => Math.exp(i / 90));

  it.each(["log1p", { winsorize: 0.05 }] as const)("%j: the breaks stand on hot values", (transform) => {
    const { breakpoints, sizes } = clusterHotValues(values, { transform });
    const counted = [0, 0, 0, 0, 0];
    for (const value of values) counted[breakpoints.filter((breakpoint) => breakpoint <= value).length]!++;
    expect(counted).toEqual(sizes);
  });
});

it("keys from outside have no effect", () => {
  const line = JSON.stringify(rows[0]).replace("{", '{"__proto__":{"likes":9},"constructor":1,');
  expect(parseRowJson(line)).toEqual({ ok: true, row: rows[0] });
  expect(() => validateWeights(JSON.parse('{"__proto__":1}'))).toThrow(code("WEIGHT_MISSING"));
});
