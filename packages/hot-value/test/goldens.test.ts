import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import {
  clusterHotValues, computeThresholds, fitHotValue, fitHotValueFiles, hotValue, HotValueError, idsHash, INDICATORS, isEligible, parseModel, parseRowCsv, parseRowJson, qualityOf, quantile,
  rankValue, scoreCompletionRate, scoreIndicator, scoreRow, serializeModel, validateWeights, writeScores, type FitOptions, type HotValueFit, type RankTies, type Thresholds, type Weights,
} from "@dramascope/hot-value";
import { createRandom, type IndicatorRow, type IndicatorScores } from "@dramascope/schema";
import { DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createIntake } from "../src/intake.ts";
import { planFit } from "../src/options.ts";

const path = (name: string): string => fileURLToPath(new URL(`../../../test-fixtures/goldens/hot-value/${name}`, import.meta.url));
const text = (name: string): string => (name.endsWith(".gz") ? gunzipSync(readFileSync(path(name))).toString("utf8") : readFileSync(path(name), "utf8"));
const json = <T>(name: string): T => JSON.parse(text(name)) as T;
const close = (actual: number, expected: number, tolerance: number): void => expect(Math.abs(actual - expected)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(expected)));

interface Edge {
  sets: Record<string, number[]>;
  quantiles: { set: string; p: number; linear: number; invertedCdf: number }[];
  ranks: { set: string; rank: number; ties: RankTies; value?: number; error?: string }[];
  eq1: { t: Thresholds; x: number; u?: number; error?: string; cause?: string; degenerate?: "error" | "fallback"; belowMin?: "clamp" | "extrapolate" }[];
  eq2: { x: number | null; u: number }[];
  weights: { weights: Record<string, number | null>; ok: boolean; error?: string }[];
  eligibility: { releasedOn: string; asOf: string; months: number; eligible: boolean }[];
  clusters: { name: string; values: (number | null)[]; k: number; error?: string; centroids: number[]; breakpoints: number[]; sse: number; sizes: number[]; qualities: number[] }[];
  qualityOf: { breakpoints: number[]; cases: { hotValue: number; quality: number }[] };
  jsonl: { line: string; error: string | null; field: string | null; warning: string | null }[];
  csv: { header: string; rows: { line: string; error: string | null; field: string | null }[] };
  duplicates: { lines: string[]; error: { code: string }; first: { rows: number; likes: number }; last: { rows: number; likes: number } };
  idsHash: { dramas: [string, string, string, number][]; hash: string };
}
const edge = json<Edge>("edge-cases.json");
const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;

describe("formulas", () => {
  it("quantiles and ranks", () => {
    for (const { set, p, linear, invertedCdf } of edge.quantiles) {
      close(quantile(edge.sets[set]!, p), linear, 1e-12);
      close(quantile(edge.sets[set]!, p, { method: "inverted-cdf" }), invertedCdf, 1e-12);
    }
    for (const { set, rank, ties, value, error } of edge.ranks) {
      if (error === undefined) expect(rankValue(edge.sets[set]!, rank, ties)).toBe(value);
      else expect(() => rankValue(edge.sets[set]!, rank, ties)).toThrow(code(error));
    }
  });

  it("scores of counts", () => {
    for (const { t, x, u, error, cause, ...options } of edge.eq1) {
      if (error === undefined) close(scoreIndicator(x, t, options), u!, 1e-12);
      else expect(() => scoreIndicator(x, t, options)).toThrow(expect.objectContaining({ code: error, cause }) as Error);
    }
  });

  it("scores of completion rates", () => {
    for (const { x, u } of edge.eq2) close(scoreCompletionRate(x), u, 1e-12);
  });

  it("weights", () => {
    for (const { weights, ok, error } of edge.weights) {
      const given = Object.fromEntries(Object.entries(weights).map(([name, value]) => [name, value ?? Number.NaN]));
      if (ok) expect(validateWeights(given)).toEqual(given);
      else expect(() => validateWeights(given)).toThrow(code(error!));
    }
  });

  it("eligibility", () => {
    for (const { releasedOn, asOf, months, eligible } of edge.eligibility) expect(isEligible(releasedOn, asOf, { months }), `${releasedOn} on ${asOf}`).toBe(eligible);
  });

  it.each(edge.clusters)("clusters: $name", ({ values, k, error, centroids, breakpoints, sse, sizes, qualities }) => {
    const numbers = values.map((value) => value ?? Number.NaN);
    if (error !== undefined) {
      expect(() => clusterHotValues(numbers, { k })).toThrow(code(error));
      return;
    }
    const fit = clusterHotValues(numbers, { k });
    fit.centroids.forEach((value, i) => close(value, centroids[i]!, 1e-12));
    fit.breakpoints.forEach((value, i) => close(value, breakpoints[i]!, 1e-12));
    close(fit.sse, sse, 1e-11);
    expect(fit.sizes).toEqual(sizes);
    expect(numbers.map((value) => qualityOf(value, fit.breakpoints))).toEqual(qualities);
  });

  it("classes at the breaks", () => {
    for (const { hotValue: value, quality } of edge.qualityOf.cases) expect(qualityOf(value, edge.qualityOf.breakpoints)).toBe(quality);
  });

  it("never clusters worse than Lloyd's method", () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1000, noNaN: true }), { minLength: 8, maxLength: 60 }), fc.nat(), (values, seed) => {
        fc.pre(new Set(values).size >= 5);
        expect(clusterHotValues(values).sse).toBeLessThanOrEqual(clusterHotValues(values, { engine: "ml-kmeans", seed }).sse * (1 + 1e-9) + 1e-9);
      }),
      { numRuns: 50 },
    );
  });

  it("scores rise with the value", () => {
    const thresholds = computeThresholds(Array.from({ length: 1000 }, (_, i) => i * i));
    fc.assert(fc.property(fc.double({ min: 0, max: 2e6, noNaN: true }), fc.double({ min: 0, max: 2e6, noNaN: true }), (a, b) => {
      expect(scoreIndicator(Math.min(a, b), thresholds)).toBeLessThanOrEqual(scoreIndicator(Math.max(a, b), thresholds));
    }));
  });
});

describe("rows", () => {
  it("JSON lines", () => {
    for (const { line, error, field, warning } of edge.jsonl) {
      const result = parseRowJson(line);
      expect(result.ok ? [null, null, result.warning ?? null] : [result.error, result.field, null], line).toEqual([error, field, warning]);
    }
  });

  it("CSV lines", () => {
    for (const { line, error, field } of edge.csv.rows) {
      const result = parseRowCsv(line, edge.csv.header);
      expect(result.ok ? [null, null] : [result.error, result.field], line).toEqual([error, field]);
    }
  });

  it("a drama's date twice", () => {
    const rows = edge.duplicates.lines.map((line) => {
      const result = parseRowJson(line);
      if (!result.ok) throw new Error(line);
      return result.row;
    });
    const weights = Object.fromEntries([...INDICATORS, "completionRate"].map((name) => [name, 1 / 9])) as Weights;
    expect(() => fitHotValue(rows, { weights, asOf: "2026-06-30" })).toThrow(code("DUPLICATE_KEY"));
    for (const duplicates of ["first", "last"] as const) {
      const intake = createIntake(planFit({ weights, asOf: "2026-06-30", duplicates }));
      rows.forEach((row) => intake.add(row));
      const used = rows.filter((_, place) => intake.isUsed(place));
      expect([used.length, used.find((row) => row.dramaId === rows[0]!.dramaId && row.date === rows[0]!.date)!.likes]).toEqual([edge.duplicates[duplicates].rows, edge.duplicates[duplicates].likes]);
    }
    expect(idsHash(edge.idsHash.dramas)).toBe(edge.idsHash.hash);
  });
});

interface Golden { thresholds: Record<string, Record<string, Thresholds>>; centroids: number[]; breakpoints: number[]; sse: number; sizes: number[]; sseShare: number[]; idsHash: string; population: object }
const { weights, asOf } = json<{ weights: Weights; asOf: string }>("options.json");
const table = (name: string): Record<string, string>[] => {
  const [header, ...lines] = text(name).trimEnd().split(/\r?\n/u);
  return lines.map((line) => Object.fromEntries(line.split(",").map((cell, i) => [header!.split(",")[i]!, cell])));
};

describe.each(["per-date", "pooled"] as const)("the population, %s", (reference) => {
  const suffix = reference.replace("-", "");
  const options: FitOptions = { weights, asOf, reference: { mode: reference } };
  let fits: HotValueFit[];
  beforeAll(async () => {
    const rows = createRandom(4).shuffle(text("indicators.jsonl.gz").trimEnd().split("\n").map((line) => JSON.parse(line) as IndicatorRow));
    const parquet = join(await mkdtemp(join(tmpdir(), "dramascope-hot-")), "indicators.parquet");
    const instance = await DuckDBInstance.create(":memory:");
    const connection = await instance.connect();
    await connection.run(`COPY (SELECT * FROM read_csv('${path("indicators.csv.gz")}', types = {'dramaId': 'BIGINT'})) TO '${parquet}' (FORMAT parquet)`);
    connection.closeSync();
    instance.closeSync();
    fits = [await fitHotValueFiles([path("indicators.csv.gz")], options), await fitHotValueFiles([path("indicators.jsonl.gz")], options), await fitHotValueFiles([parquet], options), fitHotValue(rows, options)];
  });

  it("gives the reference model from CSV, JSONL, Parquet and memory", () => {
    const golden = json<Golden>(`model.${suffix}.json`);
    for (const { model } of fits) {
      for (const [date, cohort] of Object.entries(golden.thresholds)) {
        for (const [name, marks] of Object.entries(cohort)) {
          const ours = model.thresholds[date]![name as (typeof INDICATORS)[number]];
          for (const [key, value] of Object.entries(marks)) close(ours[key as keyof Thresholds], value as number, 1e-12);
        }
      }
      model.clusters.centroids.forEach((value, i) => close(value, golden.centroids[i]!, 1e-9));
      model.clusters.breakpoints.forEach((value, i) => close(value, golden.breakpoints[i]!, 1e-9));
      model.clusters.sseShare.forEach((value, i) => close(value, golden.sseShare[i]!, 1e-9));
      close(model.clusters.sse, golden.sse, 1e-9);
      expect(model.clusters.sizes).toEqual(golden.sizes);
      expect(model.population).toEqual({ ...golden.population, idsHash: golden.idsHash });
    }
  });

  it("gives every label", () => {
    const golden = table(`labels.${suffix}.csv`);
    for (const { labels } of fits) {
      expect(labels).toHaveLength(golden.length);
      const byId = new Map(labels.map((label) => [label.dramaId, label]));
      for (const row of golden) {
        const label = byId.get(row["dramaId"]!)!;
        close(label.hotValue, Number(row["hotValue"]), 1e-9);
        expect([label.eligible, label.peakDate, label.quality]).toEqual([row["eligible"] === "1", row["peakDate"], row["quality"] === "" ? null : Number(row["quality"])]);
      }
    }
  });

  it("scores every row with the frozen model, also after writing and reading it", () => {
    const model = parseModel(JSON.parse(serializeModel(fits[0]!.model)));
    expect(model).toEqual(fits[0]!.model);
    const rows = new Map(text("indicators.jsonl.gz").trimEnd().split("\n").map((line) => JSON.parse(line) as IndicatorRow).map((row) => [`${row.dramaId} ${row.date}`, row]));
    let worst = 0;
    const compare = (actual: number, expected: number): void => void (worst = Math.max(worst, Math.abs(actual - expected) / Math.max(1, Math.abs(expected))));
    for (const golden of table(`scores.${suffix}.csv.gz`)) {
      const score = scoreRow(model, rows.get(`${golden["dramaId"]!} ${golden["date"]!}`)!);
      compare(score.hotValue, Number(golden["hotValue"]));
      if (golden["u_likes"] !== undefined) for (const name of [...INDICATORS, "completionRate"] as (keyof IndicatorScores)[]) compare(score.scores[name], Number(golden[`u_${name}`]));
    }
    expect(worst).toBeLessThanOrEqual(1e-9);
  });
});

describe("files", () => {
  it("scores new rows as the reference does", async () => {
    const { model } = await fitHotValueFiles([path("indicators.csv.gz")], { weights, asOf, reference: { mode: "pooled" } });
    for (const { row, scores, hotValue: value, quality } of json<{ rows: { row: IndicatorRow; scores: IndicatorScores; hotValue: number; quality: number }[] }>("frozen-score.json").rows) {
      const score = scoreRow(model, row);
      for (const [name, expected] of Object.entries(scores)) close(score.scores[name as keyof IndicatorScores], expected, 1e-9);
      close(score.hotValue, value, 1e-9);
      close(hotValue(score.scores, weights), value, 1e-9);
      expect(score.quality).toBe(quality);
    }
  });

  it("names bad lines by file and line, refuses too many, and other formats", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dramascope-hot-"));
    const lines = text("indicators.jsonl.gz").trimEnd().split("\n");
    const file = join(folder, "rows.jsonl");
    await writeFile(file, [...lines.slice(0, 6), '{"dramaId":7}', ...lines.slice(6)].join("\n"));
    const { rejected } = await fitHotValueFiles([file], { weights, asOf });
    expect(rejected).toEqual([{ file, line: 7, reason: "id-not-string", field: "dramaId" }]);
    await writeFile(file, "{}\n".repeat(5));
    await expect(fitHotValueFiles([file], { weights, asOf })).rejects.toThrow(code("TOO_MANY_REJECTED"));
    await expect(fitHotValueFiles([join(folder, "x.parquet")], { weights, asOf })).rejects.toThrow(code("FILE_NOT_FOUND"));
    await writeFile(join(folder, "x.xlsx"), "");
    await expect(fitHotValueFiles([join(folder, "x.xlsx")], { weights, asOf })).rejects.toThrow(code("FILE_FORMAT"));
  });

  it("refuses an edited model", async () => {
    const { model } = await fitHotValueFiles([path("indicators.csv.gz")], { weights, asOf });
    const edited = structuredClone(model);
    edited.clusters.breakpoints[0]! += 0.001;
    expect(() => parseModel(edited)).toThrow(HotValueError);
    expect(() => parseModel({ ...model, extra: 1 })).toThrow(/extra/u);
  });

  it("writes CSV that a spreadsheet cannot take for formulas", async () => {
    const file = join(await mkdtemp(join(tmpdir(), "dramascope-hot-")), "scores.csv");
    const scores = Object.fromEntries([...INDICATORS, "completionRate"].map((name) => [name, 1])) as IndicatorScores;
    await writeScores(file, [{ dramaId: '=HYPERLINK("x")', hotValue: -1.5, quality: null, scores }, { dramaId: "＝1", hotValue: 2, quality: 3, scores }]);
    const [, first, second] = (await readFile(file, "utf8")).split("\r\n");
    expect(first!.startsWith(`"'=HYPERLINK(""x"")",-1.5,,`)).toBe(true);
    expect(second!.startsWith("'＝1,2,3,")).toBe(true);
  });
});
