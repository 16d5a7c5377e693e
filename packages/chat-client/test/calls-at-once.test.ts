import { createTeacher, type Clock, type Outcome, type TeacherEvent, type TeacherOptions } from "@dramascope/chat-client";
import { expect, it } from "vitest";
import { fakeClock, okOutcome, requestFor, scriptedClient } from "./fixtures.ts";

/** Asks many times against a client whose calls end when the test says so. */
function askMany(count: number, options: Partial<TeacherOptions>): { clock: Clock; running: () => number; end: (outcome: Outcome) => Promise<void>; quiet: () => Promise<void>; events: TeacherEvent[] } {
  const clock = fakeClock();
  const open: ((outcome: Outcome) => void)[] = [];
  const events: TeacherEvent[] = [];
  const client = { ...scriptedClient([]), call: () => new Promise<Outcome>((resolve) => open.push(resolve)) };
  const teacher = createTeacher({ client, clock, onEvent: (event) => events.push(event), ...options });
  for (let i = 0; i < count; i++) void teacher.ask(requestFor(String(i)));
  const quiet = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  const end = async (outcome: Outcome): Promise<void> => {
    open.shift()!(outcome);
    await quiet();
  };
  return { clock, running: () => open.length, end, quiet, events };
}

const refused: Outcome = { kind: "retry", code: "RATE_LIMITED", retryAfterMs: 0, maybePaid: false };

it("runs no more calls at once than it may", async () => {
  const { running, end, quiet } = askMany(30, { limits: { inFlight: 12 } });
  await quiet();
  for (let i = 0; i < 18; i++) {
    expect(running()).toBe(12);
    await end(okOutcome);
  }
  await end(okOutcome);
  expect(running()).toBe(11);
});

it("halves the calls at once after a 429, once for all that were under way, and adds them one by one again", async () => {
  const { clock, running, end, quiet, events } = askMany(2000, { limits: { inFlight: 12 } });
  await quiet();
  expect(running()).toBe(12);
  await end(refused);
  await end(refused);
  await end(refused);
  expect(events.filter(({ type }) => type === "slow-down")).toMatchObject([{ inFlight: 6 }, { inFlight: 6 }, { inFlight: 6 }]);
  for (let i = 0; i < 20; i++) await end(okOutcome);
  expect(running()).toBe(6);
  // A window later twice as many would be allowed, but places come one in a round.
  await clock.sleep(60_000);
  const seen: number[] = [];
  for (let i = 0; i < 120; i++) {
    await end(okOutcome);
    seen.push(running());
  }
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen.at(-1)).toBe(12);
  expect(seen[0]).toBeLessThan(12);
});

it("starts with few calls and doubles them at most once a window", async () => {
  const { clock, running, end, quiet } = askMany(1000, { limits: { inFlight: 100 } });
  await quiet();
  const seen = [running()];
  for (let window = 0; window < 4; window++) {
    await clock.sleep(60_000);
    await end(okOutcome);
    seen.push(running());
  }
  expect(seen).toEqual([16, 32, 64, 100, 100]);
});

it("counts calls of each model apart", async () => {
  const clock = fakeClock();
  let running = 0;
  const client = { ...scriptedClient([]), call: () => (running++, new Promise<Outcome>(() => undefined)) };
  const teacher = createTeacher({ client, clock, limits: { inFlight: 2 } });
  for (const model of ["a", "a", "a", "b", "b", "b"]) void teacher.ask(requestFor("d", { model }));
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(running).toBe(4);
});
