import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openPostgresLedger, type StepLedger } from "@dramascope/curation";
import { startPostgres, type PostgresServer } from "@dramascope/test-fixtures/postgres-server.ts";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { all, record } from "./ledger-steps.ts";
import { ROUNDS, roundStep } from "./postgres-worker.ts";

interface Note {
  owner: string;
  asked?: string;
  key?: string;
  outcome?: "ok" | "stale";
}

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

const children: ChildProcess[] = [];
const ledgers: StepLedger[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const ledger of ledgers.splice(0)) await ledger.close();
});

/** A ledger with planned captions, and a way to let workers loose on it. */
async function prepared(schema: string, dramas: number) {
  const ids = Array.from({ length: dramas }, (_, i) => `d${i}`);
  const ledger = await openPostgresLedger(server.url, { schema, bossSchema: null });
  ledgers.push(ledger);
  await ledger.openGeneration("first", null);
  await ledger.putDramas(ids.map((id) => record(id)));
  await ledger.plan(ids.map((id) => roundStep(id, 0)), 1);
  const file = join(mkdtempSync(join(tmpdir(), "notes-")), "notes.jsonl");
  writeFileSync(file, "");
  const notes = (): Note[] => readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Note);
  const program = fileURLToPath(new URL("postgres-worker.ts", import.meta.url));
  const start = (owner: string, ttlMs: number): { child: ChildProcess; ended: Promise<number | null> } => {
    const child = spawn(process.execPath, ["--conditions=@dramascope/source", program, server.url, schema, owner, String(ttlMs), file], { stdio: ["ignore", "inherit", "inherit"] });
    children.push(child);
    return { child, ended: new Promise((resolve) => child.once("exit", resolve)) };
  };
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await sleep(10);
  };
  const expectedKeys = ids.flatMap((id) => Array.from({ length: ROUNDS + 1 }, (_, round) => roundStep(id, round).key)).sort();
  return { ledger, notes, start, until, expectedKeys };
}

/** Every step has ended once, by the one commit that was taken. */
async function expectComplete(ledger: StepLedger, notes: readonly Note[], expectedKeys: readonly string[]): Promise<void> {
  const rows = await all(ledger.stream({ generation: 1 }));
  expect(rows.map(({ key }) => key).sort()).toEqual(expectedKeys);
  expect(new Set(rows.map(({ state }) => state))).toEqual(new Set(["done"]));
  const taken = new Map(notes.filter(({ outcome }) => outcome === "ok").map(({ key, owner }) => [key, owner]));
  for (const { key, content, owner } of rows) if (taken.has(key)) expect([key, content!.split(" ")[0], owner]).toEqual([key, taken.get(key), taken.get(key)]);
  expect(notes.filter(({ outcome }) => outcome === "ok").length).toBe(taken.size);
}

test("takes the first of two answers when a worker was stopped for longer than its lease", async () => {
  const { ledger, notes, start, until, expectedKeys } = await prepared("stopped", 30);
  const slow = start("slow", 400);
  await until(() => notes().filter(({ owner }) => owner === "slow").length > 10);
  await until(() => notes().findLast(({ owner }) => owner === "slow")?.asked !== undefined);
  slow.child.kill("SIGSTOP");
  const quick = start("quick", 400);
  expect(await quick.ended).toBe(0);
  const atStop = notes();
  await expectComplete(ledger, atStop, expectedKeys);
  slow.child.kill("SIGCONT");
  expect(await slow.ended).toBe(0);
  const late = notes().slice(atStop.length);
  expect(late.filter(({ outcome }) => outcome === "ok")).toEqual([]);
  expect(late.some(({ outcome }) => outcome === "stale")).toBe(true);
  await expectComplete(ledger, atStop, expectedKeys);
  const { settled, inFlight, unknown } = await ledger.spending();
  expect([settled, inFlight + unknown]).toEqual([notes().filter(({ asked }) => asked !== undefined).length, 0]);
});

test("loses and doubles nothing when the server goes away in the middle of traffic", async () => {
  const { ledger, notes, start, until, expectedKeys } = await prepared("restarted", 60);
  const workers = ["one", "two"].map((owner) => start(owner, 20_000));
  await until(() => notes().length > 40);
  await server.restart();
  await until(() => notes().length > 160);
  await server.kill9();
  await sleep(300);
  await server.restart();
  expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0]);
  await expectComplete(ledger, notes(), expectedKeys);
  expect(notes().filter(({ outcome }) => outcome === "stale")).toEqual([]);
  const asked = notes().flatMap(({ asked }) => asked ?? []);
  expect(await ledger.spending()).toMatchObject({ settled: asked.length, calls: asked.length, byOutcome: { ok: asked.length } });
});

test("repeats only what a killed worker had on the way", async () => {
  const { ledger, notes, start, until, expectedKeys } = await prepared("killed", 40);
  const doomed = start("doomed", 500);
  await until(() => notes().length > 20);
  doomed.child.kill("SIGKILL");
  await doomed.ended;
  const rest = start("rest", 500);
  expect(await rest.ended).toBe(0);
  await expectComplete(ledger, notes(), expectedKeys);
  const asked = notes().flatMap(({ asked }) => asked ?? []);
  expect(asked.length - new Set(asked).size).toBeLessThanOrEqual(4);
});
