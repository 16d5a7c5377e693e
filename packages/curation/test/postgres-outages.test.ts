import { setTimeout as sleep } from "node:timers/promises";
import { CurationError, openPostgresLedger, openPostgresSlots } from "@dramascope/curation";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { all, done, nothing, record, step } from "./ledger-steps.ts";
import { startLossyProxy, type LossyProxy } from "./lossy-proxy.ts";
import { postgresUnderTest } from "./postgres-under-test.ts";

const { server, open, sql } = postgresUnderTest();
let proxy: LossyProxy;
beforeAll(async () => {
  proxy = await startLossyProxy(server().url);
});
afterAll(() => proxy.stop());

const refusal = (work: Promise<unknown>): Promise<CurationError> => work.then(() => expect.unreachable(), (error: unknown) => error as CurationError);

test("takes effect once when the answer to a commit is lost", async () => {
  const ledger = await open("lossy", { url: proxy.url, maxCost: 10 });
  await ledger.openGeneration("first", null);
  proxy.loseCommit();
  await ledger.putDramas([record("d1"), record("d2")]);
  proxy.loseCommit();
  expect(await ledger.plan([step("d1"), step("d2")], 1)).toBe(2);
  proxy.loseCommit();
  const leased = await ledger.lease({ owner: "w", max: 2, ttlMs: 60_000, generation: 1 });
  expect(leased.map((one) => [one.step.drama, one.step.fence])).toEqual([["d1", 1], ["d2", 1]]);
  proxy.loseCommit();
  const id = await ledger.reserve({ key: "k", attempt: 1, task: "cot", drama: "d1", estimate: 6, at: 0 });
  proxy.loseCommit();
  await ledger.settle(id!, { cost: 4, outcome: "ok", isUnknown: false, at: 0 });
  expect(ledger.spent()).toBe(4);
  expect(await ledger.spending()).toMatchObject({ settled: 4, inFlight: 0, calls: 1 });
  let asked = 0;
  proxy.loseCommit();
  const next = () => (asked++, [step("d1", { kind: "sample", round: 1 })]);
  expect(await ledger.commit({ key: leased[0]!.step.key, owner: "w", fence: 1, result: done("once"), next })).toBe("ok");
  expect(asked).toBe(1);
  proxy.loseCommit();
  expect(await ledger.park({ key: leased[1]!.step.key, owner: "w", fence: 1, until: Infinity, code: "HTTP_500", attempts: 1, cost: 0 })).toBe("ok");
  expect(await ledger.commit({ key: leased[0]!.step.key, owner: "w", fence: 1, result: done("twice"), next: nothing })).toBe("stale");
  proxy.loseCommit();
  expect(await ledger.deleteDrama("d2")).toBe(1);
  expect(proxy.lost()).toBe(8);
  expect((await all(ledger.stream({}))).map(({ kind, state, content, attempts }) => [kind, state, content, attempts]).sort()).toEqual([["caption", "done", "once", 1], ["sample", "planned", null, 0]]);
});

test("waits for a server that is away, and says so in the end", async () => {
  const patient = await open("patience");
  const hasty = await open("patience", { patienceMs: 300 });
  await server().kill9();
  const counts = patient.counts(1);
  const error = await refusal(hasty.counts(1));
  expect(error).toMatchObject({ code: "LEDGER_UNAVAILABLE" });
  await hasty.wake(50);
  await server().restart();
  expect((await counts).caption.planned).toBe(0);
  expect((await hasty.counts(1)).caption.planned).toBe(0);
});

test("lets go of the rows of a worker that stands still in the middle of a transaction", async () => {
  const ledger = await open("standstill");
  await ledger.openGeneration("first", null);
  await ledger.putDramas([record("d1")]);
  await ledger.plan([step("d1")], 1);
  const [leased] = await ledger.lease({ owner: "w", max: 1, ttlMs: 60_000, generation: 1 });
  const client = new pg.Client(server().url);
  client.on("error", () => undefined);
  await client.connect();
  await client.query("SET idle_in_transaction_session_timeout = '500ms'; BEGIN; SELECT FROM standstill.dramas FOR UPDATE");
  expect(await ledger.commit({ key: leased!.step.key, owner: "w", fence: 1, result: done("kept"), next: nothing })).toBe("ok");
  await client.end().catch(() => undefined);
});

test("several workers may make the tables at once", async () => {
  const ledgers = await Promise.all(Array.from({ length: 4 }, () => open("crowd")));
  const generations = await Promise.all(ledgers.map((ledger, i) => ledger.openGeneration(`identity ${i % 2}`, null)));
  expect(generations.map(({ generation }) => generation).sort()).toEqual([1, 1, 2, 2]);
});

test("refuses a ledger of a newer program", async () => {
  await (await open("newer")).close();
  await sql("INSERT INTO newer.schema_version (version) VALUES (99)");
  expect(await refusal(open("newer"))).toMatchObject({ code: "LEDGER_VERSION" });
});

test("refuses a database that cannot hold every text", async () => {
  await sql("CREATE DATABASE narrow ENCODING 'SQL_ASCII' TEMPLATE template0");
  const url = Object.assign(new URL(server().url), { pathname: "/narrow" }).href;
  expect(await refusal(open("narrow", { url }))).toMatchObject({ code: "LEDGER_UNAVAILABLE", message: expect.stringContaining("SQL_ASCII") as string });
});

test.each(["Capital", "a b", '"; DROP SCHEMA public', "", "1st", "x".repeat(49)])("refuses the schema %j", async (schema) => {
  expect(await refusal(open(schema))).toMatchObject({ code: "LEDGER_SCHEMA" });
  expect(await refusal(openPostgresSlots(server().url, {}, { schema }))).toMatchObject({ code: "LEDGER_SCHEMA" });
});

test("no error holds the password", async () => {
  const secret = "sk-canary-4711";
  const wrong = (change: Partial<URL>): string => Object.assign(new URL(server().url), { password: secret, ...change }).href;
  const addresses = [wrong({}), wrong({ username: "nobody" }), wrong({ pathname: "/nowhere" }), wrong({ port: "1" }), `postgres://u:${secret}@[::bad/db`, `mysql://u:${secret}@127.0.0.1/db`, secret];
  for (const url of addresses) {
    const error = await refusal(openPostgresLedger(url, { bossSchema: null, patienceMs: 100, openPatienceMs: 100 }));
    expect(error).toBeInstanceOf(CurationError);
    expect(error.code).toBe("LEDGER_UNAVAILABLE");
    const texts = [error.message, error.hint, error.stack, String(error.cause), JSON.stringify(error.cause)];
    expect(texts.join("\n")).not.toContain("canary");
  }
});

test("counts what a worker that vanished had on the way as unknown spend", async () => {
  const [one, other] = [await open("vanished", { maxCost: 10 }), await open("vanished", { maxCost: 10 })];
  await one.reserve({ key: "k1", attempt: 1, task: "cot", drama: "d1", estimate: 4, at: 0 });
  await other.reserve({ key: "k2", attempt: 1, task: "cot", drama: "d2", estimate: 2, at: 0 });
  await sleep(50);
  expect(await other.spending()).toMatchObject({ settled: 0, unknown: 0, inFlight: 6 });
  expect(await other.isOpenElsewhere?.()).toBe(true);
  expect(await other.reserve({ key: "k3", attempt: 1, task: "cot", drama: "d3", estimate: 5, at: 0 })).toBeNull();
  await one.close();
  expect(await other.spending()).toMatchObject({ settled: 0, unknown: 4, inFlight: 2 });
  expect(await other.isOpenElsewhere?.()).toBe(false);
  expect(await other.reserve({ key: "k3", attempt: 1, task: "cot", drama: "d3", estimate: 5, at: 0 })).toBeNull();
  await sql("UPDATE vanished.workers SET seen_at = seen_at - interval '10 minutes'");
  expect(await other.spending()).toMatchObject({ settled: 0, unknown: 6, inFlight: 0 });
});
