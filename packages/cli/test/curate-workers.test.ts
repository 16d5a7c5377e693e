import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { sha256 } from "@dramascope/schema";
import { startPostgres, type PostgresServer } from "@dramascope/test-fixtures/postgres-server.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run, start } from "./cli.ts";
import { filesBelow, sampleProject, type Project } from "./curate-project.ts";

let server: PostgresServer;
let one: Project;
/** SHA-256 of the files that one worker's export consists of. */
let whole: Record<string, string>;
beforeAll(async () => {
  [server, one] = await Promise.all([startPostgres(), sampleProject(["--latency-ms", "60"])]);
  process.env["DRAMASCOPE_TEST_LEDGER"] = server.url;
  await one.curate("run");
  await one.curate("export", "--out", join(one.folder, "runs", "whole"));
  whole = hashesOf(join(one.folder, "runs", "whole"));
}, 60_000);
afterAll(async () => {
  delete process.env["DRAMASCOPE_TEST_LEDGER"];
  await Promise.all([server.stop(), one.teacher.stop()]);
});

const hashesOf = (folder: string): Record<string, string> => Object.fromEntries([...filesBelow(folder)].map(([name, text]) => [name, sha256(text)]));

/** Settings with a ledger of its own in the server. */
async function configOn(schema: string): Promise<string> {
  const config = join(one.folder, `${schema}.yaml`);
  await writeFile(config, (await readFile(one.config, "utf8")).replace(/^ledger: .*$/mu, `ledger: { driver: postgres, urlEnv: DRAMASCOPE_TEST_LEDGER, schema: ${schema} }`));
  return config;
}

/** Runs a command on such a ledger in this process. */
const curateOn = async (schema: string, name: string, ...words: string[]): ReturnType<typeof run> => run("curate", name, "--config", await configOn(schema), ...words);

/** Calls from a number on; the teacher's answers do not depend on them. */
async function callsSince(first: number): Promise<string[]> {
  return (await readFile(one.teacher.journal, "utf8")).split("\n").filter((line) => line.includes('"ev":"call"')).slice(first).map((line) => (JSON.parse(line) as { key: string }).key);
}

async function exported(schema: string): Promise<Record<string, string>> {
  const out = join(one.folder, "runs", schema);
  expect(await curateOn(schema, "export", "--out", out)).toMatchObject({ code: 0 });
  return hashesOf(out);
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Starts workers and waits until they ask; with their process ids. */
async function startWorkers(schema: string, count: number): Promise<{ running: ReturnType<Project["start"]>; pids: number[]; first: number }> {
  const first = one.teacher.requests();
  const running = start(["curate", "run", "--config", await configOn(schema), "--workers", String(count), "--concurrency", "2", "--json"]);
  let text = "";
  running.child.stderr!.on("data", (chunk: string) => (text += chunk));
  while (one.teacher.requests() < first + 10) {
    if (running.child.exitCode !== null) throw new Error(text);
    await setTimeout(20);
  }
  return { running, pids: [...text.matchAll(/worker \d: process (\d+)/gu)].map(([, pid]) => Number(pid)), first };
}

describe("several workers", () => {
  it("share the work, ask nothing twice, and export what one would have", async () => {
    const { running, pids, first } = await startWorkers("shared", 2);
    const { code, stdout, stderr } = await running.done;
    expect([code, pids.length]).toEqual([0, 2]);
    expect(stderr).not.toMatch(/[\u001b\r]/u);
    const { workers, ...all } = JSON.parse(stdout) as { workers: { code: number; result: { calls: number } }[] } & Record<string, unknown>;
    const calls = await callsSince(first);
    expect(workers.map((worker) => worker.code)).toEqual([0, 0]);
    expect(workers.reduce((sum, { result }) => sum + result.calls, 0)).toBe(calls.length);
    expect(new Set(calls).size).toBe(calls.length);
    // One last word, of the whole ledger: a worker's own figures are out of date when others go on.
    expect(all).toMatchObject({ isComplete: true, stopped: null, calls: calls.length, dramasDecided: 25, dramas: 25, open: 0, code: null });
    expect(stderr.match(/^.*dramas decided.*$/gmu)).toEqual([expect.stringMatching(new RegExp(`^complete: ${calls.length} calls for [0-9.]+ USD; 25 of 25 dramas decided; spent in all [0-9.]+ USD$`, "u"))]);
    expect(await exported("shared")).toEqual(whole);
    const callsLeft = async (schema: string): Promise<number> => (JSON.parse((await curateOn(schema, "plan", "--json")).stdout) as { total: { calls: { expected: number } } }).total.calls.expected;
    expect([await callsLeft("shared"), await callsLeft("absent") > 0]).toEqual([0, true]);
    for (const command of ["status", "retry", "report", "export"]) expect(await curateOn("absent", command)).toMatchObject({ code: 3, stderr: expect.stringContaining("LEDGER_MISSING") as string });
  });

  it("are stopped together, and go on together", async () => {
    const { running, pids, first } = await startWorkers("stopped", 2);
    running.child.kill("SIGTERM");
    const { code, stdout } = await running.done;
    expect([code, JSON.parse(stdout)]).toMatchObject([143, { workers: [{ code: 143, result: { stopped: "signal" } }, { code: 143, result: { stopped: "signal" } }] }]);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await curateOn("stopped", "run")).toMatchObject({ code: 0 });
    const calls = await callsSince(first);
    expect(new Set(calls).size).toBe(calls.length);
    expect(await exported("stopped")).toEqual(whole);
  });

  it("do without one that is killed, and say which it was", async () => {
    const { running, pids } = await startWorkers("killed", 2);
    process.kill(pids[1]!, "SIGKILL");
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([1, expect.stringMatching(new RegExp(`worker \\d \\(process ${pids[1]!}\\) ended with SIGKILL; it is not started again`, "u"))]);
    expect(await exported("killed")).toEqual(whole);
  }, 90_000);

  it("end with the process that started them", async () => {
    const { running, pids } = await startWorkers("orphaned", 2);
    running.child.kill("SIGKILL");
    await running.done;
    while (pids.some(isAlive)) await setTimeout(20);
    expect((await curateOn("orphaned", "status")).stdout).toMatch(/steps are open/u);
  });
});
