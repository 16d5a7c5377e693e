import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { fitHotValue, fitHotValueFiles, fitHotValueFilesTo, INDICATORS, parseRowJson, readRows, scoreHotValueFiles, scoreRow, type FitOptions, type ReadRow, type RowOptions } from "@dramascope/hot-value";
import { createRandom, type IndicatorRow } from "@dramascope/schema";
import { DuckDBInstance } from "@duckdb/node-api";
import { beforeAll, describe, expect, it } from "vitest";
import { population, WEIGHTS } from "./population.ts";

const COLUMNS = ["dramaId", "date", "releasedOn", ...INDICATORS, "completionRate"] as const;
const jsonl = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const csv = (rows: readonly IndicatorRow[]): string => `\uFEFF${COLUMNS.join(",")},title\r\n${rows.map((row) => `${COLUMNS.map((name) => String(row[name] ?? "")).join(",")},"a, ""b""\nc"\r\n`).join("")}`;
const code = (value: string): Error => expect.objectContaining({ code: value }) as Error;

/** Runs SQL in a database of its own; results as plain objects. */
async function sql(text: string): Promise<Record<string, unknown>[]> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    return await (await connection.run(text)).getRowObjectsJson();
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

let folder: string;
const at = (name: string): string => join(folder, name);
const rows = population();
const options: FitOptions = { weights: WEIGHTS, asOf: "2026-06-30" };

async function parquetFrom(source: string, target: string, select = `"dramaId", date::DATE AS date, "releasedOn"::DATE AS "releasedOn", * EXCLUDE ("dramaId", date, "releasedOn")`): Promise<string> {
  await sql(`COPY (SELECT ${select} FROM read_json('${source}', format = 'newline_delimited', columns = {dramaId: 'VARCHAR', date: 'VARCHAR', releasedOn: 'VARCHAR', ${[...INDICATORS, "completionRate"].map((name) => `${name}: 'DOUBLE'`).join(", ")}})) TO '${target}' (FORMAT parquet)`);
  return target;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-hot-"));
  await writeFile(at("rows.jsonl"), jsonl(rows));
  await writeFile(at("rows.csv.gz"), gzipSync(csv(rows)));
  await parquetFrom(at("rows.jsonl"), at("rows.parquet"));
  await parquetFrom(at("rows.jsonl"), at("bigint.parquet"), `"dramaId"::BIGINT AS "dramaId", date, "releasedOn", * EXCLUDE ("dramaId", date, "releasedOn", likes), likes::DECIMAL(18, 2) AS likes`);
});

describe("a fit on files equals the one in memory", () => {
  const variants: Partial<FitOptions>[] = [
    {}, { reference: { mode: "pooled" } }, { reference: { population: "eligible", minCohort: 50 }, rankTies: "distinct" }, { peakWindow: "after-min-age", leftTruncated: "exclude" },
    { peakWindow: "first-two-months", minAge: { days: 45 } }, { minEngagement: [{ indicator: "likes", atLeast: 40 }, { indicator: "completionRate", atLeast: 0.2 }] }, { transform: "log1p", fitOn: (id) => !id.endsWith("3") },
    { asOf: "2026-05-31", onSmallCohort: "drop", reference: { minCohort: 390 } },
  ];

  it.each(variants)("%j", async (variant) => {
    const expected = fitHotValue(rows, { ...options, ...variant });
    const { report, ...found } = await fitHotValueFiles([at("rows.parquet")], { ...options, ...variant });
    expect({ ...found, report: { ...report, indicators: expected.report.indicators } }).toEqual(expected);
    expect(report.indicators.zeroShare).toEqual(expected.report.indicators.zeroShare);
  });

  it("from every format, mixed, and in any order", async () => {
    const { model, labels } = fitHotValue(rows, options);
    for (const name of ["rows.jsonl", "rows.csv.gz", "bigint.parquet"]) {
      const fit = await fitHotValueFiles([at(name)], options);
      expect(fit.model).toEqual(model);
      expect(fit.labels).toEqual(labels);
    }
    const shuffled = createRandom(7).shuffle([...rows]);
    await writeFile(at("part-1.jsonl"), jsonl(shuffled.slice(0, 300)));
    await writeFile(at("part-2.csv"), csv(shuffled.slice(300, 700)));
    await writeFile(at("part-3.jsonl"), jsonl(shuffled.slice(700)));
    await parquetFrom(at("part-3.jsonl"), at("last.parquet"));
    const mixed = await fitHotValueFiles([at("part-1.jsonl"), at("part-2.cs*"), at("last.parquet")], options);
    expect(mixed.model).toEqual(model);
    expect(mixed.labels).toEqual(labels);
    expect(mixed.report.extraColumns).toEqual(["title"]);
  });

  it("with the cohorts of an earlier model", async () => {
    const earlier = fitHotValue(rows.filter((row) => row.date < "2026-06-30"), { ...options, asOf: "2026-05-31" }).model;
    const frozen: FitOptions = { ...options, reference: { mode: "frozen", model: earlier } };
    const expected = fitHotValue(rows, frozen);
    expect(expected.model.reference).toEqual({ mode: "frozen", modelHash: earlier.modelHash });
    expect(expected.model.thresholds).toEqual(earlier.thresholds);
    expect((await fitHotValueFiles([at("rows.parquet")], frozen)).model).toEqual(expected.model);
    expect(scoreRow(expected.model, rows.find((row) => row.date === "2026-06-30")!).thresholdsDate).toBe("2026-05-31");
  });
});

describe("rows that cannot be used", () => {
  const base = rows[0]!;
  const bad: object[] = [
    { dramaId: "" }, { dramaId: " 12" }, { dramaId: "x\u3000" }, { dramaId: "a\u0007b" }, { dramaId: "\ufffd" }, { dramaId: "9".repeat(129) }, { dramaId: "剧".repeat(129) }, { dramaId: "😀".repeat(65) },
    { date: "2026-02-30" }, { date: "31.03.2026" }, { date: "0000-01-01" }, { releasedOn: "soon" }, { releasedOn: "2027-01-01" },
    { likes: -1 }, { likes: null }, { search: 2e300 }, { completionRate: 1.0000001 }, { completionRate: -0.01 }, { dramaId: null }, { date: null },
  ].map((change) => ({ ...base, ...change }));
  const good: object[] = [{ dramaId: "短剧-1" }, { dramaId: "剧".repeat(128) }, { dramaId: "😀".repeat(64) }, { likes: -0 }, { completionRate: null }, { likes: 9007199254740994 }].map((change) => ({ ...base, ...change }));

  it.each([{}, { missing: "zero" }, { completion: { outOfRange: "clamp" } }, { completion: { unit: "percent", null: "reject" } }] as RowOptions[])("get the same verdict from every format, %j", async (rules) => {
    await writeFile(at("bad.jsonl"), jsonl([...bad, ...good]));
    await parquetFrom(at("bad.jsonl"), at("bad.parquet"), "*");
    const verdicts = async (name: string): Promise<unknown[]> => {
      const out: unknown[] = [];
      for await (const item of readRows(at(name), rules) as AsyncIterable<ReadRow>) out.push("row" in item ? [item.line, item.row] : [item.rejected.line, item.rejected.reason, item.rejected.field]);
      return out;
    };
    const expected = [...bad, ...good].map((row, i) => {
      const result = parseRowJson(JSON.stringify(row), rules);
      return result.ok ? [i + 1, result.row] : [i + 1, result.error, result.field];
    });
    expect(await verdicts("bad.jsonl")).toEqual(expected);
    expect(await verdicts("bad.parquet")).toEqual(expected);
    const fit = fitHotValueFiles([at("rows.parquet"), at("bad.parquet")], { ...options, ...rules, maxRejectedShare: 1, duplicates: "first", onSmallCohort: "allow", reference: { mode: "pooled" } });
    const { rejected, report } = await fit;
    const refusedAt = (file: string): unknown[] => rejected.filter((row) => row.file === at(file)).map(({ line, reason, field }) => [line, reason, field]);
    expect(refusedAt("bad.parquet")).toEqual(expected.filter((one) => one.length === 3));
    expect(report.rejected.count).toBe(rejected.length);
    expect(report.precisionLoss).toBe(1);
  });

  it("of a type that is no number, text or day are refused, with their reason", async () => {
    await parquetFrom(at("rows.jsonl"), at("types.parquet"), `"dramaId"::DOUBLE AS "dramaId", date, "releasedOn", * EXCLUDE ("dramaId", date, "releasedOn")`);
    await parquetFrom(at("rows.jsonl"), at("text.parquet"), `* EXCLUDE (likes), likes::VARCHAR AS likes`);
    await parquetFrom(at("rows.jsonl"), at("time.parquet"), `* EXCLUDE (date), date::TIMESTAMP AS date`);
    await expect(fitHotValueFiles([at("types.parquet")], options)).rejects.toThrow(/types\.parquet:1: id-not-string/u);
    await expect(fitHotValueFiles([at("text.parquet")], options)).rejects.toThrow(/text\.parquet:1: not-a-number \(likes\)/u);
    await expect(fitHotValueFiles([at("time.parquet")], options)).rejects.toThrow(/time\.parquet:1: date-invalid/u);
  });

  it("are written to a file, also when they are too many", async () => {
    await writeFile(at("mostly-bad.jsonl"), jsonl([...bad, base]));
    await expect(fitHotValueFilesTo([at("mostly-bad.jsonl")], { labels: at("none.csv"), rejected: at("rejected.jsonl") }, options)).rejects.toThrow(code("TOO_MANY_REJECTED"));
    const lines = (await readFile(at("rejected.jsonl"), "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line) as object);
    expect(lines).toHaveLength(bad.length);
    expect(lines[0]).toEqual({ file: at("mostly-bad.jsonl"), line: 1, reason: "id-invalid", field: "dramaId" });
    expect(await readdir(folder)).not.toContain("none.csv");
  });

  it("in CSV: records over several lines, stray quotes, another encoding", async () => {
    const header = `${COLUMNS.join(",")},title`;
    const line = (id: string, title: string): string => `${id},2026-06-30,2026-01-01,1,2,3,4,5,6,7,8,0.5,${title}`;
    await writeFile(at("quotes.csv"), Buffer.concat([Buffer.from(`${header}\n${line("a", '"two\nlines"')}\n${line("b", '"open')}\n${line("c", "x")}\n`), Buffer.from([0xb6, 0xcc, 0xbe, 0xe7]), Buffer.from(line("", "x")), Buffer.from(`\n${line("d", "y")}\n`)]));
    const found: unknown[] = [];
    for await (const item of readRows(at("quotes.csv"))) found.push("row" in item ? [item.line, item.row.dramaId] : [item.rejected.line, item.rejected.reason]);
    expect(found).toEqual([[2, "a"], [4, "malformed-line"], [5, "c"], [6, "id-invalid"], [7, "d"]]);
    await writeFile(at("twice.csv"), `likes,${header}\n`);
    await expect(fitHotValueFiles([at("twice.csv")], options)).rejects.toThrow(code("CSV_HEADER"));
  });
});

describe("rows that contradict each other", () => {
  const again = { ...rows[5]!, likes: 1e6 };

  it.each(["rows.jsonl", "rows.parquet"])("a drama's date twice, %s", async (name) => {
    await writeFile(at("again.jsonl"), jsonl([again]));
    await expect(fitHotValueFiles([at(name), at("again.jsonl")], options)).rejects.toThrow(code("DUPLICATE_KEY"));
    await expect(fitHotValueFiles([at(name), at("again.jsonl")], options)).rejects.toThrow(/again\.jsonl:1/u);
    await expect(fitHotValueFiles([at(name), at("again.jsonl")], options)).rejects.toThrow(new RegExp(`${name}:6`, "u"));
    for (const duplicates of ["first", "last"] as const) {
      const expected = fitHotValue([...rows, again], { ...options, duplicates });
      const fit = await fitHotValueFiles([at(name), at("again.jsonl")], { ...options, duplicates });
      expect(fit.model).toEqual(expected.model);
      expect(fit.labels).toEqual(expected.labels);
      expect(fit.report.duplicates).toBe(1);
    }
  });

  it("two release dates", async () => {
    await writeFile(at("conflict.jsonl"), jsonl([{ ...rows[5]!, date: "2026-06-29", releasedOn: "2025-12-01" }]));
    const fit = fitHotValueFiles([at("rows.parquet"), at("conflict.jsonl")], { ...options, onSmallCohort: "allow", reference: { mode: "pooled" } });
    await expect(fit).rejects.toThrow(code("RELEASE_DATE_CONFLICT"));
  });
});

describe("outputs", () => {
  it("hold the same labels in every format", async () => {
    const { labels, model } = fitHotValue(rows, options);
    for (const name of ["labels.jsonl.gz", "labels.csv", "labels.parquet"]) {
      const fit = await fitHotValueFilesTo([at("rows.parquet")], { labels: at(name), rejected: at("rejected.jsonl") }, options);
      expect(fit.model).toEqual(model);
      expect(await readFile(at("rejected.jsonl"), "utf8")).toBe("");
    }
    const numbers = (found: Record<string, unknown>): unknown[] => [found["dramaId"], Number(found["hotValue"]), String(found["peakDate"]), found["quality"] === null ? null : Number(found["quality"]), Number(found["score_likes"] ?? (found["scores"] as { likes: number } | undefined)?.likes)];
    const expected = labels.map((label) => [label.dramaId, label.hotValue, label.peakDate, label.quality, label.scores.likes]);
    expect((await sql(`SELECT * FROM read_parquet('${at("labels.parquet")}')`)).map(numbers)).toEqual(expected);
    expect((await sql(`SELECT * FROM read_csv('${at("labels.csv")}', types = {'dramaId': 'VARCHAR'})`)).map(numbers)).toEqual(expected);
    expect((await sql(`SELECT * FROM read_json('${at("labels.jsonl.gz")}', columns = {dramaId: 'VARCHAR', hotValue: 'DOUBLE', peakDate: 'VARCHAR', quality: 'INTEGER', scores: 'STRUCT(likes DOUBLE)'})`)).map((row) => [row["dramaId"], row["hotValue"], row["peakDate"], row["quality"], (row["scores"] as { likes: number }).likes])).toEqual(expected);
  });

  it("scores every format in the order of its rows", async () => {
    const { model } = fitHotValue(rows, options);
    const expected = rows.map((row) => ({ ...scoreRow(model, row), modelHash: model.modelHash }));
    for (const name of ["rows.jsonl", "rows.csv.gz", "rows.parquet"]) {
      expect(await scoreHotValueFiles(model, [at(name)], { scores: at("scores.jsonl") })).toMatchObject({ rows: rows.length, rejected: 0, otherDate: 0 });
      expect((await readFile(at("scores.jsonl"), "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line) as object)).toEqual(expected);
    }
  });

  it("are whole or absent when the process is killed", async () => {
    const out = await mkdtemp(join(folder, "killed-"));
    const source = `
      import { fitHotValueFilesTo, EQUAL_WEIGHTS } from "@dramascope/hot-value";
      for (;;) await fitHotValueFilesTo([${JSON.stringify(at("rows.parquet"))}], { labels: ${JSON.stringify(join(out, "labels.csv"))}, rejected: ${JSON.stringify(join(out, "rejected.jsonl"))} }, { weights: EQUAL_WEIGHTS, asOf: "2026-06-30", temporaryFolder: ${JSON.stringify(out)} });`;
    for (const milliseconds of [0, 150]) {
      const child = spawn(process.execPath, ["--conditions=@dramascope/source", "--input-type=module-typescript", "-e", source], { cwd: fileURLToPath(new URL("..", import.meta.url)), stdio: "ignore" });
      const closed = new Promise((resolve) => child.on("close", resolve));
      await rm(join(out, "labels.csv"), { force: true });
      while (!(await readdir(out)).includes("labels.csv")) await new Promise((resolve) => setTimeout(resolve, 20));
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      child.kill("SIGKILL");
      await closed;
      expect((await readFile(join(out, "labels.csv"), "utf8")).trimEnd().split("\r\n")).toHaveLength(401);
    }
  });

  it("stops when asked to", async () => {
    const abort = new AbortController();
    const fit = fitHotValueFiles([at("rows.parquet")], { ...options, signal: abort.signal, onProgress: () => abort.abort() });
    await expect(fit).rejects.toThrow(expect.objectContaining({ name: "AbortError" }) as Error);
  });
});
