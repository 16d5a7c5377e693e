import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTeacherClient, type TeacherClient } from "@dramascope/chat-client";
import { openSqliteLedger, parseCurationConfig, runCuration, type CurationEvent } from "@dramascope/curation";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterEach, expect, test } from "vitest";
import { dramas, repeatedCalls, settings } from "./simulator.ts";

let teacher: Simulator | undefined;
afterEach(() => teacher?.stop());

const stall = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** A curation under short leases, with something done before each of its requests. */
async function run(before: (call: number) => void | Promise<void>) {
  teacher = await startSimulator({ args: ["--latency-ms", "10-30"], bodies: false });
  const { baseURL, journal } = teacher;
  const capabilities = { metadata: true };
  const real = createTeacherClient({ baseURL, capabilities });
  let calls = 0;
  const client: TeacherClient = {
    ...real,
    call: async (request, signal) => {
      await before(++calls);
      return real.call(request, signal);
    },
  };
  const ledger = openSqliteLedger(":memory:");
  const events: CurationEvent[] = [];
  const folder = mkdtempSync(join(tmpdir(), "leases-"));
  const summary = await runCuration({ config: parseCurationConfig({ ...settings(baseURL), workdir: folder }), dramas: dramas(24), ledger, client, leaseMs: 300, onEvent: (event) => events.push(event) });
  await Promise.all([ledger.close(), real.close()]);
  return { summary, repeats: repeatedCalls(journal), stale: events.filter(({ type }) => type === "stale").length };
}

test("takes its own steps up again after it stood still for longer than its leases", async () => {
  const { summary, repeats } = await run((call) => {
    if (call % 20 === 10) stall(700);
  });
  expect([summary.isComplete, summary.calls, repeats]).toEqual([true, teacher!.requests(), 0]);
});

test("holds its leases while the teacher takes longer than one", async () => {
  const { summary, repeats, stale } = await run(async (call) => {
    if (call === 5) await new Promise((resolve) => setTimeout(resolve, 1_000));
  });
  expect([summary.isComplete, repeats, stale]).toEqual([true, 0, 0]);
});
