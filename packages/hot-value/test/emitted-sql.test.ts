import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { emitSql, fitHotValue, INDICATORS, scoreRow, type FitOptions } from "@dramascope/hot-value";
import type { IndicatorRow } from "@dramascope/schema";
import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { population, WEIGHTS } from "./population.ts";

const golden = fileURLToPath(new URL("../../../test-fixtures/goldens/hot-value/indicators.jsonl.gz", import.meta.url));
const TABLE = ["main", 'odd "name'];
const close = (actual: unknown, expected: number, tolerance: number): void => expect(Math.abs(Number(actual) - expected)).toBeLessThanOrEqual(tolerance * Math.max(1, Math.abs(expected)));

let instance: DuckDBInstance;
let connection: DuckDBConnection;
const query = async (sql: string): Promise<Record<string, unknown>[]> => (await connection.run(sql)).getRowObjectsJson();

async function load(rows: readonly IndicatorRow[]): Promise<void> {
  await connection.run(`CREATE OR REPLACE TABLE "odd ""name" ("dramaId" VARCHAR, "date" DATE, "releasedOn" DATE, ${[...INDICATORS, "completionRate"].map((name) => `"${name}" DOUBLE`).join(", ")})`);
  for (let from = 0; from < rows.length; from += 2000) {
    const values = rows.slice(from, from + 2000).map((row) => `('${row.dramaId}', '${row.date}', '${row.releasedOn}', ${[...INDICATORS, "completionRate" as const].map((name) => row[name] ?? "NULL").join(", ")})`);
    await connection.run(`INSERT INTO "odd ""name" VALUES ${values.join(", ")}`);
  }
}

beforeAll(async () => {
  instance = await DuckDBInstance.create(":memory:");
  connection = await instance.connect();
});
afterAll(() => {
  connection.closeSync();
  instance.closeSync();
});

async function checkAll(rows: readonly IndicatorRow[], options: FitOptions): Promise<void> {
  const { model, labels } = fitHotValue(rows, options);
  const marks = await query(emitSql(options, { dialect: "duckdb", table: TABLE, step: "thresholds" }));
  expect(marks).toHaveLength(INDICATORS.length * Object.keys(model.thresholds).length);
  for (const row of marks) {
    const own = model.thresholds[String(row["cohort"])]![row["indicator"] as (typeof INDICATORS)[number]];
    for (const [key, value] of Object.entries(own)) close(row[key], value, 1e-12);
  }
  const scores = await query(emitSql(model, { dialect: "duckdb", table: TABLE, step: "score" }));
  expect(scores).toHaveLength(rows.length);
  const byKey = new Map(rows.map((row) => [`${row.dramaId} ${row.date}`, row]));
  for (const row of scores.slice(0, 2000)) {
    const own = scoreRow(model, byKey.get(`${String(row["dramaId"])} ${String(row["date"])}`)!);
    close(row["hotValue"], own.hotValue, 1e-9);
    close(row["score_comments"], own.scores.comments, 1e-9);
    expect([Number(row["quality"]), row["thresholdsDate"]]).toEqual([own.quality, own.thresholdsDate]);
  }
  const found = await query(emitSql(model, { dialect: "duckdb", table: TABLE, step: "label" }));
  expect(found.map((row) => [row["dramaId"], row["releasedOn"], row["eligible"], row["peakDate"], row["quality"] === null ? null : Number(row["quality"]), Number(row["rows"])])).toEqual(
    labels.map((label) => [label.dramaId, label.releasedOn, label.eligible, label.peakDate, label.quality, label.rows]),
  );
  found.forEach((row, i) => close(row["hotValue"], labels[i]!.hotValue, 1e-9));
}

describe("emitted SQL, run on DuckDB", () => {
  it.each(["per-date", "pooled"] as const)("gives the fit of the reference population, %s", async (mode) => {
    const rows = gunzipSync(readFileSync(golden)).toString("utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as IndicatorRow);
    await load([]);
    await connection.run(`INSERT INTO "odd ""name" BY NAME SELECT * FROM read_json('${golden}', columns = {dramaId: 'VARCHAR', date: 'DATE', releasedOn: 'DATE', ${[...INDICATORS, "completionRate"].map((name) => `${name}: 'DOUBLE'`).join(", ")}})`);
    await checkAll(rows, { weights: WEIGHTS, asOf: "2026-06-30", reference: { mode } });
  });

  it.each([
    { quantile: "inverted-cdf", rankTies: "distinct", rank: 7 }, { reference: { population: "eligible", minCohort: 20 } }, { peakWindow: "after-min-age", minAge: { days: 40 } },
    { peakWindow: "first-two-months", leftTruncated: "exclude" }, { minEngagement: [{ indicator: "likes", atLeast: 40 }], belowMin: "extrapolate" }, { degenerate: "fallback", rank: 300, reference: { mode: "pooled" } },
  ] as Partial<FitOptions>[])("follows the options %j", async (variant) => {
    const rows = population();
    await load(rows);
    await checkAll(rows, { weights: WEIGHTS, asOf: "2026-06-30", ...variant });
  });

  it("holds no text of the input, and needs a model for scores", () => {
    const options = { weights: WEIGHTS, asOf: "2026-06-30" };
    expect(emitSql(options, { dialect: "postgres", table: `x"; DROP TABLE y; --`, step: "thresholds" })).toContain(`FROM "x""; DROP TABLE y; --"`);
    expect(() => emitSql(options, { dialect: "postgres", table: "x", step: "label" })).toThrow(expect.objectContaining({ code: "OPTIONS_INVALID" }) as Error);
  });
});
