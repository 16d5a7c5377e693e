import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exportSets, openPostgresLedger, openSqliteLedger, runCuration } from "@dramascope/curation";
import { createRandom } from "@dramascope/schema";
import { startPostgres, type PostgresServer } from "@dramascope/test-fixtures/postgres-server.ts";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { collect } from "./answered-ledger.ts";
import { callCounter, filesOf, sentAfterKept, startRun, stepsOf, until, type RunChild } from "./killable-child.ts";
import { killableConfig } from "./killable-run.ts";
import { callsOf, dramas, repeatedCalls } from "./simulator.ts";

/** Dramas of a run; a large one is for a machine with time. */
const DRAMAS = Number(process.env["DRAMASCOPE_CHAOS_DRAMAS"] ?? 40);
const WORKERS = 4;
/** Calls at once of one worker. */
const CONCURRENCY = 4;
const LEASE_MS = 3_000;
/** Two workers are killed and one is stopped; each may have had its calls on the way. */
const MOST_REPEATS = 3 * CONCURRENCY;

const random = createRandom(Number(process.env["DRAMASCOPE_CHAOS_SEED"] ?? 1));
const folderOf = (name: string): string => mkdtempSync(join(tmpdir(), `${name}-`));
let server: PostgresServer;
let calm: { files: Record<string, string>; steps: string[]; calls: number };
beforeAll(async () => {
  server = await startPostgres();
  const teacher = await startSimulator({ bodies: false });
  const folder = folderOf("calm");
  const config = killableConfig(teacher.baseURL, folder, DRAMAS);
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  const { calls } = await runCuration({ config, dramas: dramas(DRAMAS), ledger });
  await exportSets(ledger, config, join(folder, "export"));
  calm = { files: filesOf(join(folder, "export")), steps: await stepsOf(ledger), calls };
  await ledger.close();
  await teacher.stop();
});
afterAll(() => server.stop());

const workers: RunChild[] = [];
let teacher: Simulator | undefined;
afterEach(async () => {
  for (const { process } of workers.splice(0)) process.kill("SIGKILL");
  await teacher?.stop();
});

test.each([
  { how: "is restarted", schema: "restarted", outage: () => server.restart() },
  { how: "is killed", schema: "killed", outage: () => server.kill9().then(() => server.restart()) },
])("exports the same as one undisturbed worker when workers are killed or stopped and the server $how", { timeout: 60_000 + DRAMAS * 2_000 }, async ({ schema, outage }) => {
  teacher = await startSimulator({ args: ["--latency-ms", "100-300"], bodies: false });
  const folder = folderOf(schema);
  const calls = callCounter(teacher.journal);
  const inFlight = WORKERS * CONCURRENCY;
  for (let i = 1; i <= WORKERS; i++) workers.push(startRun(teacher.baseURL, folder, DRAMAS, { postgres: { url: server.url, schema }, owner: `worker ${i}`, leaseMs: LEASE_MS, concurrency: CONCURRENCY, inFlight }));
  const [first, second, third, fourth] = workers as [RunChild, RunChild, RunChild, RunChild];
  /** Somewhere in a tenth of the run. */
  const reached = (share: number): Promise<void> => {
    const wanted = calm.calls * (share + 0.1 * random.uniform());
    return until(() => calls() >= wanted, fourth);
  };

  await reached(0.1);
  first.process.kill("SIGKILL");
  await reached(0.25);
  const down = performance.now();
  await outage();
  const outageMs = performance.now() - down;
  await reached(0.4);
  second.process.kill("SIGKILL");
  await reached(0.55);
  third.process.kill("SIGSTOP");
  await sleep(1.2 * LEASE_MS);
  const before = calls();
  await until(() => calls() >= before + 2 * CONCURRENCY, fourth);
  third.process.kill("SIGCONT");
  expect(await Promise.all([third, fourth].map(({ ended }) => ended))).toEqual([0, 0]);
  expect([third.errors(), fourth.errors()]).toEqual(["", ""]);

  const ledger = await openPostgresLedger(server.url, { schema, bossSchema: null });
  const config = killableConfig(teacher.baseURL, folder, DRAMAS, { inFlight });
  await exportSets(ledger, config, join(folder, "export"));
  const [steps, rows, spending] = [await stepsOf(ledger), await collect(ledger.stream({})), await ledger.spending()];
  await ledger.close();
  expect(filesOf(join(folder, "export"))).toEqual(calm.files);
  expect(steps).toEqual(calm.steps);
  expect(rows.some(({ fence }) => fence > 1)).toBe(true);
  expect(sentAfterKept(folder)).toEqual([]);
  const repeats = repeatedCalls(teacher.journal);
  // Leases run on while the server is away, and end when it is away for long.
  expect(repeats).toBeLessThanOrEqual(MOST_REPEATS + (outageMs > LEASE_MS / 2 ? inFlight : 0));
  const billed = callsOf(teacher.journal).reduce((sum, { cost }) => sum + cost, 0);
  expect(spending.settled + spending.unknown + spending.inFlight).toBeGreaterThanOrEqual(billed - 1e-9);
  if (DRAMAS > 40) process.stderr.write(`${JSON.stringify({ dramas: DRAMAS, rows: rows.length, calls: calls(), repeats, outageMs, leasedAgain: rows.filter(({ fence }) => fence > 1).length, billed, spending })}\n`);
});
