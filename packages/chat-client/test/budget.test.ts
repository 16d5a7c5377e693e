import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { costOf, createTeacher, createTeacherClient, estimateUsage, memorySpendBook, type Prices, type Usage } from "@dramascope/chat-client";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fakeClock, okOutcome, requestFor, scriptedClient } from "./fixtures.ts";

/** What the server does with its next request. */
interface Script {
  promptTokens: number;
  completionTokens: number;
  end: "answers" | "resets" | "garbles" | "refuses" | "hides usage";
}

/** A server that charges for what it does, whatever its client learns. */
let script: Script[] = [];
let prices: Prices;
let bill: number[] = [];
const server = createServer((request, response) => {
  request.resume().on("end", () => {
    const { promptTokens, completionTokens, end } = script[bill.length % script.length]!;
    const usage: Usage = { promptTokens, completionTokens, source: "reported" };
    bill.push(end === "refuses" ? 0 : costOf(prices, usage));
    if (end === "refuses") return response.writeHead(500).end();
    response.writeHead(200, { "content-type": "application/json" });
    if (end === "resets") return response.write("{", () => response.socket?.resetAndDestroy());
    if (end === "garbles") return response.end("{");
    return response.end(JSON.stringify({ choices: [{ message: { content: "x" }, finish_reason: "stop" }], ...(end === "answers" ? { usage: { prompt_tokens: promptTokens, completion_tokens: completionTokens } } : {}) }));
  });
});
beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve())));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const request = requestFor("d", { maxTokens: 40 });
const most = estimateUsage(request);

it("never bills more than the limit and the most expensive calls in flight", async () => {
  const step = fc.record({
    promptTokens: fc.integer({ min: 1, max: 2 * most.promptTokens }),
    completionTokens: fc.integer({ min: 1, max: 2 * most.completionTokens }),
    end: fc.constantFrom<Script["end"]>("answers", "answers", "resets", "garbles", "refuses", "hides usage"),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.record({ script: fc.array(step, { minLength: 1, maxLength: 12 }), inFlight: fc.integer({ min: 1, max: 6 }), calls: fc.integer({ min: 1, max: 30 }), limit: fc.double({ min: 0.01, max: 3, noNaN: true }), out: fc.integer({ min: 1, max: 20_000 }) }),
      async ({ script: next, inFlight, calls, limit, out }) => {
        [script, bill, prices] = [next, [], { currency: "USD", date: "2026-11-01", bands: [{ in: 1000, out }] }];
        // Where a call without a word of its cost used more than estimated, nobody could know.
        script = script.map((one) => (one.end === "answers" || one.end === "refuses" ? one : { ...one, promptTokens: Math.min(one.promptTokens, most.promptTokens), completionTokens: Math.min(one.completionTokens, one.end === "hides usage" ? 1 : most.completionTokens) }));
        const client = createTeacherClient({ baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
        const teacher = createTeacher({ client, prices, limits: { inFlight }, spendBook: memorySpendBook(limit), maxAttempts: 3, backoffMs: 0.01 });
        const answers = await Promise.all(Array.from({ length: calls }, () => teacher.ask(request)));
        await client.close();
        const total = bill.reduce((sum, cost) => sum + cost, 0);
        expect(total).toBeLessThanOrEqual(limit + inFlight * Math.max(0, ...bill) + 1e-9);
        // Nothing is lost: what was billed is booked.
        expect(teacher.spent()).toBeGreaterThanOrEqual(total - 1e-9);
        expect(answers.every(({ kind }) => kind === "ok" || kind === "parked" || kind === "budget")).toBe(true);
        if (answers.every(({ kind }) => kind === "ok")) expect(bill.length).toBeGreaterThanOrEqual(calls);
      },
    ),
    { numRuns: 100, seed: 4711 },
  );
});

it("uses the budget up to one call, however many are in flight and however much less they cost than was booked", async () => {
  const call = fc.record({ promptTokens: fc.integer({ min: 1, max: 2 * most.promptTokens }), completionTokens: fc.integer({ min: 1, max: most.completionTokens }), turns: fc.integer({ min: 0, max: 8 }), isLost: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 20 }), async (calls, inFlight, size) => {
      const costs: Prices = { currency: "USD", date: "2026-11-01", bands: [{ in: 1000, out: 20_000 }] };
      const highest = costOf(costs, { ...most, promptTokens: Math.max(most.promptTokens, ...calls.map(({ promptTokens }) => promptTokens)) });
      const [limit, client] = [(size * highest) / 2, scriptedClient([])];
      let sent = 0;
      const call: typeof client.call = async () => {
        const { turns, isLost, ...usage } = calls[sent++ % calls.length]!;
        for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
        return isLost ? { kind: "retry", code: "TIMEOUT", maybePaid: true } : { ...okOutcome, usage: { ...usage, source: "reported" } };
      };
      const teacher = createTeacher({ client: { ...client, call }, prices: costs, limits: { inFlight }, spendBook: memorySpendBook(limit), clock: fakeClock() });
      let isOver = false;
      const work = async (): Promise<void> => {
        while (!isOver) if ((await teacher.ask(request)).kind === "budget") isOver = true;
      };
      await Promise.all(Array.from({ length: inFlight }, work));
      expect(teacher.spent()).toBeGreaterThanOrEqual(limit - highest - 1e-9);
      expect(teacher.spent()).toBeLessThanOrEqual(limit + inFlight * highest + 1e-9);
    }),
    { numRuns: 60, seed: 4711 },
  );
});

it("waits for what other processes have in flight, and no longer", async () => {
  const book = memorySpendBook(0.5);
  let others = 3;
  const client = scriptedClient([okOutcome]);
  const clock = fakeClock();
  const spendBook = { ...book, isOpenElsewhere: () => Promise.resolve(others-- > 0) };
  const teacher = createTeacher({ client, prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 1e6, out: 1e6 }] }, spendBook, clock });
  expect(await teacher.ask(request)).toEqual({ kind: "budget", attempts: 0 });
  expect(clock.slept).toEqual([1000, 1000, 1000]);
});

it("gives up waiting for money when it is told to", async () => {
  const stop = new AbortController();
  const never = new Promise<never>(() => undefined);
  const teacher = createTeacher({ client: { ...scriptedClient([]), call: () => never }, prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 1, out: 1 }] }, spendBook: memorySpendBook(1.5 * costOf({ currency: "USD", date: "2026-11-01", bands: [{ in: 1, out: 1 }] }, most)) });
  void teacher.ask(request);
  const waiting = teacher.ask(request, { signal: stop.signal });
  await new Promise((resolve) => setTimeout(resolve, 5));
  stop.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
});

it("stops within the limit where estimates hold, and says so before it sends", async () => {
  [script, bill, prices] = [[{ promptTokens: most.promptTokens, completionTokens: most.completionTokens, end: "answers" }], [], { currency: "USD", date: "2026-11-01", bands: [{ in: 1000, out: 1000 }] }];
  const each = costOf(prices, most);
  const client = createTeacherClient({ baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  const teacher = createTeacher({ client, prices, limits: { inFlight: 4 }, spendBook: memorySpendBook(7.5 * each) });
  const answers = await Promise.all(Array.from({ length: 20 }, () => teacher.ask(request)));
  await client.close();
  expect(answers.filter(({ kind }) => kind === "ok")).toHaveLength(7);
  expect(answers.filter((answer) => answer.kind === "budget" && answer.attempts === 0)).toHaveLength(13);
  expect(bill).toHaveLength(7);
});
