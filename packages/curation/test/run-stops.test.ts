import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Outcome } from "@dramascope/chat-client";
import { openSqliteLedger, parseCurationConfig, runCuration, type CurationConfigInput, type CurationOptions, type RunSummary } from "@dramascope/curation";
import { expect, test } from "vitest";
import { answered, clientOf } from "./plain-teacher.ts";
import { dramas, settings } from "./simulator.ts";

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const captioned = answered("A baker loses a will and finds a brother, and the town watches.");

/** A run with 64 places over a teacher without a socket, which is told the number of each call. */
async function run(answer: (call: number) => Promise<Outcome> | Outcome, { limits = {}, ...options }: { limits?: NonNullable<CurationConfigInput["teacher"]>["limits"] } & Partial<CurationOptions> = {}): Promise<{ calls: number; summary: RunSummary | undefined; error: unknown }> {
  const base = settings("http://127.0.0.1:9/v1");
  const config = parseCurationConfig({ ...base, workdir: mkdtempSync(join(tmpdir(), "stops-")), teacher: { ...base.teacher, limits: { inFlight: 64, ...limits } } });
  let calls = 0;
  const client = clientOf(() => answer(++calls));
  const ledger = openSqliteLedger(":memory:");
  try {
    const [ended] = await Promise.allSettled([runCuration({ config, dramas: dramas(100), ledger, client, ...options })]);
    return ended.status === "fulfilled" ? { calls, summary: ended.value, error: undefined } : { calls, summary: undefined, error: ended.reason };
  } finally {
    await ledger.close();
  }
}

/** Steps that were neither asked nor given back. */
const unsettled = ({ counts }: RunSummary): number => Object.values(counts).reduce((sum, { leased, parked }) => sum + leased + parked, 0);

test("a stop lets calls on the wire end, and sends nothing that waits", async () => {
  const stop = new AbortController();
  let [sent, sentBefore] = [0, 0];
  const { calls, summary } = await run(async (call) => {
    sent = call;
    await wait(60);
    if (call === 5) {
      sentBefore = sent;
      stop.abort();
    }
    return captioned;
  }, { signal: stop.signal });
  expect(summary).toMatchObject({ stopped: "signal", isComplete: false, calls, progress: { ended: calls } });
  expect([calls, unsettled(summary!)]).toEqual([sentBefore, 0]);
});

test("a stop ends pauses and waits for the rate at once", async () => {
  const stop = new AbortController();
  const answers: Outcome[] = [{ kind: "retry", code: "RATE_LIMITED", retryAfterMs: 3_600_000, maybePaid: false }];
  const began = performance.now();
  const { calls, summary } = await run((call) => {
    setTimeout(() => stop.abort(), 50);
    return answers[call - 1] ?? captioned;
  }, { limits: { rpm: 60 }, signal: stop.signal });
  expect(performance.now() - began).toBeLessThan(10_000);
  expect([calls, summary!.stopped, unsettled(summary!)]).toEqual([1, "signal", 0]);
});

test("a refusal of all calls ends those that wait", async () => {
  const { calls, error } = await run(async () => {
    await wait(20);
    return { kind: "fatal", code: "HTTP_401", message: "no such key" };
  });
  expect(error).toMatchObject({ code: "TEACHER_UNAVAILABLE" });
  expect(calls).toBeLessThanOrEqual(16);
});
