import type { StepLedger } from "@dramascope/curation";
import { expect, test } from "vitest";
import { record, step } from "./ledger-steps.ts";
import { postgresUnderTest } from "./postgres-under-test.ts";

const postgres = postgresUnderTest();
const { server, sql } = postgres;
const open = (bossSchema: string): Promise<StepLedger> => postgres.open("dramascope", { bossSchema });
const beWorker = (ledger: StepLedger, max = 0) => ledger.lease({ owner: "w", max, ttlMs: 60_000, generation: 1 });
/** Once it is awake for no other reason than time, a worker no longer looks for itself. */
const untilListening = async (ledger: StepLedger): Promise<void> => {
  for (let waited = 0; waited < 1_400; ) {
    const start = performance.now();
    await ledger.wake(1_500);
    waited = performance.now() - start;
  }
};

test("wakes an idle worker for the work of another", async () => {
  const [busy, idle] = [await open("boss"), await open("boss")];
  await busy.openGeneration("first", null);
  await busy.putDramas([record("d1")]);
  await beWorker(busy);
  await beWorker(idle);
  await untilListening(busy);
  await untilListening(idle);
  for (let round = 1; round <= 3; round++) {
    const woken = idle.wake(600_000);
    await busy.plan([step("d1", { kind: "sample", round })], 1);
    await woken;
    const found = await beWorker(idle, 1);
    expect(found.map((leased) => leased.step.round)).toEqual([round]);
  }
  const queues = await sql<{ name: string; policy: string }>("SELECT name, policy FROM boss.queue WHERE name LIKE 'dramascope.%' ORDER BY name");
  expect(queues).toEqual([{ name: "dramascope.sweep", policy: "exclusive" }, { name: "dramascope.work", policy: "short" }]);
  expect(await sql("SELECT name, cron FROM boss.schedule")).toEqual([{ name: "dramascope.sweep", cron: "* * * * *" }]);
});

test("wakes an idle worker after the server was away", async () => {
  const [busy, idle] = [await open("boss"), await open("boss")];
  await beWorker(busy);
  await beWorker(idle);
  await untilListening(busy);
  await untilListening(idle);
  const woken = idle.wake(600_000);
  await server().restart();
  await busy.plan([step("d1", { kind: "sample", round: 10 })], 1);
  await woken;
  expect((await beWorker(idle, 1)).map((leased) => leased.step.round)).toEqual([10]);
});

test("looks for work itself where pg-boss cannot start", async () => {
  const [busy, idle] = [await open("pg_forbidden"), await open("pg_forbidden")];
  await beWorker(idle);
  await busy.plan([step("d1", { kind: "sample", round: 20 })], 1);
  await idle.wake(600_000);
  expect((await beWorker(idle, 1)).map((leased) => leased.step.round)).toEqual([20]);
});
