import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { fixture, run } from "./cli.ts";

const golden = fixture("goldens/hot-value/indicators.csv.gz");
let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-hot-"));
  const { weights } = JSON.parse(await readFile(fixture("goldens/hot-value/options.json"), "utf8")) as { weights: object };
  await writeFile(at("weights.json"), JSON.stringify(weights));
});

describe("hot-value fit", () => {
  it("writes model, labels and a page, and takes the last date by default", async () => {
    const { code, stdout, stderr } = await run("hot-value", "fit", golden, "--weights", at("weights.json"), "--reference", "pooled", "--model", at("model.json"), "--out", at("labels.parquet"), "--report", at("fit.html"), "--stability", "5", "--json");
    expect(code).toBe(0);
    expect(stderr).toContain("fitting as of 2026-06-30");
    expect(JSON.parse(stdout)).toMatchObject({ report: { classSizes: [723, 953, 386, 248, 227], stability: { rounds: 5 } }, rejected: 0 });
    const page = await readFile(at("fit.html"), "utf8");
    for (const text of ["Hot value is popularity after exposure, not merit", "How firm the classes are", "dailyAvgWatchTime"]) expect(page).toContain(text);
    expect(await readdir(folder)).not.toContain("rejected.jsonl");
    const score = await run("hot-value", "score", at("labels.parquet"), "--model", at("model.json"), "--out", at("x.csv"));
    expect([score.code, score.stderr]).toEqual([3, expect.stringContaining("COLUMNS_MISSING") as string]);
  });

  it("prints the steps as SQL, and takes further options from a file", async () => {
    await writeFile(at("options.json"), JSON.stringify({ quantile: "inverted-cdf", reference: { minCohort: 100 } }));
    const { code, stdout } = await run("hot-value", "fit", golden, "--weights", "equal", "--as-of", "2026-06-30", "--model", at("m2.json"), "--out", at("l2.csv.gz"), "--options", at("options.json"), "--emit-sql", "postgres", "--table", "dw.daily");
    expect(code).toBe(0);
    expect(stdout).toContain('FROM "dw"."daily"');
    expect(stdout).toContain("PERCENTILE_DISC(0.3)");
    for (const step of ["thresholds", "score", "label"]) expect(stdout).toContain(`-- ${step}\n`);
    expect(JSON.parse(await readFile(at("m2.json"), "utf8"))).toMatchObject({ options: { quantile: "inverted-cdf", reference: { mode: "per-date", minCohort: 100 } } });
    expect(gunzipSync(await readFile(at("l2.csv.gz"))).toString("utf8")).toMatch(/^dramaId,releasedOn,eligible,hotValue,peakDate,quality,rows,modelHash,score_/u);
  });

  it("names refused rows in a file, also when it refuses the input", async () => {
    const text = gunzipSync(await readFile(golden)).toString("utf8").split("\n");
    await writeFile(at("some-bad.csv"), [...text.slice(0, 4), text[4]!.replace(/,/u, ",x"), ...text.slice(5)].join("\n"));
    const some = await run("hot-value", "fit", at("some-bad.csv"), "--weights", "equal", "--model", at("m3.json"), "--out", at("l3.jsonl"), "--rejected", at("bad.jsonl"));
    expect([some.code, some.stderr]).toEqual([0, expect.stringContaining("1 rows rejected") as string]);
    expect(JSON.parse(await readFile(at("bad.jsonl"), "utf8"))).toEqual({ file: at("some-bad.csv"), line: 5, reason: "date-invalid", field: "date" });
    await writeFile(at("all-bad.csv"), `${text[0]!}\nx\n`);
    const all = await run("hot-value", "fit", at("all-bad.csv"), "--weights", "equal", "--as-of", "2026-06-30", "--model", at("m4.json"), "--out", at("l4.jsonl"), "--rejected", at("worse.jsonl"));
    expect([all.code, all.stderr]).toEqual([3, expect.stringContaining("TOO_MANY_REJECTED") as string]);
    expect(await readdir(folder)).not.toContain("l4.jsonl");
    expect(await readFile(at("worse.jsonl"), "utf8")).toContain("malformed-line");
  });

  it("lists refused rows under the name of no other file", async () => {
    await writeFile(at("rejected.jsonl"), "kept");
    const fit = (input: string, out: string) => run("hot-value", "fit", input, "--weights", "equal", "--as-of", "2026-06-30", "--model", at("m5.json"), "--out", at(out));
    const score = await run("hot-value", "score", golden, "--model", at("model.json"), "--out", at("l5.csv"), "--rejected", at("model.json"));
    for (const { code, stderr } of [await fit(golden, "rejected.jsonl"), await fit(at("rejected.jsonl"), "l5.jsonl"), score]) {
      expect([code, stderr]).toEqual([2, expect.stringContaining("USAGE: the list of bad lines would go to") as string]);
    }
    expect(await readFile(at("rejected.jsonl"), "utf8")).toBe("kept");
    await rm(at("rejected.jsonl"));
  });

  it.each([
    [["--reference", "weekly"], 2],
    [["--weights", "/nonexistent.json"], 3],
    [["--stability", "many"], 2],
    [["--as-of", "soon"], 3],
  ] as [string[], number][])("refuses %j", async (more, code) => {
    const result = await run("hot-value", "fit", golden, "--weights", "equal", "--model", at("no.json"), "--out", at("no.csv"), ...more);
    expect(result.code).toBe(code);
    expect(await readdir(folder)).not.toContain("no.json");
  });
});

describe("hot-value score", () => {
  it("says which rows were compared with another date", async () => {
    await run("hot-value", "fit", golden, "--weights", "equal", "--model", at("m5.json"), "--out", at("l5.csv"));
    const header = "dramaId,date,releasedOn,dailyAvgWatchTime,dailyAvgUv,favorites,likes,sixMonthWatchTime,sixMonthUv,comments,search,completionRate,note";
    await writeFile(at("new.csv"), `${header}\n=cmd,2026-07-31,2026-01-01,1,2,3,4,5,6,7,8,,x\n`);
    const { code, stdout, stderr } = await run("hot-value", "score", at("new.csv"), "--model", at("m5.json"), "--out", at("scores.csv"), "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ rows: 1, rejected: 0, otherDate: 1, extraColumns: ["note"] });
    expect(stderr).toContain("columns that mean nothing here: note");
    expect(await readFile(at("scores.csv"), "utf8")).toContain("\n'=cmd,2026-07-31,");
    const refused = await run("hot-value", "score", at("new.csv"), "--model", at("m5.json"), "--out", at("none.csv"), "--on-unknown-date", "error");
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining("UNKNOWN_DATE") as string]);
  });
});
