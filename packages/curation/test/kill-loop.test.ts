import { existsSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exportSets, openSqliteLedger, runCuration, type StepLedger } from "@dramascope/curation";
import { createRandom } from "@dramascope/schema";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterEach, expect, test } from "vitest";
import { collect } from "./answered-ledger.ts";
import { callCounter, filesOf, sentAfterKept, startRun, stepsOf, until, type RunChild } from "./killable-child.ts";
import { killableConfig } from "./killable-run.ts";
import { callsOf, dramas, repeatedCalls } from "./simulator.ts";

/** Kills and dramas of the loop; a long one is for a machine with time. */
const KILLS = Number(process.env["DRAMASCOPE_KILLS"] ?? 12);
const DRAMAS = Number(process.env["DRAMASCOPE_KILL_DRAMAS"] ?? 60);
const LOOP_MS = 60_000 + KILLS * 10_000 + DRAMAS * 1_000;
const IN_FLIGHT = 8;
/** Kills that come while a run starts up: it opens the ledger, reads and plans. */
const START_SHARE = 0.25;

const random = createRandom(Number(process.env["DRAMASCOPE_KILL_SEED"] ?? 1));
const simulators: Simulator[] = [];
const children: RunChild[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.process.kill("SIGKILL");
  await Promise.all(simulators.splice(0).map((one) => one.stop()));
});
async function simulator(...args: string[]): Promise<Simulator> {
  const one = await startSimulator({ args, bodies: false });
  simulators.push(one);
  return one;
}
const folderOf = (name: string): string => mkdtempSync(join(tmpdir(), `${name}-`));
const run = (...args: Parameters<typeof startRun>): RunChild => {
  const child = startRun(...args);
  children.push(child);
  return child;
};
async function withLedger<T>(folder: string, work: (ledger: StepLedger) => Promise<T>): Promise<T> {
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  try {
    return await work(ledger);
  } finally {
    await ledger.close();
  }
}

/** A run that nothing happens to, in this process. */
async function calmRun(teacher: Simulator, folder: string, count: number, { isPlanOnly = false } = {}) {
  const config = killableConfig(teacher.baseURL, folder, count);
  return withLedger(folder, async (ledger) => {
    const summary = await runCuration({ config, dramas: dramas(count), ledger, ...(isPlanOnly ? { stages: [] } : {}) });
    if (!isPlanOnly) await exportSets(ledger, config, join(folder, "export"));
    return { summary, steps: await stepsOf(ledger), spending: await ledger.spending() };
  });
}

test(`finishes with the same export after ${KILLS} kills, and repeats no more calls than were in flight`, { timeout: LOOP_MS }, async () => {
  const calm = folderOf("calm");
  const { summary, steps } = await calmRun(await simulator(), calm, DRAMAS);
  const teacher = await simulator("--latency-ms", "20-80");
  const folder = folderOf("killed");
  const calls = callCounter(teacher.journal);
  let startMs = 1_000;
  let kills = 0;
  for (; kills < KILLS; kills++) {
    const before = calls();
    const began = performance.now();
    const child = run(teacher.baseURL, folder, DRAMAS);
    if (kills > 0 && random.uniform() < START_SHARE) await sleep(random.uniform() * startMs);
    else {
      await until(() => calls() > before, child);
      startMs = performance.now() - began;
      // So many more calls, so that the moment does not hang on the machine's speed, and a moment more.
      const share = Math.max(4, (1.4 * (summary.calls - before)) / (KILLS - kills) - 20);
      const wanted = before + 1 + Math.floor(random.uniform() * share);
      await until(() => calls() >= wanted, child);
      await sleep(random.uniform() * 50);
    }
    child.process.kill("SIGKILL");
    if ((await child.ended) !== null) break;
  }
  expect(kills).toBe(KILLS);
  const last = run(teacher.baseURL, folder, DRAMAS);
  expect([await last.ended, last.errors()]).toEqual([0, ""]);

  const asked = calls();
  const end = await calmRun(teacher, folder, DRAMAS);
  expect([end.summary.calls, calls(), end.summary.isComplete]).toEqual([0, asked, true]);
  expect(filesOf(join(folder, "export"))).toEqual(filesOf(join(calm, "export")));
  expect(end.steps).toEqual(steps);
  const repeats = repeatedCalls(teacher.journal);
  expect(repeats).toBeLessThanOrEqual(KILLS * IN_FLIGHT);
  expect(sentAfterKept(folder)).toEqual([]);
  const billed = callsOf(teacher.journal).reduce((sum, { cost }) => sum + cost, 0);
  const { settled, unknown, inFlight, calls: attempts } = end.spending;
  // What was sent without an answer heard stays charged, at no less than what was billed for it.
  expect(inFlight).toBe(0);
  expect(settled).toBeLessThanOrEqual(billed + 1e-9);
  expect(unknown).toBeGreaterThanOrEqual(billed - settled - 1e-9);
  expect(attempts).toBeGreaterThanOrEqual(asked);
  expect(attempts).toBeLessThanOrEqual(asked + KILLS * IN_FLIGHT);
  if (KILLS > 12) process.stderr.write(`${JSON.stringify({ kills, dramas: DRAMAS, rows: end.steps.length, calls: asked, repeats, billed, settled, unknown, attempts })}\n`);
});

test("plans the same after kills while it reads and plans", { timeout: 120_000 }, async () => {
  const count = 2_000;
  const teacher = await simulator();
  const [calm, folder] = [folderOf("calm"), folderOf("killed")];
  const { steps } = await calmRun(teacher, calm, count, { isPlanOnly: true });
  const planned = (): boolean => existsSync(join(folder, "ledger.db"));
  let kills = 0;
  for (let i = 0; i < 4; i++) {
    const child = run(teacher.baseURL, folder, count, { isPlanOnly: true });
    await until(() => existsSync(join(folder, "ledger.db.lock")), child);
    await until(planned, child);
    await sleep(random.uniform() * 300);
    child.process.kill("SIGKILL");
    if ((await child.ended) === null) kills++;
  }
  expect(kills).toBeGreaterThan(1);
  const last = run(teacher.baseURL, folder, count, { isPlanOnly: true });
  expect([await last.ended, last.errors()]).toEqual([0, ""]);
  const recordsOf = (place: string) => withLedger(place, (ledger) => collect(ledger.dramas()));
  expect(await recordsOf(folder)).toEqual(await recordsOf(calm));
  expect(await withLedger(folder, stepsOf)).toEqual(steps);
  expect(teacher.requests()).toBe(0);
});

test("leaves a whole export or none when it is killed while it writes one", { timeout: 120_000 }, async () => {
  const teacher = await simulator();
  const folder = folderOf("exported");
  await calmRun(teacher, folder, 120);
  const whole = filesOf(join(folder, "export"));
  const place = folderOf("exports");
  const isWriting = (): boolean => readdirSync(place).some((name) => name.startsWith(".sets"));
  let kills = 0;
  for (let i = 0; i < 3; i++) {
    const child = run(teacher.baseURL, folder, 120, { exportTo: join(place, "sets") });
    const before = readdirSync(place).length;
    await until(() => isWriting() && readdirSync(place).length > before, child);
    await sleep(random.uniform() * 120);
    child.process.kill("SIGKILL");
    if ((await child.ended) === null) kills++;
    if (existsSync(join(place, "sets"))) expect(filesOf(join(place, "sets"))).toEqual(whole);
  }
  expect(kills).toBeGreaterThan(0);
  expect(await run(teacher.baseURL, folder, 120, { exportTo: join(place, "sets") }).ended).toBe(0);
  expect(filesOf(join(place, "sets"))).toEqual(whole);
});

test("lets one process at a time write a ledger, and the next one after a kill", { timeout: 60_000 }, async () => {
  const teacher = await simulator("--latency-ms", "200");
  const folder = folderOf("locked");
  const calls = callCounter(teacher.journal);
  const first = run(teacher.baseURL, folder, 30);
  await until(() => calls() > 0, first);
  const second = run(teacher.baseURL, folder, 30);
  expect(await second.ended).toBe(1);
  expect(second.errors()).toContain("LEDGER_LOCKED");
  expect(second.errors()).toContain(`process ${first.process.pid!} has been working`);
  expect(first.hasEnded()).toBe(false);
  const before = calls();
  first.process.kill("SIGKILL");
  await first.ended;
  const third = run(teacher.baseURL, folder, 30);
  await until(() => calls() > before + IN_FLIGHT, third);
  expect([third.hasEnded(), calls() > before + IN_FLIGHT]).toEqual([false, true]);
});
