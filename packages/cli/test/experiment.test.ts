import { readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { createRandom } from "@dramascope/schema";
import { beforeAll, describe, expect, it } from "vitest";
import { run, start } from "./cli.ts";

/** The plan that the package's README shows. */
const PLAN = /```yaml\n([\s\S]*?)```/u.exec(readFileSync(new URL("../../evaluation/README.md", import.meta.url), "utf8"))![1]!;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-cli-experiment-"));
  await writeFile(at("plan.yaml"), PLAN);
  await writeFile(at("users.csv.gz"), gzipSync(csv(6000, 0.15)));
});
const at = (...names: string[]): string => join(folder, ...names);

/** Rows of users whose treatment clicks more by `lift`; `share` of them are in A. */
function csv(users: number, lift: number, share = 0.5): string {
  const random = createRandom(3);
  const lines = ["userId,variant,clicks,impressions,seconds,before"];
  for (let i = 0; i < users; i++) {
    const variant = random.uniform() < share ? "A" : "B";
    const taste = 4 + random.normal();
    lines.push(`73000000000000${i},${variant},${((taste + random.normal()) * (variant === "B" ? 1 + lift : 1)).toFixed(3)},${20 + random.below(5)},${(60 + 5 * random.normal()).toFixed(2)},${taste.toFixed(3)}`);
  }
  return `${lines.join("\n")}\n`;
}

describe("experiment", () => {
  it("prints, writes and draws what the data show", async () => {
    const result = await run("experiment", "--data", at("users.csv.gz"), "--plan", at("plan.yaml"), "--out", at("ok", "experiment.json"), "--report", at("ok", "experiment.html"));
    expect(result.code).toBe(0);
    expect(result.stdout).toMatch(/^verdict {4}ship\n {11}primary ctr is better: \+1[45]\.\d+ % \[/u);
    expect(result.stdout).toMatch(/ctr \(primary\) {2}\+\d.* CUPED variance ratio 0\.\d+/u);
    const json = JSON.parse(await readFile(at("ok", "experiment.json"), "utf8")) as { verdict: string; rejected: number; comparisons: { metrics: { evidence: { basis: string } }[] }[] };
    expect(json).toMatchObject({ verdict: "ship", rejected: 0, comparisons: [{ treatment: "B", metrics: [{ evidence: { basis: "cuped" } }, { guardrail: { reachesLimit: false } }] }] });
    const page = await readFile(at("ok", "experiment.html"), "utf8");
    expect(page.indexOf("Ship: the treatment is better")).toBeLessThan(page.indexOf("B against A"));
    for (const text of ["no change", "Sample ratio, p", "Variance ratio", "Detectable", "ctr (primary)"]) expect(page).toContain(text);
    expect(await readdir(at("ok"))).toEqual(["experiment.html", "experiment.json"]);
  });

  it("shows no lift when the sample ratio blocks it", async () => {
    await writeFile(at("srm.csv"), csv(6000, 0.5, 0.45));
    const { code, stdout } = await run("experiment", "--data", at("srm.csv"), "--plan", at("plan.yaml"), "--json", "--report", at("srm.html"));
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: "blocked", comparisons: [], slices: [], srm: { isMismatch: true } });
    const page = await readFile(at("srm.html"), "utf8");
    expect(page).toContain("sample ratio mismatch");
    expect(page).not.toContain("B against A");
    expect(page).not.toMatch(/[+−]\d+\.\d+ %/u);
  });

  it("names bad lines, and stops above one in a hundred", async () => {
    const good = csv(6000, 0.15);
    await writeFile(at("some.csv"), good.replace(/\n(\d+),([AB]),[\d.]+,/u, "\n$1,$2,12%,").replace(/,[AB],(?=[^\n]*\n$)/u, ",C,"));
    const some = await run("experiment", "--data", at("some.csv"), "--plan", at("plan.yaml"), "--out", at("some", "experiment.json"), "--json");
    expect(some.code).toBe(0);
    expect(JSON.parse(some.stdout)).toMatchObject({ rejected: 2 });
    expect(some.stderr).toContain('some.csv:2: clicks is "12%"; give a finite number');
    const told = `2 of 6000 lines of ${at("some.csv")} are bad and left out`;
    expect(JSON.parse(some.stdout)).toMatchObject({ warnings: [told, expect.anything(), expect.anything()] });
    const shown = await run("experiment", "--data", at("some.csv"), "--plan", at("plan.yaml"), "--report", at("some", "page.html"), "--rejected", at("some", "bad.jsonl"));
    expect(shown.stdout).toContain(`warning: ${told}`);
    expect(await readFile(at("some", "page.html"), "utf8")).toContain("2 of 6000 lines of");
    expect(await readFile(at("some", "bad.jsonl"), "utf8")).toBe(await readFile(at("some", "rejected.jsonl"), "utf8"));
    expect((await readFile(at("some", "rejected.jsonl"), "utf8")).trim().split("\n").map((line) => (JSON.parse(line) as { line: number }).line)).toEqual([2, 6001]);
    await writeFile(at("many.csv"), good.replaceAll(/,(?=\d+\.\d+\n\d*1,)/gu, ",x"));
    const many = await run("experiment", "--data", at("many.csv"), "--plan", at("plan.yaml"), "--out", at("many", "experiment.json"));
    expect(many.code).toBe(3);
    expect(many.stderr).toMatch(/^TOO_MANY_REJECTED: \d+ of 6000 lines are bad/mu);
    expect(await readdir(at("many"))).toEqual(["rejected.jsonl"]);
  });

  it("keeps the list of bad lines apart from all other files, and removes a stale one", async () => {
    const small = csv(200, 0);
    await writeFile(at("small.csv"), small);
    const experiment = (...more: string[]): ReturnType<typeof run> => run("experiment", "--data", at("small.csv"), "--plan", at("plan.yaml"), ...more);
    for (const more of [["--out", at("rejected.jsonl")], ["--report", at("rejected.jsonl")], ["--out", at("x.json"), "--rejected", at("x.json")], ["--rejected", at(".", "small.csv")], ["--rejected", at("plan.yaml")]]) {
      const { code, stderr } = await experiment(...more);
      expect([code, stderr]).toEqual([2, expect.stringContaining("the list of bad lines would go to") as string]);
    }
    expect(await readFile(at("small.csv"), "utf8")).toBe(small);
    expect((await run("experiment", "--summaries", at("none.csv"), "--plan", at("plan.yaml"), "--rejected", at("x.jsonl"))).code).toBe(2);
    expect((await experiment("--out", at("stale", "experiment.json"))).code).toBe(0);
    await writeFile(at("stale", "rejected.jsonl"), '{"file":"old.csv","line":2,"reason":"old"}\n');
    expect((await experiment("--out", at("stale", "experiment.json"))).code).toBe(0);
    expect(await readdir(at("stale"))).toEqual(["experiment.json"]);
    expect((await experiment("--rejected", at("stale", "asked.jsonl"))).code).toBe(0);
    expect(await readFile(at("stale", "asked.jsonl"), "utf8")).toBe("");
  });

  it("counts the bad lines of each file by itself", async () => {
    await writeFile(at("items.csv"), `dramaId,variant,clicks,impressions,seconds,genre\n${Array.from({ length: 40 }, (_, i) => `d${i >> 1},${i % 2 === 0 ? "A" : "B"},${i === 7 ? "x" : 5 + i},50,60,g\n`).join("")}`);
    const { code, stderr } = await run("experiment", "--data", at("users.csv.gz"), "--plan", at("plan.yaml"), "--items", at("items.csv"));
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^TOO_MANY_REJECTED: 1 of 40 lines are bad, the first .*items\.csv:9: clicks is "x"/mu) as string]);
    await writeFile(at("bad-items.csv"), "dramaId,variant,clicks,impressions,seconds,genre\nd,A,x,1,1,g\n");
    const all = await run("experiment", "--data", at("users.csv.gz"), "--plan", at("plan.yaml"), "--items", at("bad-items.csv"));
    expect([all.code, all.stderr]).toEqual([3, expect.stringContaining("TOO_MANY_REJECTED: 1 of 1 lines are bad") as string]);
  });

  it("ends on values of any size", async () => {
    const rows = Array.from({ length: 40 }, (_, i) => `u${i},${i % 2 === 0 ? "A" : "B"},${i + 1}e80,${1 + (i % 3)},${i + 1}e80,${1 + (i % 7)}e80\n`).join("");
    await writeFile(at("huge.csv"), `userId,variant,clicks,impressions,seconds,before\n${rows}`);
    const { code, stdout } = await run("experiment", "--data", at("huge.csv"), "--plan", at("plan.yaml"));
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^verdict {4}underpowered\n/u) as string]);
    expect(stdout).not.toMatch(/NaN|Infinity/u);
    await writeFile(at("larger.csv"), (await readFile(at("huge.csv"), "utf8")).replaceAll("e80", "e160"));
    expect(await run("experiment", "--data", at("larger.csv"), "--plan", at("plan.yaml"))).toMatchObject({ code: 3, stderr: expect.stringContaining("SUMMARY_INVALID: metric ctr") as string });
  });

  it("takes names that look like markup, formulas and prototypes as text", async () => {
    const evil = '<img src=x onerror="alert(1)">';
    await writeFile(at("evil.json"), JSON.stringify({ variants: [{ name: evil, share: 1 }, { name: "__proto__", share: 1 }], control: evil, minimumEffect: 0.1, slices: ["genre"], metrics: [{ name: "</script><b>", kind: "mean", numerator: "constructor", role: "primary" }] }));
    const row = (userId: string, variant: string, value: number): string => JSON.stringify({ userId, variant, constructor: value });
    await writeFile(at("evil.jsonl"), Array.from({ length: 60 }, (_, i) => row(`u${i}`, i % 2 === 0 ? evil : "__proto__", 1 + (i % 7))).join("\n"));
    await writeFile(at("items.jsonl"), Array.from({ length: 8 }, (_, i) => JSON.stringify({ dramaId: `d${i >> 1}`, variant: i % 2 === 0 ? evil : "__proto__", constructor: i + 2, genre: evil })).join("\n"));
    const { code } = await run("experiment", "--data", at("evil.jsonl"), "--plan", at("evil.json"), "--items", at("items.jsonl"), "--report", at("evil.html"));
    expect(code).toBe(0);
    const page = await readFile(at("evil.html"), "utf8");
    expect(page).not.toMatch(/<img|<\/script><b>/u);
    expect(page).toContain("By groups of dramas");
  });

  it("takes summaries", async () => {
    await writeFile(at("summaries.csv"), "variant,metric,mean,variance,n\nA,ctr,.2,.1,50000\nB,ctr,.2,.1,50100\nA,watch,60,100,50000\nB,watch,60,100,50100\n");
    const { code, stdout } = await run("experiment", "--summaries", at("summaries.csv"), "--plan", at("plan.yaml"));
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^verdict {4}no-effect\n/u) as string]);
  });

  it.each([
    ["no data", [], 2, "either --data or --summaries"],
    ["both kinds of data", ["--data", "users.csv.gz", "--summaries", "summaries.csv"], 2, "either"],
    ["a wrong plan", ["--data", "users.csv.gz", "--plan", "wrong.yaml"], 2, "CONFIG_INVALID: "],
    ["no such file", ["--data", "none.csv"], 3, "none.csv"],
    ["an empty table", ["--data", "empty.csv"], 3, "CSV_HEADER: "],
    ["a table of blank lines", ["--data", "blank.csv"], 3, "blank.csv is empty"],
    ["no rows", ["--data", "empty.jsonl"], 3, "empty.jsonl holds no row"],
    ["item rows that no plan slices", ["--data", "unread.csv", "--plan", "unsliced.yaml", "--items", "unread.csv"], 3, "SLICES_MISSING"],
    ["item rows without the plan's slices", ["--data", "unread.csv", "--items", "unsliced.jsonl"], 3, "no item row has genre"],
    ["a table of another kind", ["--data", "plan.yaml"], 3, "FILE_FORMAT"],
  ] as [string, string[], number, string][])("says what is wrong with %s", async (_, args, code, message) => {
    await writeFile(at("wrong.yaml"), `${PLAN}\naplha: 0.1\n`);
    await writeFile(at("unsliced.yaml"), PLAN.replace(/^slices.*$/mu, ""));
    await writeFile(at("unsliced.jsonl"), '{"dramaId":"d","variant":"A","clicks":1,"impressions":2,"seconds":3}\n');
    await writeFile(at("empty.csv"), "");
    await writeFile(at("empty.jsonl"), "\n");
    await writeFile(at("blank.csv"), "\n \n");
    const files = args.map((word) => (word.startsWith("--") ? word : at(word)));
    const result = await run("experiment", ...(args.includes("--plan") ? [] : ["--plan", at("plan.yaml")]), ...files);
    expect(result.code).toBe(code);
    expect(result.stderr).toContain(message);
  });

  it("leaves no half file when it is killed", async () => {
    await writeFile(at("large.csv"), csv(140_000, 0));
    const { child, done } = start(["experiment", "--data", at("large.csv"), "--plan", at("plan.yaml"), "--progress", "json", "--out", at("killed", "experiment.json"), "--report", at("killed", "experiment.html")]);
    child.stderr!.once("data", () => child.kill("SIGKILL"));
    const { code, stderr } = await done;
    expect([code, stderr]).toEqual([null, expect.stringContaining('"phase":"rows"') as string]);
    await expect(readdir(at("killed"))).rejects.toThrow("ENOENT");
  });

  it("stops when it is interrupted", async () => {
    const { child, done } = start(["experiment", "--data", at("large.csv"), "--plan", at("plan.yaml"), "--progress", "json", "--out", at("stopped", "experiment.json")]);
    child.stderr!.once("data", () => child.kill("SIGINT"));
    expect((await done).code).toBe(130);
    await expect(readdir(at("stopped"))).rejects.toThrow("ENOENT");
  });
});
