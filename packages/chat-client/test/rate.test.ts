import { readFileSync } from "node:fs";
import { createTeacher, createTeacherClient, memorySlots, type Clock, type Limits, type Outcome, type TeacherClient } from "@dramascope/chat-client";
import { createRandom } from "@dramascope/schema";
import { startSimulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { expect, it } from "vitest";
import { okOutcome, requestFor, scriptedClient, virtualClock } from "./fixtures.ts";

const RPM = 600;
const WINDOW = 60_000;

/** A provider that admits `RPM` requests in each window as they arrive: each after its own way through the network. */
function provider(clock: Clock): TeacherClient & { admitted: number[]; refused: () => number } {
  const random = createRandom(5);
  const admitted: number[] = [];
  let refused = 0;
  const call = async (): Promise<Outcome> => {
    await clock.sleep(5 + 200 * random.uniform());
    const now = clock.now();
    if (admitted.length >= RPM && now - admitted.at(-RPM)! < WINDOW) {
      refused++;
      return { kind: "retry", code: "RATE_LIMITED", retryAfterMs: Math.ceil((admitted.at(-RPM)! + WINDOW - now) / 1000) * 1000, maybePaid: false };
    }
    admitted.push(now);
    await clock.sleep(500 + 1500 * random.uniform());
    return okOutcome;
  };
  return { ...scriptedClient([]), call, admitted, refused: () => refused };
}

async function askMany(count: number, limits: Limits, { teachers: workers = 1, stallMs = 0 }: { teachers?: number; stallMs?: number } = {}): Promise<{ use: number; refusedShare: number }> {
  const random = createRandom(7);
  // Now and then the process is busy with something else.
  const clock = virtualClock(() => (random.uniform() < 0.01 ? stallMs : 2 * random.uniform()));
  const client = provider(clock);
  const slots = memorySlots(limits, clock);
  const teachers = Array.from({ length: workers }, (_, seed) => createTeacher({ client, clock, limits, seed, ...(workers > 1 ? { slots } : {}) }));
  const answers = await clock.run(Promise.all(Array.from({ length: count }, (_, i) => teachers[i % teachers.length]!.ask(requestFor(String(i))))));
  expect(answers.every(({ kind }) => kind === "ok")).toBe(true);
  const spanMs = client.admitted.at(-1)! - client.admitted[0]!;
  return { use: (count - 1) / ((spanMs / WINDOW) * RPM), refusedShare: client.refused() / (count + client.refused()) };
}

it("keeps the provider's rate without a refusal, and uses it", async () => {
  const { use, refusedShare } = await askMany(3000, { rpm: RPM, inFlight: 32 });
  expect(refusedShare).toBe(0);
  expect(use).toBeGreaterThanOrEqual(0.97);
});

it("keeps the rate where timers come late by seconds", async () => {
  const { use, refusedShare } = await askMany(3000, { rpm: RPM, inFlight: 64 }, { stallMs: 3000 });
  expect(refusedShare).toBeLessThanOrEqual(0.01);
  expect(use).toBeGreaterThanOrEqual(0.95);
});

it("keeps the rate where several workers share it", async () => {
  const { use, refusedShare } = await askMany(3000, { rpm: RPM, inFlight: 16 }, { teachers: 3 });
  expect(refusedShare).toBe(0);
  expect(use).toBeGreaterThanOrEqual(0.97);
});

it("ends also where nobody told it the rate", async () => {
  const { refusedShare } = await askMany(1500, { inFlight: 32 });
  expect(refusedShare).toBeGreaterThan(0);
  expect(refusedShare).toBeLessThan(0.2);
});

it("keeps the rate of the simulator over the wire", async () => {
  const limits = { rpm: 120, windowMs: 4000 };
  const simulator = await startSimulator({ args: ["--rpm", String(limits.rpm), "--window-ms", String(limits.windowMs)] });
  const client = createTeacherClient({ baseURL: simulator.baseURL });
  const teacher = createTeacher({ client, limits });
  const answers = await Promise.all(Array.from({ length: 160 }, (_, i) => teacher.ask(requestFor(String(i)))));
  expect(answers.every(({ kind }) => kind === "ok")).toBe(true);
  const refused = readFileSync(simulator.journal, "utf8").split('"limit"').length - 1;
  expect(refused).toBeLessThanOrEqual(1);
  await client.close();
  await simulator.stop();
});
