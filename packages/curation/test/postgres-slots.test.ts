import { openPostgresSlots, type SharedSlots } from "@dramascope/curation";
import { systemClock } from "@dramascope/chat-client";
import { startPostgres, type PostgresServer } from "@dramascope/test-fixtures/postgres-server.ts";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

let resources = 0;
const opened: SharedSlots[] = [];
afterEach(async () => {
  for (const slots of opened.splice(0)) await slots.close();
});
/** Workers that share limits, none of which has sent anything. */
const workers = async (count: number, limits: { rpm?: number; tpm?: number; windowMs?: number }): Promise<SharedSlots[]> => {
  const resource = `resource ${++resources}`;
  const all = await Promise.all(Array.from({ length: count }, () => openPostgresSlots(server.url, limits, { resource })));
  opened.push(...all);
  return all;
};
const most = (times: readonly number[], windowMs: number): number => Math.max(...times.map((start) => times.filter((time) => time >= start && time < start + windowMs).length));
const inOrder = (times: number[][]): number[] => times.flat().sort((a, b) => a - b);

test("keeps two workers within one limit, and uses it", async () => {
  const both = await workers(2, { rpm: 600 });
  const times = inOrder(await Promise.all(Array.from({ length: 600 }, (_, i) => both[i % 2]!.take(1 + (i % 3), 10))));
  expect(times).toHaveLength(1200);
  expect(most(times, 60_000)).toBeLessThanOrEqual(600);
  expect(most(times, 60_000)).toBeGreaterThanOrEqual(0.97 * 600);
});

test("spaces requests evenly by tokens where these are scarcer", async () => {
  const both = await workers(2, { rpm: 6000, tpm: 60_000 });
  const times = inOrder(await Promise.all(Array.from({ length: 60 }, (_, i) => both[i % 2]!.take(1, 2_000))));
  expect(most(times, 60_000)).toBeLessThanOrEqual(30);
  expect(most(times, 60_000)).toBeGreaterThanOrEqual(28);
  await both[0]!.adjust(-60 * 2_000);
  const [next] = await both[1]!.take(1, 2_000);
  expect(next).toBeLessThan(times.at(-1)! + 1_000);
});

test("makes everybody wait after one worker's 429, and go on at half the pace", async () => {
  const [one, other] = await workers(2, { rpm: 600 });
  await one!.take(1, 1);
  const until = systemClock.now() + 5_000;
  await Promise.all([one!.slowDown(until), one!.slowDown(until), other!.slowDown(until - 2_000)]);
  const times = await other!.take(5, 5);
  expect(times[0]).toBeGreaterThan(until - 1_000);
  expect((times[4]! - times[0]!) / 4).toBeGreaterThan(200);
  expect((times[4]! - times[0]!) / 4).toBeLessThan(210);
  const later = await one!.take(600, 600);
  expect(later.at(-1)! - later.at(-2)!).toBeLessThan(103);
});

test("names of resources are only names", async () => {
  const hostile = await Promise.all(["__proto__", "'; DROP TABLE provider_budget --", "half \ud800\0"].map((resource) => openPostgresSlots(server.url, { rpm: 1 }, { resource })));
  opened.push(...hostile);
  const first = await Promise.all(hostile.map((slots) => slots.take(1, 1)));
  expect(Math.max(...first.flat())).toBeLessThan(systemClock.now() + 1_000);
});

test("goes on after the server was away", async () => {
  const [slots] = await workers(1, { rpm: 600 });
  const [before] = await slots!.take(1, 1);
  await server.kill9();
  const waiting = slots!.take(2, 2);
  await server.restart();
  const after = await waiting;
  expect(after[0]! - before!).toBeGreaterThan(100);
  expect(after[1]! - after[0]!).toBeGreaterThan(100);
});
