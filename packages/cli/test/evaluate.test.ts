import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "@dramascope/schema";
import { beforeAll, describe, expect, it } from "vitest";
import { run } from "./cli.ts";

let folder: string;
const at = (name: string): string => join(folder, name);
const read = (name: string): Promise<string> => readFile(at(name), "utf8");
const N = 120;
const ids = Array.from({ length: N }, (_, i) => (i % 10 === 0 ? `短剧《甜宠${i}》` : String(7300000000000000000n + BigInt(i))));
const gold = ids.map((_, i) => 1 + (i % 5));

async function object(name: string, valueOf: (i: number) => unknown): Promise<void> {
  await writeFile(at(name), JSON.stringify(Object.fromEntries(ids.map((id, i) => [id, valueOf(i)]))));
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "dramascope-evaluate-"));
  const random = createRandom(2);
  const noisy = (i: number, spread: number): number => Math.min(5, Math.max(1, gold[i]! + spread * random.normal()));
  await object("truth.json", (i) => gold[i]);
  await object("a.json", (i) => Math.round(noisy(i, 1)));
  await object("b.json", (i) => Math.round(noisy(i, 4)));
  await object("partial.json", (i) => (i % 4 === 0 ? null : Math.round(noisy(i, 1))));
  await object("real.json", (i) => noisy(i, 1));
  await object("clicks.json", (i) => 0.01 * gold[i]!);
  const scored = ids.map((dramaId, i) => {
    const p = [0.1, 0.1, 0.1, 0.1, 0.1];
    p[(i % 10 === 0 ? 6 - gold[i]! : gold[i]!) - 1]! += 0.5;
    return JSON.stringify({ dramaId, score: p.reduce((sum, share, k) => sum + share * (k + 1), 0), distribution: Object.fromEntries(p.map((share, k) => [`p${k + 1}`, share])) });
  });
  await writeFile(at("assessments.jsonl"), scored.join("\n"));
  await writeFile(at("dramas.jsonl"), ids.map((dramaId, i) => JSON.stringify({ dramaId, title: `<b>${i}`, genre: i < 70 ? "古装复仇" : i < 110 ? "<script>alert(1)</script>" : "稀有", franchiseId: `f${Math.floor(i / 2)}` })).join("\n"));
});
const evaluate = (predictions: string, ...more: string[]): ReturnType<typeof run> => run("evaluate", "--truth", at("truth.json"), "--predictions", at(predictions), ...more);

describe("evaluate", () => {
  it("begins with coverage, the three figures with intervals, always 3 and the recalibrated MSE, each with n", async () => {
    const { code, stdout } = await evaluate("partial.json");
    expect(code).toBe(0);
    const lines = stdout.split("\n");
    expect(lines[0]).toBe("coverage      0.7500  (90 of 120)");
    expect(lines[1]).toMatch(/^accuracy {6}0\.\d{4} {2}\[0\.\d{4}, 0\.\d{4}\] {2}n = 120$/u);
    expect(lines[2]).toMatch(/^mse {11}\d\.\d{4} {2}\[\d\.\d{4}, \d\.\d{4}\] {2}n = 90$/u);
    expect(lines[3]).toMatch(/^pcc {11}0\.\d{4} {2}\[0\.\d{4}, 0\.\d{4}\] {2}n = 90$/u);
    expect(lines[4]).toBe("always 3      accuracy 0.2000, mse 2.0000, n = 120");
    expect(lines[5]).toMatch(/^recalibrated {2}mse 0\.\d{4}, n = 90$/u);
    expect(lines[6]).toMatch(/^unanswered {4}mse .* counted as 3, .* counted as the farthest class, n = 120$/u);
  });

  it("prints the authors' figures, says what they leave out, and refuses what they refuse", async () => {
    const complete = await evaluate("a.json", "--compat", "authors");
    expect(complete.stdout).toMatch(/authors {4}accuracy 0\.\d{4}, mse \d\.\d{4}, pcc 0\.\d{4} \(n = 120\)/u);
    expect(complete.stdout).not.toContain("leaves unanswered items out");
    expect((await evaluate("partial.json", "--compat", "authors")).stdout).toContain("warning: the authors' script leaves unanswered items out");
    const real = await evaluate("real.json", "--compat", "authors");
    expect([real.code, real.stderr]).toEqual([3, expect.stringContaining("NON_INTEGER")]);
    expect((await evaluate("a.json", "--compat", "magic")).code).toBe(2);
  });

  it("compares several systems, with p values and what is not distinguishable", async () => {
    const { code, stdout } = await evaluate("a.json", "--compare", at("b.json"), "--compare", at("real.json"), "--out", at("evaluation.json"), "--report", at("evaluation.html"));
    expect(code).toBe(0);
    expect(stdout).toContain(`${at("b.json")} − ${at("a.json")}`);
    expect(stdout).toMatch(/pcc {7}-0\.\d{4} {2}\[-0\.\d{4}, -0\.\d{4}\] {2}p (?:0|< 0)\.\d{4}, Holm (?:0|< 0)\.\d{4}, n = 120 {2}worse/u);
    const result = JSON.parse(await read("evaluation.json")) as { comparison: { rows: object[] }; items: object[]; inputs: object[] };
    expect(result.comparison.rows).toHaveLength(3);
    expect(result.items).toHaveLength(N);
    expect(result.inputs).toHaveLength(4);
    expect((await read("evaluation.html")).includes("Difference in PCC")).toBe(true);
    expect((await evaluate("a.json", "--compare", at("a.json"))).code).toBe(2);
  });

  it("makes a page with Chinese ids and slices, probabilities, calibration and the command, in which text stays text", async () => {
    const { code, stdout } = await evaluate("assessments.jsonl", "--slices", at("dramas.jsonl"), "--report", at("slices.html"), "--seed", "5", "--stratify");
    expect(code).toBe(0);
    expect(stdout).toMatch(/worst genre in pcc: .*, n = \d+/u);
    expect(stdout).toContain("slices are too small to show");
    const page = await read("slices.html");
    const words = ["always 3", "predicted class", "Answers against the truth", "古装复仇", "短剧《甜宠", "稀有 10", "Reliability", "held-out folds", "Conformal interval", "promised 95 %", "--seed 5", "--stratify"];
    expect(words.filter((one) => !page.includes(one))).toEqual([]);
    expect(/<script|NaN|undefined<|\[object/u.exec(page)).toBeNull();
  });

  it("gives the same bytes twice, and another interval for another seed", async () => {
    const json = async (...more: string[]): Promise<string> => (await evaluate("a.json", "--json", ...more)).stdout;
    const first = await json("--seed", "1");
    expect(await json("--seed", "1")).toBe(first);
    const pcc = (text: string): object => (JSON.parse(text) as { intervals: { pcc: object } }).intervals.pcc;
    expect(pcc(await json("--seed", "2"))).not.toEqual(pcc(first));
    expect(first).not.toMatch(/NaN|Infinity/u);
  });

  it("ends with 1 when a metric is under its limit, and with 0 for a bad model otherwise", async () => {
    expect((await evaluate("b.json")).code).toBe(0);
    const failed = await evaluate("a.json", "--fail-under", "pcc=0.3", "--fail-under", "coverage=1", "--fail-under", "accuracy=0.99", "--out", at("under.json"));
    expect([failed.code, failed.stdout]).toEqual([1, expect.stringMatching(/failed: accuracy 0\.\d{4} is under 0\.99/u)]);
    expect(failed.stdout).not.toContain("failed: pcc");
    expect(await read("under.json")).toContain("coverage");
    const before = await readdir(folder);
    for (const limit of ["bias=0.99", "n=1", "sdPred=0", "toString=1"]) expect(await evaluate("a.json", "--fail-under", limit, "--out", at("unwritten.json"))).toMatchObject({ code: 2, stderr: expect.stringContaining("no metric of which more is better") as string });
    expect(await readdir(folder)).toEqual(before);
    for (const limit of ["pcc", "mse=2", "n=", "magic=1", "constructor=1", "pcc=x", "perClass=1"]) expect((await evaluate("a.json", "--fail-under", limit)).code, limit).toBe(2);
    await object("constant.json", () => 3);
    const constant = await evaluate("constant.json", "--fail-under", "pcc=0");
    expect(constant.code).toBe(1);
    expect(constant.stdout).toContain("undefined (constant-prediction)");
    expect(constant.stdout).toContain("warning: low-entropy");
  });

  it("names file and line of what it cannot take", async () => {
    await writeFile(at("twice.json"), '{"a":1,\n"a":2}');
    const twice = await run("evaluate", "--truth", at("twice.json"), "--predictions", at("a.json"));
    expect([twice.code, twice.stderr]).toEqual([3, expect.stringContaining("in line 1 and in line 2")]);
    await writeFile(at("digits.json"), JSON.stringify({ [ids[1]!]: "4" }));
    expect((await evaluate("digits.json")).code).toBe(3);
    expect((await evaluate("digits.json", "--coerce")).code).toBe(0);
    expect((await evaluate("missing.json")).code).toBe(3);
  });
});

describe("evaluate on files with other columns", () => {
  it("counts records without a class, and refuses records without an answer", async () => {
    await writeFile(at("some-truth.jsonl"), ids.map((dramaId, i) => JSON.stringify(i < 5 ? { dramaId } : { dramaId, quality: gold[i] })).join("\n"));
    const some = await run("evaluate", "--truth", at("some-truth.jsonl"), "--predictions", at("a.json"));
    expect([some.code, some.stdout]).toEqual([0, expect.stringContaining(`warning: 5 of 120 records of ${at("some-truth.jsonl")} have no class`) as string]);
    await writeFile(at("other.jsonl"), `${JSON.stringify({ dramaId: ids[0], label: 3 })}\n`);
    expect(await evaluate("other.jsonl")).toMatchObject({ code: 3, stderr: expect.stringContaining(`${at("other.jsonl")}:1: the prediction of`) as string });
    expect(await run("evaluate", "--truth", at("other.jsonl"), "--predictions", at("a.json"))).toMatchObject({ code: 3, stderr: expect.stringContaining("NO_TRUTH") as string });
  });

  it("warns when no answer matches an id, and of fields that are no slices", async () => {
    await writeFile(at("strangers.json"), '{"x":3}');
    const { stdout } = await evaluate("strangers.json");
    expect(stdout).toContain("warning: no-answers: no answer matches an id");
    expect((await evaluate("a.json", "--compare", at("strangers.json"))).stdout).toContain(`warning: no answer of ${at("strangers.json")} matches an id`);
    const sliced = await evaluate("assessments.jsonl", "--slices", at("dramas.jsonl"));
    expect(sliced.stdout).toContain(`warning: ${at("dramas.jsonl")} is not sliced by franchiseId: the field has more than 50 different values`);
  });
});

describe("calibrate", () => {
  it.each(["fit", "apply"])("%s has help with an example", async (name) => {
    const { code, stdout } = await run("calibrate", name, "--help");
    expect(code).toBe(0);
    expect(stdout).toContain(`Example:\n  dramascope calibrate ${name}`);
  });

  it.each(["isotonic", "affine", "table"])("fits %s, judges it on held-out folds, and applies it", async (method) => {
    const model = `${method}.model.json`;
    const fit = await run("calibrate", "fit", "--predictions", at("b.json"), "--truth", at("truth.json"), "--method", method, "--groups", at("dramas.jsonl"), "--out", at(model), "--json");
    expect(fit.stderr).toBe("");
    const fitted = JSON.parse(fit.stdout) as { calibrationId: string; mseBefore: number; mseHeldOut: number };
    expect(fitted.mseHeldOut).toBeLessThan(fitted.mseBefore);
    const apply = await run("calibrate", "apply", "--model", at(model), "--predictions", at("b.json"), "--out", at("calibrated.jsonl"));
    expect(apply.stderr).toContain(`${N} scores calibrated by ${fitted.calibrationId}`);
    expect(await read("calibrated.jsonl")).toContain(`"calibrationId":"${fitted.calibrationId}"`);
    const before = JSON.parse((await evaluate("b.json", "--json")).stdout) as { metrics: { mse: number } };
    const after = JSON.parse((await evaluate("calibrated.jsonl", "--json")).stdout) as { metrics: { mse: number } };
    expect(after.metrics.mse).toBeLessThan(before.metrics.mse);
  });

  it("makes a feature of a ranker out of other targets", async () => {
    const fit = await run("calibrate", "fit", "--predictions", at("a.json"), "--target", at("clicks.json"), "--out", at("clicks.model.json"));
    expect(fit.stdout).toMatch(/mse after {3}0\.0000\d+ on 5 held-out folds, n = 120/u);
    await run("calibrate", "apply", "--model", at("clicks.model.json"), "--predictions", at("partial.json"), "--out", at("clicks.jsonl"));
    const records = (await read("clicks.jsonl")).trim().split("\n").map((line) => JSON.parse(line) as { target: number | null; rawScore: number | null; reason?: string });
    expect(records.filter(({ target, rawScore, reason }) => target === null && rawScore === null && reason === "no-prediction")).toHaveLength(30);
    expect(records.every(({ target }) => target === null || (target >= 0.01 && target <= 0.05))).toBe(true);
  });

  it("writes nothing when it cannot fit, and reads nothing that was changed", async () => {
    await object("inverted.json", (i) => 6 - gold[i]!);
    const before = await readdir(folder);
    const fit = (...more: string[]): ReturnType<typeof run> => run("calibrate", "fit", "--out", at("never.json"), "--predictions", ...more);
    expect((await fit(at("inverted.json"), "--truth", at("truth.json"), "--method", "affine")).stderr).toContain("INVERTED");
    expect((await fit(at("real.json"), "--truth", at("truth.json"), "--method", "table")).stderr).toContain("TOO_MANY_SCORES");
    expect((await fit(at("a.json"), "--truth", at("truth.json"), "--method", "magic")).code).toBe(2);
    expect((await fit(at("a.json"))).code).toBe(2);
    for (const folds of ["0", "1", "-3", "2.5", "x"]) expect((await fit(at("a.json"), "--truth", at("truth.json"), "--folds", folds)).code, folds).toBe(2);
    expect((await fit(at("a.json"), "--truth", at("truth.json"), "--folds", "121")).stderr).toContain("FOLDS_INVALID");
    expect(await readdir(folder)).toEqual(before);
    await writeFile(at("changed.json"), (await read("isotonic.model.json")).replace(/"n": 120/u, '"n": 121'));
    for (const model of ["changed.json", "truth.json", "absent.json"]) {
      const { code, stderr } = await run("calibrate", "apply", "--model", at(model), "--predictions", at("a.json"), "--out", at("never.jsonl"));
      expect([model, code, stderr]).toEqual([model, 3, expect.stringContaining("CALIBRATION_INVALID")]);
      expect(stderr).toContain(at(model));
      expect(stderr.split("\n")[0]!.length).toBeLessThan(300 + at(model).length);
    }
    const apply = (model: string): ReturnType<typeof run> => run("calibrate", "apply", "--model", model, "--predictions", at("a.json"), "--out", at("marked.jsonl"));
    expect(await apply(folder)).toMatchObject({ code: 3, stderr: expect.stringContaining(`CALIBRATION_INVALID: ${folder} cannot be read`) as string });
    await writeFile(at("marked.json"), `\uFEFF${await read("isotonic.model.json")}`);
    expect((await apply(at("marked.json"))).code).toBe(0);
  });

  it("says that it is a fold which cannot be fitted", async () => {
    await writeFile(at("lone-truth.json"), JSON.stringify(Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`d${i}`, i === 0 ? 5 : 1]))));
    await writeFile(at("lone.json"), JSON.stringify(Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`d${i}`, i === 0 ? 5 : 2]))));
    const { code, stderr } = await run("calibrate", "fit", "--predictions", at("lone.json"), "--truth", at("lone-truth.json"), "--method", "affine", "--out", at("never.json"));
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^CONSTANT_INPUT: without fold \d of 5: all 8 scores are 2/u) as string]);
  });

  it("deals the folds of evaluate, and judges what apply would give", async () => {
    const sixty = (valueOf: (i: number) => number): string => JSON.stringify(Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`x${i}`, valueOf(i)])));
    await writeFile(at("steep-truth.json"), sixty((i) => (i % 3 === 0 ? 1 : 5)));
    await writeFile(at("steep.json"), sixty((i) => (i % 3 === 0 ? 2 + (i % 4) / 10 : 3 + (i % 7) / 4)));
    for (const method of ["affine", "isotonic"] as const) {
      const fit = await run("calibrate", "fit", "--predictions", at("steep.json"), "--truth", at("steep-truth.json"), "--method", method, "--seed", "3", "--out", at("steep.model.json"), "--json");
      const report = await run("evaluate", "--truth", at("steep-truth.json"), "--predictions", at("steep.json"), "--seed", "3", "--json");
      const { calibration } = JSON.parse(report.stdout) as { calibration: Record<typeof method, { mse: number }> };
      expect((JSON.parse(fit.stdout) as { mseHeldOut: number }).mseHeldOut).toBeCloseTo(calibration[method].mse, 12);
    }
  });
});
