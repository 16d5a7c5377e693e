import { openLedger, parseCurationConfig } from "@dramascope/curation";
import { expect, test } from "vitest";
import { all, record, step } from "./ledger-steps.ts";
import { postgresUnderTest } from "./postgres-under-test.ts";

const { server, open, sql } = postgresUnderTest();
const as = (user: string): string => Object.assign(new URL(server().url), { username: user, password: "pass" }).href;

test("a reader makes nothing: no schema, no tables, no worker", async () => {
  const schemas = (): Promise<unknown[]> => sql("SELECT nspname FROM pg_namespace ORDER BY 1");
  const before = await schemas();
  const config = parseCurationConfig({ teacher: { baseURL: "http://127.0.0.1:9/v1", model: "m" }, ledger: { driver: "postgres", urlEnv: "URL", schema: "absent" } });
  await expect(openLedger(config, { URL: server().url }, { isReadOnly: true })).rejects.toMatchObject({ code: "LEDGER_MISSING", message: expect.stringContaining("absent") as string });
  expect(await schemas()).toEqual(before);
});

test("a reader with the right to read alone sees what a writer writes, and may not write", async () => {
  const writer = await open("read", { maxCost: 10 });
  await writer.openGeneration("first", { model: "m" });
  await writer.putDramas([record("d1")]);
  await writer.plan([step("d1")], 1);
  await sql("CREATE ROLE reader LOGIN PASSWORD 'pass'; GRANT USAGE ON SCHEMA read TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA read TO reader");
  const reader = await open("read", { url: as("reader"), isReadOnly: true });
  const id = await writer.reserve({ key: "k", attempt: 1, task: "cot", drama: "d1", estimate: 6, at: 0 });
  expect(await reader.spending()).toMatchObject({ inFlight: 6, calls: 1 });
  expect([await reader.generations(), await all(reader.stream({})), await all(reader.dramas()), await all(reader.answersByDrama(1)), await reader.counts(1), await reader.gates(1)]).toEqual([
    await writer.generations(), await all(writer.stream({})), await all(writer.dramas()), await all(writer.answersByDrama(1)), await writer.counts(1), await writer.gates(1),
  ]);
  await reader.wake(1);
  const lease = { key: step("d1").key, owner: "r", fence: 1 };
  const writes = [
    reader.openGeneration("second", null), reader.putDramas([]), reader.deleteDrama("d1"), reader.plan([], 1), reader.lease({ owner: "r", max: 1, ttlMs: 1, generation: 1 }), reader.heartbeat([], "r", 1),
    reader.commit({ ...lease, result: { state: "done", content: "", code: null, finish: null, model: null, attempts: 1, cost: 0 }, next: () => [] }), reader.park({ ...lease, until: 0, code: "X", attempts: 1, cost: 0 }),
    reader.release([], "r"), reader.retire([], "r"), reader.free({}), reader.setGate({ generation: 1, quality: 1, round: 2, isOpen: true, cost: 0, newDramas: 0 }),
    reader.reserve({ key: "k", attempt: 1, task: "cot", drama: "d1", estimate: 1, at: 0 }), reader.settle(id!, { cost: 1, outcome: "ok", isUnknown: false, at: 0 }),
  ];
  await Promise.all(writes.map((write) => expect(write).rejects.toMatchObject({ code: "LEDGER_READ_ONLY" })));
  await reader.close();
  expect(await sql("SELECT worker FROM read.workers")).toHaveLength(1);
});

test("a worker needs no right to create anything once the ledger is there, and a schema that is given to it is enough to make one", async () => {
  await open("made");
  await sql("CREATE ROLE worker LOGIN PASSWORD 'pass'; GRANT USAGE ON SCHEMA made TO worker; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA made TO worker; CREATE SCHEMA given AUTHORIZATION worker");
  for (const schema of ["made", "given"]) {
    const ledger = await open(schema, { url: as("worker") });
    await ledger.putDramas([record("d1")]);
    expect(await all(ledger.dramas())).toHaveLength(1);
  }
  await expect(open("other", { url: as("worker") })).rejects.toMatchObject({ code: "LEDGER_UNAVAILABLE" });
});
