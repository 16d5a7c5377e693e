import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { estimate, exportSets, openSqliteLedger, parseCurationConfig, runCuration, type RunSummary } from "@dramascope/curation";
import { curatedSample, readJsonl, trainingSample } from "@dramascope/schema";
import { afterEach, describe, expect, it } from "vitest";
import { CANARY_KEY, CANARY_PHONE, dramas, repeatedCalls, settings, startSimulator, type Simulator } from "./simulator.ts";

let simulators: Simulator[] = [];
afterEach(() => {
  simulators.forEach((one) => one.stop());
  simulators = [];
});
async function simulator(args: string[] = [], faults?: object): Promise<Simulator> {
  const one = await startSimulator(args, faults);
  simulators.push(one);
  return one;
}

async function curate(one: Simulator, folder: string, count = 24, extra: object = {}): Promise<{ summary: RunSummary; files: Record<string, string> }> {
  const config = parseCurationConfig({ ...settings(one.baseURL), ...extra });
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  try {
    const summary = await runCuration({ config, dramas: dramas(count), ledger, apiKey: CANARY_KEY, journal: join(folder, "journal.jsonl") });
    await exportSets({ config, dramas: dramas(count), ledger }, join(folder, "export"));
    return { summary, files: await readAll(join(folder, "export")) };
  } finally {
    ledger.close();
  }
}

async function readAll(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), "utf8")] as const)));
}

const temporary = (): Promise<string> => mkdtemp(join(tmpdir(), "dramascope-curation-"));

describe("a run against the teacher", () => {
  it("fills the ledger once, exports valid records, and a second run asks nothing", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const { summary, files } = await curate(teacher, folder);
    expect([summary.isComplete, summary.stopped]).toEqual([true, null]);
    const requests = teacher.requests();
    expect(requests).toBe(summary.calls);
    expect(summary.funnel.stages[0]).toMatchObject({ name: "dramas", count: 19 });
    for await (const sample of readJsonl(join(folder, "export", "samples.jsonl"), curatedSample)) expect(sample.caption).toBeTruthy();
    let count = 0;
    for (const name of ["sft.jsonl", "grpo.jsonl", "eval.jsonl"]) for await (const sample of readJsonl(join(folder, "export", name), trainingSample)) count += sample.videos.length === 5 ? 1 : 0;
    expect(count).toBeGreaterThan(8);
    const again = await curate(teacher, folder);
    expect(again.summary.calls).toBe(0);
    expect(teacher.requests()).toBe(requests);
    expect(again.files).toEqual(files);
    const everything = JSON.stringify([files, await readFile(join(folder, "journal.jsonl"), "utf8"), await readFile(join(folder, "ledger.db"), "latin1"), await readFile(teacher.bodies, "utf8")]);
    expect(everything).not.toContain(CANARY_KEY);
    expect(everything).not.toContain(CANARY_PHONE);
  });

  it("exports the same whatever goes wrong on the way", async () => {
    const clean = await curate(await simulator(), await temporary());
    const rules = ["http_429", "reset", "truncated_json", "invalid_utf8", "error_in_200", "empty_body", "reset_mid_body", "wrong_content_type", "security_retry", "redirect", "no_choices", "bad_gzip", "length_lies", "bad_http"].map((fault, i) => ({
      id: `f${i}`, fault, probability: 0.04, ...(fault === "http_429" ? { retryAfter: 0.02 } : {}),
    }));
    const faulty = await curate(await simulator([], { rules: [...rules, { id: "http", fault: "http", status: 503, probability: 0.05 }, { id: "hang", fault: "hang", times: 1, match: { task: "caption", drama: ["7300000000000000002"] }, scope: "rule" }] }), await temporary());
    expect(faulty.summary.isComplete).toBe(true);
    expect(faulty.files).toEqual(clean.files);
  });

  it("counts refusals and unusable answers instead of inventing any", async () => {
    const rules = [{ id: "r", fault: "refusal", match: { task: "caption", drama: ["7300000000000000003"] } }, { id: "p", fault: "prose", match: { task: "cot" } }];
    const { summary, files } = await curate(await simulator([], { rules }), await temporary());
    expect(summary.isComplete).toBe(true);
    expect(summary.funnel.problems["NO_JSON"]).toBeGreaterThan(0);
    expect(summary.funnel.problems["REFUSED"]).toBe(1);
    expect(files["sft.jsonl"]).toBe("");
  });

  it("stops at the budget and at a wrong key", async () => {
    const teacher = await simulator();
    const folder = await temporary();
    const { summary } = await curate(teacher, folder, 24, { budget: { maxCost: 0.02 } });
    expect(summary.stopped).toBe("budget");
    expect(summary.cost).toBeLessThanOrEqual(0.02);
    const locked = await simulator(["--api-key", "another"]);
    await expect(curate(locked, await temporary())).rejects.toThrow(expect.objectContaining({ code: "TEACHER_UNAVAILABLE" }) as Error);
  });

  it("lets one process at a time work on a ledger", async () => {
    const folder = await temporary();
    const ledger = openSqliteLedger(join(folder, "x.db"));
    ledger.close();
    const { writeFile } = await import("node:fs/promises");
    await writeFile(join(folder, "x.db.lock"), `${process.ppid} ${hostname()}`);
    expect(() => openSqliteLedger(join(folder, "x.db"))).toThrow(expect.objectContaining({ code: "LEDGER_LOCKED" }) as Error);
  });

  it("estimates without a call", () => {
    const { calls, dramas: counts } = estimate({ config: parseCurationConfig(settings("http://127.0.0.1:9/v1")), dramas: dramas(24) });
    expect(counts).toEqual({ sft: 18, grpo: 1, eval: 5 });
    expect(calls.low).toBeLessThan(calls.expected);
    expect(calls.expected).toBeLessThan(calls.high);
  });
});

describe("a killed run", () => {
  it("finishes with the same export, and repeats no more calls than were in flight", async () => {
    const whole = await curate(await simulator(["--latency-ms", "10-40"]), await temporary(), 30);
    const teacher = await simulator(["--latency-ms", "10-40"]);
    const folder = await temporary();
    const child = (killAfterMs?: number): Promise<number | null> =>
      new Promise((settle) => {
        const process_ = spawn(process.execPath, ["--conditions=@dramascope/source", fileURLToPath(new URL("killable-run.ts", import.meta.url)), teacher.baseURL, folder], { stdio: "inherit" });
        if (killAfterMs !== undefined) setTimeout(() => process_.kill("SIGKILL"), killAfterMs);
        process_.on("close", (code) => settle(code));
      });
    let kills = 0;
    for (const delay of [350, 420, 500, 450, 380]) {
      kills++;
      if ((await child(delay)) === 0) break;
    }
    expect(await child()).toBe(0);
    const files = await readAll(join(folder, "export"));
    expect(files).toEqual(whole.files);
    expect(repeatedCalls(teacher.journal)).toBeLessThanOrEqual(kills * 8);
  });
});
