import { memorySlots } from "@dramascope/chat-client";
import fc from "fast-check";
import { expect, it } from "vitest";
import { fakeClock } from "./fixtures.ts";

const WINDOW = 60_000;

/** The largest sum over any window that ends with a request. */
function fullestWindow(times: readonly number[], weights: readonly number[]): number {
  let fullest = 0;
  for (let end = 0, start = 0, sum = 0; end < times.length; end++) {
    sum += weights[end]!;
    while (times[start]! <= times[end]! - WINDOW) sum -= weights[start++]!;
    fullest = Math.max(fullest, sum);
  }
  return fullest;
}

const gaps = fc.array(fc.record({ idleMs: fc.integer({ min: 0, max: 3000 }), count: fc.integer({ min: 1, max: 20 }), tokens: fc.integer({ min: 0, max: 400 }) }), { minLength: 1, maxLength: 120 });

it("fills no window beyond its requests, whenever they are booked", async () => {
  await fc.assert(
    fc.asyncProperty(gaps, fc.integer({ min: 1, max: 500 }), async (steps, rpm) => {
      const clock = fakeClock();
      const slots = memorySlots({ rpm }, clock);
      const times: number[] = [];
      for (const { idleMs, count } of steps) {
        await clock.sleep(idleMs);
        const booked = await slots.take(count, 0);
        expect(Math.min(...booked)).toBeGreaterThanOrEqual(clock.now());
        times.push(...booked);
      }
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      expect(fullestWindow(times, times.map(() => 1))).toBeLessThanOrEqual(rpm);
    }),
    { seed: 1 },
  );
});

it("fills no window beyond its tokens", async () => {
  await fc.assert(
    fc.asyncProperty(gaps, fc.integer({ min: 800, max: 20_000 }), async (steps, tpm) => {
      const clock = fakeClock();
      const slots = memorySlots({ tpm }, clock);
      const [times, weights]: [number[], number[]] = [[], []];
      // What has been booked is not known when a larger request comes: the largest one is first here, as prompts of one kind are alike.
      for (const { idleMs, tokens } of [{ idleMs: 0, tokens: 400 }, ...steps]) {
        await clock.sleep(idleMs);
        times.push(...(await slots.take(1, tokens)));
        weights.push(tokens);
      }
      expect(fullestWindow(times, weights)).toBeLessThanOrEqual(tpm);
    }),
    { seed: 2 },
  );
});

it("uses at least 97 % of the requests, evenly", async () => {
  const slots = memorySlots({ rpm: 600 }, fakeClock(0));
  const times = await slots.take(6001, 0);
  expect(6000 / (times.at(-1)! / WINDOW) / 600).toBeGreaterThanOrEqual(0.97);
  const steps = times.slice(1).map((time, i) => time - times[i]!);
  expect(Math.max(...steps) - Math.min(...steps)).toBeLessThan(1e-6);
});

it("gives back what an answer did not use, and takes what it used beyond", async () => {
  const third = async (correction: number): Promise<number> => {
    const slots = memorySlots({ tpm: 60_000 }, fakeClock(0));
    await slots.take(2, 12_000);
    await slots.adjust(correction);
    return (await slots.take(1, 6000))[0]!;
  };
  expect(await third(-6000)).toBeLessThan(await third(0));
  expect(await third(6000)).toBeGreaterThan(await third(0));
});

it("sends nothing before the time that the provider names, then at half the pace, then at more and more of it", async () => {
  const clock = fakeClock(0);
  const slots = memorySlots({ rpm: 600 }, clock);
  const [first, second] = await slots.take(2, 0);
  const full = second! - first!;
  await slots.slowDown(30_000);
  await slots.slowDown(20_000);
  const times = await slots.take(1500, 0);
  expect(times[0]).toBe(30_000);
  expect(times[1]! - times[0]!).toBeCloseTo(2 * full, 6);
  const last = times.findIndex((time, i) => i > 0 && time - times[i - 1]! < full * 1.001);
  const recovery = times[last]! - times[0]!;
  expect(recovery).toBeGreaterThan(0.7 * WINDOW);
  expect(recovery).toBeLessThanOrEqual(WINDOW);
  const pauses = times.slice(1, last + 1).map((time, i) => time - times[i]!);
  expect(pauses.every((pause, i) => i === 0 || pause <= pauses[i - 1]! + 1e-6)).toBe(true);
  expect(new Set(pauses.map((pause) => Math.round(pause * 1000))).size).toBe(11);
});

it("halves once for all calls that hear of one congestion, and again for the next one", async () => {
  const clock = fakeClock(0);
  const slots = memorySlots({ rpm: 600 }, clock);
  const [first, second] = await slots.take(2, 0);
  for (let i = 0; i < 64; i++) await slots.slowDown(1000);
  await clock.sleep(5000);
  await slots.slowDown(5000);
  const [next, after] = await slots.take(2, 0);
  expect(after! - next!).toBeCloseTo(4 * (second! - first!), 6);
});

it("books at once without limits", async () => {
  const clock = fakeClock();
  expect(await memorySlots({}, clock).take(3, 1e9)).toEqual([clock.now(), clock.now(), clock.now()]);
});
