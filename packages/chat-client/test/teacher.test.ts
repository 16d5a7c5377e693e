import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { costOf, createTeacher, createTeacherClient, estimateUsage, memorySpendBook, type Answer, type Outcome, type SpendEntry, type SpendResult, type TeacherEvent, type TeacherOptions } from "@dramascope/chat-client";
import { startSimulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { expect, it } from "vitest";
import { fakeClock, okOutcome, PRICES, requestFor, scriptedClient } from "./fixtures.ts";

const failed = (code: string, more: object = {}): Outcome => ({ kind: "retry", code, maybePaid: false, ...more });
const truncated: Outcome = { kind: "unusable", code: "TRUNCATED", raw: "half", finish: "length", model: "teacher-sim-1", usage: { promptTokens: 100, completionTokens: 50, source: "reported" } };

/** Asks once, against a script, with a clock that jumps ahead. */
async function askOnce(outcomes: readonly Outcome[], options: Partial<TeacherOptions> = {}): Promise<{ answer: Answer; slept: number[]; asked: ReturnType<typeof scriptedClient>["asked"]; spent: number; events: TeacherEvent[] }> {
  const client = scriptedClient(outcomes);
  const clock = fakeClock();
  const events: TeacherEvent[] = [];
  const teacher = createTeacher({ client, clock, prices: PRICES, onEvent: (event) => events.push(event), ...options });
  const answer = await teacher.ask(requestFor("d"), { key: "k" });
  await teacher.close();
  return { answer, slept: clock.slept, asked: client.asked, spent: teacher.spent(), events };
}

const unknownCost = costOf(PRICES, estimateUsage(requestFor("d")));

it.each<[string, Outcome[], Partial<Answer>]>([
  ["an answer", [okOutcome], { kind: "ok", content: "x", attempts: 1, cost: 0.000045 }],
  ["an answer after failures in passing", [failed("HTTP_500"), failed("CONNECTION_RESET"), okOutcome], { kind: "ok", attempts: 3, cost: 0.000045 }],
  ["an answer after failures that may cost", [failed("TIMEOUT", { maybePaid: true }), okOutcome], { kind: "ok", attempts: 2, cost: 0.000045 + unknownCost }],
  ["an answer after a failure of known cost", [failed("NO_CHOICES", { maybePaid: true, usage: okOutcome.usage }), okOutcome], { kind: "ok", attempts: 2, cost: 0.00009 }],
  ["failures without end", [failed("HTTP_503")], { kind: "parked", code: "HTTP_503", attempts: 6, cost: 0 }],
  ["content that is refused before it costs", [{ kind: "blocked", code: "Sensitive" }], { kind: "blocked", code: "Sensitive", attempts: 1, cost: 0 }],
  ["content that is refused after it costs", [{ kind: "blocked", code: "REFUSAL", usage: okOutcome.usage }], { kind: "blocked", attempts: 1, cost: 0.000045 }],
  ["an empty answer", [{ kind: "unusable", code: "EMPTY", raw: "", finish: "stop", usage: okOutcome.usage }], { kind: "unusable", code: "EMPTY", raw: "", finish: "stop", attempts: 1, cost: 0.000045 }],
  ["no key", [{ kind: "fatal", code: "invalid_api_key", message: "no" }], { kind: "fatal", code: "invalid_api_key", message: "no", attempts: 1 }],
  ["two redirects", [failed("REDIRECT"), failed("REDIRECT"), okOutcome], { kind: "ok", attempts: 3 }],
  ["three redirects", [failed("REDIRECT")], { kind: "fatal", code: "REDIRECT", attempts: 3 }],
  ["an answer that is cut off once", [truncated, okOutcome], { kind: "ok", attempts: 2, cost: 0.000045 + 0.000125 }],
  ["an answer that is cut off twice", [truncated], { kind: "unusable", code: "TRUNCATED", raw: "half", attempts: 2, cost: 0.00025 }],
])("ends %s", async (_name, outcomes, expected) => {
  const { answer, spent } = await askOnce(outcomes);
  expect(answer).toMatchObject({ ...expected, ...("cost" in expected ? { cost: expect.closeTo(expected.cost, 12) as number } : {}) });
  expect(answer).not.toHaveProperty("usage.usage");
  if ("cost" in answer) expect(spent).toBeCloseTo(answer.cost, 12);
});

it("asks for twice the tokens once, numbers attempts, and keeps the rest of the request", async () => {
  const { asked } = await askOnce([failed("HTTP_500"), truncated, failed("HTTP_500"), truncated]);
  expect(asked.map(({ maxTokens, trace }) => [maxTokens, trace?.attempt])).toEqual([[512, 1], [512, 2], [1024, 3], [1024, 4]]);
  expect(asked[3]).toEqual({ ...requestFor("d"), maxTokens: 1024, trace: { drama: "d", round: 1, attempt: 4 } });
});

it("waits longer after each failure, with full jitter, never above a minute", async () => {
  const pauses = await Promise.all(Array.from({ length: 200 }, async (_, seed) => (await askOnce([failed("HTTP_500")], { seed, maxAttempts: 9 })).slept));
  for (let i = 0; i < 8; i++) {
    const nth = pauses.map((list) => list[i]!);
    const most = Math.min(60_000, 1000 * 2 ** i);
    expect(Math.max(...nth)).toBeLessThanOrEqual(most);
    expect(Math.max(...nth)).toBeGreaterThan(0.9 * most);
    expect(Math.min(...nth)).toBeLessThan(0.1 * most);
  }
});

it("waits at least as long as a failing provider asks for", async () => {
  const { slept } = await askOnce([failed("HTTP_503", { retryAfterMs: 30_000 }), okOutcome]);
  expect(slept).toEqual([30_000]);
});

it("does not count a 429 as a failure", async () => {
  const { answer, events } = await askOnce([...Array.from({ length: 40 }, () => failed("RATE_LIMITED")), okOutcome], { maxAttempts: 1 });
  expect(answer).toMatchObject({ kind: "ok", attempts: 41 });
  expect(events.filter(({ type }) => type === "slow-down")).toHaveLength(40);
});

it("waits longer each time it is refused for the rate, also where it is told to come back at once, and holds up nobody else for it", async () => {
  const { slept, events } = await askOnce([...Array.from({ length: 8 }, () => failed("RATE_LIMITED", { retryAfterMs: 0 })), okOutcome]);
  expect(slept.map((ms) => Math.floor(Math.log2(ms / 1000)))).toEqual([0, 1, 2, 3, 4, 5, 5, 5]);
  expect(events.filter(({ type }) => type === "slow-down")).toEqual(Array.from({ length: 8 }, () => expect.objectContaining({ pauseMs: 0 }) as object));
});

it("warns once of each other model that answers", async () => {
  const client = scriptedClient([{ ...okOutcome, model: "other" }]);
  const events: TeacherEvent[] = [];
  const teacher = createTeacher({ client, onEvent: (event) => events.push(event) });
  for (const model of ["m", "m", "n", "other"]) await teacher.ask(requestFor("d", { model }));
  expect(events.filter(({ type }) => type === "model-differs")).toEqual([
    { type: "model-differs", asked: "m", returned: "other" },
    { type: "model-differs", asked: "n", returned: "other" },
  ]);
});

it.each<[string, number | string | { date: number }]>([
  ["seconds", 90],
  ["an HTTP date", { date: 90 }],
])("obeys a Retry-After of 90 s as %s", async (_name, retryAfter) => {
  const simulator = await startSimulator({ faults: { rules: [{ fault: "http_429", retryAfter, times: 1 }] } });
  const client = createTeacherClient({ baseURL: simulator.baseURL });
  const clock = fakeClock();
  const start = clock.now();
  const teacher = createTeacher({ client, clock });
  expect(await teacher.ask(requestFor("d"))).toMatchObject({ kind: "ok", attempts: 2 });
  const waited = clock.now() - start;
  // HTTP dates have whole seconds.
  expect(waited).toBeGreaterThanOrEqual(89_000);
  expect(waited).toBeLessThan(92_500);
  await client.close();
  await simulator.stop();
});

it("holds everybody back for as long as one of them was told", async () => {
  const clock = fakeClock();
  const sentAt: number[] = [];
  const client = scriptedClient([failed("RATE_LIMITED", { retryAfterMs: 90_000 }), okOutcome]);
  const teacher = createTeacher({ client: { ...client, call: (request) => (sentAt.push(clock.now()), client.call(request)) }, clock, limits: { inFlight: 1 } });
  await Promise.all([teacher.ask(requestFor("a")), teacher.ask(requestFor("b")), teacher.ask(requestFor("c"))]);
  expect(sentAt).toHaveLength(4);
  expect(Math.min(...sentAt.slice(1)) - sentAt[0]!).toBeGreaterThanOrEqual(90_000);
});

it("writes one line before and one after each attempt, without texts, after whatever the file holds", async () => {
  const journal = join(mkdtempSync(join(tmpdir(), "dramascope-chat-")), "journal.jsonl");
  writeFileSync(journal, '{"event":"old"}\n');
  await askOnce([failed("TIMEOUT", { maybePaid: true }), okOutcome], { journal });
  const lines = readFileSync(journal, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toMatchObject([
    { event: "old" },
    { event: "start", call: 1, key: "k", attempt: 1, task: "cot", model: "teacher-sim-1", drama: "d", round: 1 },
    { event: "end", call: 1, key: "k", attempt: 1, outcome: "retry", code: "TIMEOUT", usage: { source: "estimated" } },
    { event: "start", attempt: 2 },
    { event: "end", attempt: 2, outcome: "ok", cost: 0.000045, usage: { promptTokens: 100 } },
  ]);
  expect(JSON.stringify(lines)).not.toContain("Judge the drama");
  await expect(async () => askOnce([okOutcome], { journal: "/nowhere/journal.jsonl" })).rejects.toMatchObject({ code: "JOURNAL_IO" });
});

it("books an attempt before it is sent, and an aborted one as possibly paid", async () => {
  const stop = new AbortController();
  const results: SpendResult[] = [];
  const book = memorySpendBook();
  const teacher = createTeacher({
    client: { ...scriptedClient([]), call: (_request, signal) => (expect(book.spent()).toBeCloseTo(unknownCost, 12), stop.abort(new Error("stop")), Promise.reject(signal!.reason as Error)) },
    prices: PRICES,
    spendBook: { ...book, settle: (id, result) => (results.push(result), book.settle(id, result)) },
  });
  await expect(teacher.ask(requestFor("d"), { signal: stop.signal })).rejects.toThrow("stop");
  expect(results).toMatchObject([{ outcome: "aborted", isUnknown: true, cost: unknownCost }]);
  expect(teacher.spent()).toBeCloseTo(unknownCost, 12);
  await expect(teacher.ask(requestFor("d"), { signal: stop.signal })).rejects.toThrow("stop");
  expect(results).toHaveLength(1);
});

it("learns how long a provider takes prompts of a task for", async () => {
  const estimates: number[] = [];
  const book = memorySpendBook();
  const prices = { ...PRICES, bands: [{ in: 1e6, out: 0 }] };
  const long: Outcome = { ...okOutcome, usage: { ...okOutcome.usage, promptTokens: 300 } };
  const silent: Outcome = { ...okOutcome, usage: { promptTokens: 13, completionTokens: 1, source: "estimated" } };
  const client = scriptedClient([okOutcome, long, okOutcome, silent, okOutcome]);
  const teacher = createTeacher({ client, prices, spendBook: { ...book, reserve: (entry) => (estimates.push(entry.estimate), book.reserve(entry)) } });
  const answers: Answer[] = [];
  for (let i = 0; i < 4; i++) answers.push(await teacher.ask(requestFor("d")));
  await teacher.ask(requestFor("d", { task: "caption" }));
  expect(estimates).toEqual([12, 100, 300, 300, 12]);
  // What nobody reports is booked at what such prompts have cost before.
  expect(answers[3]).toMatchObject({ usage: { promptTokens: 300, source: "estimated" } });
});

it("learns from calls at once no more than from one after the other, and from absurd reports within bounds", async () => {
  const estimates: number[] = [];
  const book = memorySpendBook();
  const prices = { ...PRICES, bands: [{ in: 1e6, out: 0 }] };
  const spendBook = { ...book, reserve: (entry: SpendEntry) => (estimates.push(entry.estimate), book.reserve(entry)) };
  const absurd: Outcome = { ...okOutcome, usage: { ...okOutcome.usage, promptTokens: 1e12 } };
  const teacher = createTeacher({ client: scriptedClient([...Array.from({ length: 17 }, () => okOutcome), absurd, okOutcome]), prices, spendBook });
  await Promise.all(Array.from({ length: 16 }, () => teacher.ask(requestFor("d"))));
  for (let i = 0; i < 3; i++) await teacher.ask(requestFor("d"));
  expect(estimates.slice(0, 16)).toEqual(Array.from({ length: 16 }, () => 12));
  expect(estimates.slice(16)).toEqual([100, 100, 12 * 32]);
});

it("books nothing for media that cannot be sent", async () => {
  const client = createTeacherClient({ baseURL: "http://127.0.0.1:9", capabilities: { frames: false } });
  const teacher = createTeacher({ client, prices: PRICES });
  await expect(teacher.ask(requestFor("d", { messages: [{ role: "user", content: [{ type: "jpeg", data: Uint8Array.of(1) }] }] }))).rejects.toMatchObject({ code: "MEDIA_UNSUPPORTED" });
  expect(teacher.spent()).toBe(0);
});

it("leaves no place taken when a call is aborted, in the queue or while it waits", async () => {
  const client = scriptedClient([okOutcome]);
  const stop = new AbortController();
  const never = new Promise<Outcome>((_resolve, reject) => stop.signal.addEventListener("abort", () => reject(stop.signal.reason as Error)));
  const started = Promise.withResolvers<null>();
  const teacher = createTeacher({ client: { ...client, call: (request, signal) => (started.resolve(null), signal ? never : client.call(request)) }, limits: { inFlight: 2 } });
  const stuck = Array.from({ length: 5 }, () => teacher.ask(requestFor("d"), { signal: stop.signal }));
  const later = teacher.ask(requestFor("d"));
  await started.promise;
  stop.abort(new Error("stop"));
  expect((await Promise.allSettled(stuck)).map(({ status }) => status)).toEqual(Array.from({ length: 5 }, () => "rejected"));
  expect(await later).toMatchObject({ kind: "ok" });
});

it("takes an error of a full ledger for what it is", async () => {
  const full = { reserve: () => Promise.reject(new Error("ENOSPC")), settle: () => Promise.resolve(), spent: () => 0 };
  const client = scriptedClient([okOutcome]);
  await expect(createTeacher({ client, spendBook: full }).ask(requestFor("d"))).rejects.toThrow("ENOSPC");
  expect(client.asked).toEqual([]);
});

it.each<[string, Partial<TeacherOptions>]>([
  ["a rate of nothing", { limits: { rpm: 0 } }],
  ["a window without length", { limits: { rpm: 1, windowMs: 0 } }],
  ["no attempt", { maxAttempts: 0 }],
  ["a pause that is no number", { backoffMs: NaN }],
  ["prices without a band", { prices: { ...PRICES, bands: [] } }],
])("refuses %s", (_name, options) => {
  expect(() => createTeacher({ client: scriptedClient([okOutcome]), ...options })).toThrow(expect.objectContaining({ code: "CHAT_OPTIONS" }) as Error);
});

it("tells the key to nobody, even where a provider echoes it", async () => {
  const echo = { fault: "http", message: "key sk-canary-4711 in Bearer sk-canary-4711", code: "sk-canary-4711" };
  const simulator = await startSimulator({ faults: { rules: [{ ...echo, match: { drama: "a" }, status: 503, times: 1 }, { ...echo, match: { drama: "b" }, status: 400 }, { ...echo, match: { drama: "c" }, status: 403 }] } });
  const journal = join(mkdtempSync(join(tmpdir(), "dramascope-chat-")), "journal.jsonl");
  const client = createTeacherClient({ baseURL: simulator.baseURL, apiKey: "sk-canary-4711", capabilities: { metadata: true } });
  const told: unknown[] = [];
  const teacher = createTeacher({ client, journal, backoffMs: 1, onEvent: (event) => told.push(event) });
  for (const drama of ["a", "b", "c"]) told.push(await teacher.ask(requestFor(drama)));
  await teacher.close();
  await client.close();
  await simulator.stop();
  expect(told.map((one) => (one as Answer).kind).filter((kind) => kind as unknown)).toEqual(["ok", "unusable", "fatal"]);
  expect(JSON.stringify(told) + readFileSync(journal, "utf8")).not.toContain("canary");
});
