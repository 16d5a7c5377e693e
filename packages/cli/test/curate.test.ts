import { appendFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { readJsonl, trainingSample } from "@dramascope/schema";
import { afterEach, describe, expect, it } from "vitest";
import { start } from "./cli.ts";
import { CANARY_KEY, CANARY_PHONE, filesBelow, sampleProject, type Project } from "./curate-project.ts";

const projects: Project[] = [];
afterEach(async () => {
  delete process.env["TEACHER_API_KEY"];
  await Promise.all(projects.splice(0).map(({ teacher }) => teacher.stop()));
});
async function project(...args: Parameters<typeof sampleProject>): Promise<Project> {
  const made = await sampleProject(...args);
  projects.push(made);
  return made;
}

/** Waits until the teacher has been asked so often. */
async function asked({ teacher }: Project, count: number): Promise<void> {
  while (teacher.requests() < count) await setTimeout(10);
}

describe("curate", () => {
  it("plans without asking anybody and without leaving a file, then fills the ledger once", async () => {
    const one = await project();
    const before = filesBelow(one.folder);
    const plan = await one.curate("plan");
    expect([plan.code, plan.stderr]).toEqual([0, ""]);
    expect(plan.stdout).toMatch(/SFT 15, GRPO 10, evaluation 5/u);
    expect(filesBelow(one.folder)).toEqual(before);
    expect(one.teacher.requests()).toBe(0);

    const first = await one.curate("run", "--json");
    expect([first.code, JSON.parse(first.stdout)]).toEqual([0, expect.objectContaining({ isComplete: true, stopped: null, code: null, calls: one.teacher.requests() })]);
    expect(first.stderr).toContain("30 dramas: SFT 15, GRPO 10, evaluation 5; 30 without films");
    const requests = one.teacher.requests();
    expect(await one.curate("run")).toMatchObject({ code: 0, stdout: "" });
    expect(one.teacher.requests()).toBe(requests);

    const exported = await one.curate("export", "--json");
    expect(JSON.parse(exported.stdout)).toMatchObject({ out: join(one.folder, "runs", "first", "export"), counts: { grpo: 10, eval: 5 } });
    for (const name of ["sft", "grpo", "eval"]) for await (const sample of readJsonl(join(one.folder, "runs", "first", "export", `${name}.jsonl`), trainingSample)) expect(sample.videos).toHaveLength(5);
    const elsewhere = join(one.folder, "runs", "elsewhere");
    expect((await one.curate("export", "--out", elsewhere)).code).toBe(0);
    expect(filesBelow(elsewhere)).toEqual(filesBelow(join(one.folder, "runs", "first", "export")));
    await writeFile(join(elsewhere, "notes.txt"), "mine");
    expect(await one.curate("export", "--out", elsewhere)).toMatchObject({ code: 2, stderr: expect.stringMatching(/^EXPORT_EXISTS: .*notes\.txt/u) as string });

    const [page, figures, disagree] = ["report.html", "report.json", "disagree.jsonl"].map((name) => join(one.folder, "runs", name));
    const report = await one.curate("report", "--report", page!, "--out", figures!, "--disagree", disagree!);
    expect([report.code, report.stdout]).toEqual([0, expect.stringContaining("SFT dramas")]);
    expect(await readFile(page!, "utf8")).toMatch(/^<!doctype html>/iu);
    expect(JSON.parse(await readFile(figures!, "utf8"))).toMatchObject({ dramas: { sft: expect.any(Array) as number[] } });
    expect(await readFile(disagree!, "utf8")).toContain('"dramaId"');

    const status = await one.curate("status", "--json");
    expect(JSON.parse(status.stdout)).toMatchObject({ counts: { caption: { done: 25, planned: 0 } } });
  });

  it("is looked at while it runs, by nobody else written to, and stops in order", async () => {
    const one = await project(["--latency-ms", "150"]);
    const running = one.start(["run", "--concurrency", "4"]);
    await asked(one, 8);
    const status = await one.curate("status");
    expect([status.code, status.stdout]).toEqual([0, expect.stringMatching(/caption +\d+/u)]);
    const second = await one.curate("run", "--json");
    expect([second.code, second.stderr, JSON.parse(second.stdout)]).toEqual([4, expect.stringMatching(new RegExp(`^LEDGER_LOCKED: .*${running.child.pid!}`, "u")), { error: { code: "LEDGER_LOCKED", message: expect.any(String) as string, hint: expect.any(String) as string } }]);
    expect((await one.curate("retry")).code).toBe(4);

    running.child.kill("SIGINT");
    const { code, stdout, stderr } = await running.done;
    expect([code, stdout]).toEqual([130, ""]);
    expect(stderr).toContain("stopping: what is under way may end; once more stops at once");
    expect(stderr).toMatch(/^not complete: .*; stopped, the same command goes on$/mu);
    expect(stderr).not.toMatch(/[\u001b\r]/u);
    // Whatever was asked has been kept: nothing is asked twice.
    expect((await one.curate("run")).code).toBe(0);
    const calls = (await readFile(one.teacher.journal, "utf8")).split("\n").filter((line) => line.includes('"ev":"call"')).map((line) => (JSON.parse(line) as { key: string }).key);
    expect(new Set(calls).size).toBe(calls.length);
  });

  it("deletes dramas, which come back while they are in the input", async () => {
    const one = await project();
    const { folder } = one;
    expect(await one.curate("delete", "d1")).toMatchObject({ code: 3, stderr: expect.stringMatching(/^LEDGER_MISSING/u) as string });
    await one.curate("run", "--limit", "3");
    const [first] = (await readFile(join(folder, "data", "dramas.jsonl"), "utf8")).trim().split("\n").map((line) => (JSON.parse(line) as { dramaId: string }).dramaId);
    const frames = join(folder, "runs", "first", "frames", first!);
    await mkdir(frames, { recursive: true });
    const deleted = await one.curate("delete", first!, first!, "--json");
    expect([deleted.code, JSON.parse(deleted.stdout)]).toEqual([0, { dramas: 1, steps: expect.any(Number) as number, unknown: [] }]);
    expect(deleted.stderr).toContain("comes back at the next run");
    expect(await readdir(join(frames, ".."))).toEqual([]);
    const again = await one.curate("delete", first!, "--json");
    expect([again.code, JSON.parse(again.stdout)]).toEqual([1, { dramas: 0, steps: 0, unknown: [first] }]);
    await one.curate("run", "--limit", "3");
    expect(JSON.parse((await one.curate("delete", first!, "--json")).stdout)).toMatchObject({ dramas: 1 });
  });

  it("ends at once when it is told twice", async () => {
    const one = await project(["--latency-ms", "60000"]);
    const { child, done } = one.start(["run"], { env: { CI: "1" } });
    await asked(one, 2);
    child.kill("SIGTERM");
    await setTimeout(400);
    expect(child.exitCode).toBeNull();
    child.kill("SIGTERM");
    expect(await done).toMatchObject({ code: 143 });
    expect((await one.curate("status")).code).toBe(0);
  });

  it("says which answers were of no use, and asks again for those that are named", async () => {
    const one = await project();
    const [drama] = Object.keys(JSON.parse(await readFile(join(one.folder, "data", "truth.json"), "utf8")) as object);
    await one.faults([{ id: "cut", match: { task: "caption" }, fault: "length" }, { id: "no", match: { task: "cot", drama }, fault: "content_filter" }]);
    const first = await one.curate("run", "--json");
    const { code, counts } = JSON.parse(first.stdout) as { code: string; counts: Record<string, Record<string, number>> };
    expect([first.code, code, counts["caption"]!["failed"]]).toEqual([1, "STEPS_FAILED", 25]);
    expect(first.stderr).toMatch(/^STEPS_FAILED: .*dramascope curate retry.*\n25 failed: TRUNCATED$/mu);

    expect(await one.curate("retry", "--kind", "comment")).toMatchObject({ code: 2, stderr: expect.stringContaining("did you mean comments?") as string });
    for (const [words, freed] of [[["--code", "EMPTY"], 0], [["--kind", "comments"], 0], [["--kind", "caption", "--code", "TRUNCATED"], 25]] as const) {
      const { stdout } = await one.curate("retry", ...words, "--json");
      expect([words, JSON.parse(stdout)]).toEqual([words, { freed }]);
    }
    await one.faults([]);
    expect((await one.curate("run")).code).toBe(0);
  });

  it("parks what the provider cannot answer now, without an error of its own", async () => {
    const one = await project([], "");
    await one.faults([{ id: "down", match: { task: "caption" }, fault: "http", status: 503 }]);
    const first = await one.curate("run", "--json", "--quiet", "--limit", "3", "--set", "teacher.maxAttempts=2", "teacher.backoffMs=5");
    const troubles = [{ state: "parked", code: expect.stringMatching(/^[A-Z][A-Z0-9_]+$/u) as string, n: 3 }];
    expect([first.code, JSON.parse(first.stdout)]).toEqual([1, expect.objectContaining({ code: "STEPS_PARKED", isComplete: false, troubles })]);
    // Quiet says errors only, and these are errors.
    expect(first.stderr).toMatch(/^STEPS_PARKED: [^\n]*\n3 parked: [A-Z0-9_]+\n$/u);
    expect([(await one.curate("status")).stdout, JSON.parse((await one.curate("status", "--json")).stdout)]).toEqual([expect.stringMatching(/^3 parked: [A-Z0-9_]+$/mu), expect.objectContaining({ troubles })]);
    await one.faults([]);
    expect(JSON.parse((await one.curate("retry", "--json")).stdout)).toEqual({ freed: 3 });
    expect((await one.curate("run")).code).toBe(0);
  });

  it("stops at the budget, says so, and goes on with a larger one", async () => {
    const one = await project();
    const first = await one.curate("run", "--max-cost", "0.02", "--json");
    expect([first.code, JSON.parse(first.stdout)]).toEqual([1, expect.objectContaining({ code: "BUDGET_REACHED", stopped: "budget", isComplete: false })]);
    expect(first.stderr).toContain("--max-cost");
    expect((await one.curate("run")).code).toBe(0);
  });

  it("refuses other prompts, models and samplings unless a new generation is asked for", async () => {
    const one = await project();
    expect((await one.curate("run", "--limit", "2")).code).toBe(0);
    const other = ["--set", "teacher.model=teacher-sim-2", "--limit", "2"];
    expect(await one.curate("run", ...other)).toMatchObject({ code: 2, stderr: expect.stringMatching(/GENERATION_CHANGED: .*model[^]*--new-generation/u) as string });
    expect((await one.curate("run", ...other, "--new-generation")).code).toBe(0);
  });

  it("keeps keys and telephone numbers to itself", async () => {
    const one = await project(["--api-key", CANARY_KEY], "");
    const dramas = join(one.folder, "data", "dramas.jsonl");
    await writeFile(dramas, (await readFile(dramas, "utf8")).replaceAll('"comments":[', `"comments":[{"text":"call ${CANARY_PHONE} now","likes":9999,"episode":1},`));
    await appendFile(dramas, "not json\n");
    const config = await readFile(one.config, "utf8");
    await writeFile(one.config, config.replace("# apiKeyEnv:", "apiKeyEnv:"));
    const outputs: string[] = [];
    const run = async (key: string, ...words: string[]): Promise<number | null> => {
      process.env["TEACHER_API_KEY"] = key;
      const { code, stdout, stderr } = await one.curate(...words, "--progress", "json", "--verbose");
      outputs.push(stdout, stderr);
      return code;
    };
    expect(await run("", "run")).toBe(4);
    expect(outputs.at(-1)).toContain("TEACHER_API_KEY");
    expect(await run(`${CANARY_KEY}-wrong`, "run")).toBe(4);
    expect(outputs.at(-1)).toContain("TEACHER_UNAVAILABLE");
    expect(await run(CANARY_KEY, "run")).toBe(0);
    expect(outputs.at(-1)).toMatch(/^\{"event":"progress","phase":"curate",.*"figures":\{/mu);
    expect(await run(CANARY_KEY, "export")).toBe(0);
    expect(await run(CANARY_KEY, "report", "--report", join(one.folder, "runs", "r.html"), "--out", join(one.folder, "runs", "r.json"), "--include-comments", "--json")).toBe(0);
    const written = [...filesBelow(join(one.folder, "runs"))].map(([name, text]) => `${name}\n${text}`);
    for (const text of [...written, ...outputs, await readFile(one.teacher.bodies, "utf8")]) expect([text.includes(CANARY_KEY), text.includes(CANARY_PHONE)]).toEqual([false, false]);
    expect(await readFile(join(one.folder, "runs", "first", "rejected.jsonl"), "utf8")).toContain('"line":31');
  });

  it.each(["", "\u0000\u0001\u00fe\n\u0007\n"])("refuses an input without a drama: %j", async (text) => {
    const one = await project();
    await writeFile(join(one.folder, "data", "dramas.jsonl"), text, "latin1");
    for (const name of ["plan", "run"]) {
      const { code, stderr } = await one.curate(name);
      expect([name, code, stderr]).toEqual([name, 3, expect.stringMatching(text === "" ? /^NO_DRAMAS: .*dramas\.jsonl holds no drama .*: it is empty$/mu : /^NO_DRAMAS: .*dramas\.jsonl holds no drama .*: 2 lines are left out$/mu)]);
    }
    expect(one.teacher.requests()).toBe(0);
  });

  it.each([
    [["run", "--workers", "2"], 2, /one writer/u],
    [["run", "--workers", "0"], 2, /--workers wants 1 or more/u],
    [["run", "--stages", "caption,commnts"], 2, /did you mean comments\?/u],
    [["run", "--ledger", "mysql://x"], 2, /--ledger wants sqlite:FILE or postgres/u],
    [["run", "--max-cost", "much"], 2, /--max-cost wants an amount/u],
    [["plan", "--max-cost", "0"], 2, /--max-cost: budget\.maxCost/u],
    [["plan", "--set", "rounds"], 2, /such as rounds\.max=4/u],
    [["plan", "--set", "rounds.mx=3"], 2, /--set: rounds\.mx is no setting; did you mean rounds\.max\?/u],
    [["run", "--set", "input.labels=nowhere.jsonl"], 3, /nowhere\.jsonl/u],
    [["status"], 3, /LEDGER_MISSING/u],
    [["export"], 3, /LEDGER_MISSING/u],
    [["retry"], 3, /LEDGER_MISSING/u],
  ] as const)("%j ends with %i and a reason", async (words, code, message) => {
    const one = await project();
    const before = filesBelow(one.folder);
    const result = await one.curate(...words);
    expect([result.code, result.stderr]).toEqual([code, expect.stringMatching(message)]);
    expect([...filesBelow(one.folder).keys()].filter((name) => !before.has(name) && !/ledger\.db|calls\.jsonl$/u.test(name))).toEqual([]);
  });

  it("names line and column of a wrong setting in the dramascope.yaml of the folder", async () => {
    const one = await project();
    await writeFile(one.config, (await readFile(one.config, "utf8")).replace("  model: teacher-sim-1", "  modle: teacher-sim-1"));
    const { code, stderr } = await start(["curate", "plan"], { cwd: one.folder }).done;
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^CONFIG_INVALID: dramascope\.yaml:\d+:3: teacher\.modle is no setting; did you mean teacher\.model\?\n {2}→ Correct the named settings\.\n$/u)]);
  });

  it("keeps its ledger elsewhere when told to", async () => {
    const one = await project();
    await mkdir(join(one.folder, "else"));
    const address = `sqlite:${join(one.folder, "else", "l.db")}`;
    expect((await one.curate("run", "--limit", "1", "--ledger", address)).code).toBe(0);
    expect((await one.curate("status", "--ledger", address)).code).toBe(0);
    expect((await one.curate("status")).code).toBe(3);
  });
});
