import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "@dramascope/chat-client";
import { sha256 } from "@dramascope/schema";
import { CurationError, openLedger, openSqliteLedger, parseCurationConfig, type StepLedger, type StepRow } from "@dramascope/curation";
import { expect, onTestFinished, test, vi } from "vitest";
import { describeLedger } from "./ledger-conformance.ts";
import { testAgainstModel } from "./ledger-model.ts";
import { all, done, nothing, record, step } from "./ledger-steps.ts";

const newFile = (): string => join(mkdtempSync(join(tmpdir(), "ledger-")), "ledger.db");
const HOUR = 3_600_000;

describeLedger("SQLite", (options) => Promise.resolve(openSqliteLedger(newFile(), options)));
testAgainstModel("SQLite", (options) => Promise.resolve(openSqliteLedger(":memory:", options)), 40);

/** A clock that is set by hand; what sleeps on it wakes when it is looked at. */
function handClock(): Clock & { set: (ms: number) => void } {
  let now = 1_000_000_000;
  const sleepers = new Set<() => void>();
  return {
    now: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        const end = now + ms;
        const look = (): void => {
          if (now >= end || signal?.aborted === true) resolve();
          else sleepers.add(look);
        };
        signal?.addEventListener("abort", look);
        look();
      }),
    set: (ms) => {
      now += ms;
      for (const look of [...sleepers]) look();
    },
  };
}

async function filled(ledger: StepLedger, count: number): Promise<StepLedger> {
  await ledger.openGeneration("first", null);
  const ids = Array.from({ length: count }, (_, i) => `d${i}`);
  await ledger.putDramas(ids.map((id) => record(id)));
  await ledger.plan(ids.map((id) => step(id)), 1);
  return ledger;
}

const leaseOf = (ledger: StepLedger, max = 1, ttlMs = 60_000) => ledger.lease({ owner: "w1", max, ttlMs, generation: 1 });
const attempt = (estimate: number) => ({ key: "k", attempt: 1, task: "cot", drama: "d0", estimate, at: 0 });

test("outlives a kill: what was committed is there, leases are void, money without an end stays spent", async () => {
  const path = newFile();
  const child = fork(new URL("ledger-child.ts", import.meta.url), [path], { execArgv: ["--conditions=@dramascope/source"] });
  const [{ committed }] = (await once(child, "message")) as [{ committed: string }];
  const reader = openSqliteLedger(path, { isReadOnly: true });
  expect(await reader.spending()).toMatchObject({ settled: 1, unknown: 0, inFlight: 4 });
  expect((await reader.counts(1)).caption).toMatchObject({ done: 1, leased: 2, planned: 2 });
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
  expect(await reader.spending()).toMatchObject({ settled: 1, unknown: 4, inFlight: 0 });
  await reader.close();
  const ledger = openSqliteLedger(path, { maxCost: 8 });
  expect((await ledger.counts(1)).caption).toMatchObject({ done: 1, leased: 0, planned: 4 });
  expect((await all(ledger.stream({ state: "done" }))).map(({ key, content }) => [key, content])).toEqual([[committed, "paid"]]);
  expect(ledger.spent()).toBe(5);
  expect(await ledger.reserve(attempt(3.5))).toBeNull();
  expect(await ledger.reserve(attempt(3))).not.toBeNull();
  expect(await ledger.spending()).toMatchObject({ settled: 1, unknown: 4, inFlight: 3, byOutcome: { ok: 1, unknown: 1, "in-flight": 1 } });
  expect(await leaseOf(ledger, 10)).toHaveLength(4);
  await ledger.close();
});

test("lets one process write and says who it is", async () => {
  const path = newFile();
  const child = fork(new URL("ledger-child.ts", import.meta.url), [path], { execArgv: ["--conditions=@dramascope/source"] });
  await once(child, "message");
  expect(() => openSqliteLedger(path)).toThrow(expect.objectContaining({ code: "LEDGER_LOCKED", message: expect.stringMatching(new RegExp(`process ${child.pid} .* since 20\\d\\d-`, "u")) as string }) as Error);
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
  await openSqliteLedger(path).close();
});

test("is read without being written, and leaves nothing behind", async () => {
  const path = newFile();
  const writer = await filled(openSqliteLedger(path), 3);
  const reader = openSqliteLedger(path, { isReadOnly: true });
  await leaseOf(writer, 2);
  expect((await reader.counts(1)).caption).toMatchObject({ leased: 2, planned: 1 });
  await expect(reader.plan([step("d0", { round: 1 })], 1)).rejects.toMatchObject({ code: "LEDGER_READ_ONLY" });
  await expect(reader.reserve(attempt(1))).rejects.toMatchObject({ code: "LEDGER_READ_ONLY" });
  await expect(reader.deleteDrama("d0")).rejects.toMatchObject({ code: "LEDGER_READ_ONLY" });
  await writer.close();
  await reader.close();
  const bytes = readFileSync(path);
  const alone = openSqliteLedger(path, { isReadOnly: true });
  expect(await all(alone.dramas())).toHaveLength(3);
  await alone.close();
  expect(readdirSync(join(path, ".."))).toEqual(["ledger.db"]);
  expect(readFileSync(path).equals(bytes)).toBe(true);
  expect(() => openSqliteLedger(`${path}.none`, { isReadOnly: true })).toThrow(expect.objectContaining({ code: "LEDGER_MISSING" }) as Error);
  expect(existsSync(`${path}.none`)).toBe(false);
});

test.each([
  ["of a newer program", (path: string) => new DatabaseSync(path).exec("PRAGMA user_version = 99"), "LEDGER_VERSION", "newer program"],
  ["of something else", (path: string) => new DatabaseSync(path).exec("CREATE TABLE steps (key TEXT)"), "LEDGER_VERSION", "no ledger"],
  ["that is no database", (path: string) => writeFileSync(path, "not a database, ".repeat(100)), "LEDGER_IO", "file"],
])("refuses a file %s, and leaves it as it is", (_, make, code, hint) => {
  const path = newFile();
  make(path);
  const bytes = readFileSync(path);
  for (const isReadOnly of [false, true]) expect(() => openSqliteLedger(path, { isReadOnly })).toThrow(expect.objectContaining({ code, hint: expect.stringContaining(hint) as string }) as Error);
  expect(readFileSync(path).equals(bytes)).toBe(true);
  expect(existsSync(`${path}.lock`)).toBe(false);
});

/** Connections that are used while the test runs. */
function watchConnections(): ReadonlySet<DatabaseSync> {
  const seen = new Set<DatabaseSync>();
  const { exec } = Object.getOwnPropertyDescriptors(DatabaseSync.prototype);
  const spy = vi.spyOn(DatabaseSync.prototype, "exec").mockImplementation(function (this: DatabaseSync, sql) {
    seen.add(this);
    exec.value!.call(this, sql);
  });
  onTestFinished(() => spy.mockRestore());
  return seen;
}

test("keeps what was committed when the disk is full, and goes on when there is space", async () => {
  const connections = watchConnections();
  const ledger = await filled(openSqliteLedger(newFile(), { maxCost: 100 }), 40);
  const leased = await leaseOf(ledger, 40);
  /** SQLite says of a file at its limit what it says of a full disk. */
  const limit = (pages: number): void => {
    for (const database of connections) database.exec(`PRAGMA max_page_count = ${pages}`);
  };
  const commit = (i: number) => ledger.commit({ key: leased[i]!.step.key, fence: 1, owner: "w1", result: done("x".repeat(20_000)), next: () => [step(leased[i]!.step.drama, { kind: "sample", round: 1 })] });
  expect(await commit(0)).toBe("ok");
  limit(1);
  const failed = await Promise.allSettled([commit(1), commit(2), ledger.reserve(attempt(1))]);
  for (const one of failed) expect(one).toMatchObject({ status: "rejected", reason: { code: "LEDGER_IO", hint: expect.stringContaining("space") as string } });
  expect((failed[0] as PromiseRejectedResult).reason).toBeInstanceOf(CurationError);
  expect(ledger.spent()).toBe(0);
  expect(await ledger.counts(1)).toMatchObject({ caption: { done: 1, leased: 39 }, sample: { planned: 1 } });
  limit(1_000_000);
  expect(await Promise.all(leased.slice(1).map((_, i) => commit(i + 1)))).toEqual(Array(39).fill("ok"));
  expect(await ledger.counts(1)).toMatchObject({ caption: { done: 40 }, sample: { planned: 40 } });
  await ledger.close();
});

test("loses no lease and waits no longer when the clock goes back an hour", async () => {
  const clock = handClock();
  const ledger = await filled(openSqliteLedger(newFile(), { clock }), 2);
  const [one, two] = await leaseOf(ledger, 2, 30_000);
  clock.set(-HOUR);
  expect(await ledger.heartbeat([one!.step.key], "w1", 30_000)).toEqual({ lost: [] });
  expect(await leaseOf(ledger)).toEqual([]);
  await ledger.park({ key: one!.step.key, owner: "w1", fence: 1, until: clock.now() + 5_000, code: "BUSY", attempts: 1, cost: 0 });
  clock.set(-HOUR);
  const woken = ledger.wake(HOUR);
  clock.set(6_000);
  await woken;
  expect((await leaseOf(ledger)).map(({ step: { key } }) => key)).toEqual([one!.step.key]);
  clock.set(25_000);
  expect((await leaseOf(ledger)).map(({ step: { key } }) => key)).toEqual([two!.step.key]);
  await ledger.close();
});

test("waits for a parked step no longer than it was asked to, across a new start with an earlier clock", async () => {
  const clock = handClock();
  const path = newFile();
  const ledger = await filled(openSqliteLedger(path, { clock }), 1);
  const [one] = await leaseOf(ledger);
  await ledger.park({ key: one!.step.key, owner: "w1", fence: 1, until: clock.now() + 5_000, code: "BUSY", attempts: 1, cost: 0 });
  await ledger.close();
  clock.set(-HOUR);
  const again = openSqliteLedger(path, { clock });
  clock.set(4_000);
  expect(await leaseOf(again)).toEqual([]);
  clock.set(1_000);
  expect(await leaseOf(again)).toHaveLength(1);
  await again.close();
});

test("leaves not a byte of a deleted drama", async () => {
  const path = newFile();
  const ledger = openSqliteLedger(path);
  await ledger.openGeneration("first", null);
  const secret = "drama-60-SECRET";
  const ids = Array.from({ length: 600 }, (_, i) => (i === 60 ? secret : `${sha256(String(i))}-${i}`));
  const text = (id: string, what: string): string => `${what} of ${id} `.repeat(40);
  await ledger.putDramas(ids.map((id) => record(id)));
  // Grown rows move about in the file and leave copies.
  await ledger.putDramas(ids.map((id) => record(id, { drama: { ...record(id).drama, transcript: text(id, "transcript") } })));
  await ledger.plan(ids.slice(0, 120).flatMap((id) => [step(id), step(id, { kind: "comments" })]), 1);
  const answered = async (one: StepRow): Promise<void> => {
    await ledger.reserve({ ...attempt(0.1), key: one.key, drama: one.drama });
    await ledger.commit({ key: one.key, fence: 1, owner: "w1", result: { ...done(text(one.drama, "answer")), state: "failed", code: "X" }, next: nothing });
  };
  for (let left = await leaseOf(ledger, 50); left.length > 0; left = await leaseOf(ledger, 50)) await Promise.all(left.map((one) => answered(one.step)));
  await ledger.free({ states: ["failed"], kinds: ["comments"] });
  const bytesOf = (): string => readdirSync(join(path, "..")).map((name) => readFileSync(join(path, "..", name), "latin1")).join("");
  expect(bytesOf()).toContain(secret);
  expect(await ledger.deleteDrama(secret)).toBe(2);
  expect(bytesOf()).not.toContain("SECRET");
  expect(bytesOf()).toContain(ids[61]!);
  expect(ledger.spent()).toBeCloseTo(24, 9);
  await ledger.close();
  expect(bytesOf()).not.toContain("SECRET");
});

test("is found by settings or by an address", async () => {
  const folder = join(newFile(), "..");
  const config = parseCurationConfig({ teacher: { baseURL: "http://127.0.0.1:9/v1", model: "m" }, workdir: folder, budget: { maxCost: 2 } });
  const ledger = await openLedger(config, {});
  expect(await ledger.reserve(attempt(3))).toBeNull();
  await ledger.close();
  await (await openLedger(config, {}, { address: `sqlite:${join(folder, "other.db")}` })).close();
  expect(readdirSync(folder).sort()).toEqual(["ledger.db", "other.db"]);
  const hidden = "mysql://root:hunter2@host/db";
  await expect(openLedger(config, {}, { address: hidden })).rejects.toMatchObject({ code: "LEDGER_ADDRESS", message: expect.not.stringContaining("hunter2") as string });
  await expect(openLedger({ ...config, ledger: { driver: "postgres", urlEnv: "NO_SUCH_ENV" } }, {})).rejects.toMatchObject({ code: "LEDGER_ADDRESS", message: expect.stringContaining("NO_SUCH_ENV") as string });
});
