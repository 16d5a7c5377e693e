import { createTeacher, createTeacherClient, type TeacherEvent } from "@dramascope/chat-client";
import { startSimulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { expect, it } from "vitest";
import { PRICES, requestFor } from "./fixtures.ts";

/** Faults that may be gone at the next attempt. */
const PASSING = [
  { fault: "http_429", retryAfter: 0.01 },
  ...[408, 409, 500, 503].map((status) => ({ fault: "http", status })),
  ...["security_retry", "error_in_200", "redirect", "bad_http", "reset", "hang", "reset_mid_body", "length_lies", "truncated_json", "invalid_utf8", "wrong_content_type", "json_as_text", "empty_body", "bad_gzip", "no_choices", "length"].map((fault) => ({ fault })),
];

it("gets every answer past every passing fault, and books at least what was billed", async () => {
  const rules = PASSING.map((rule, i) => ({ id: String(i), match: { drama: String(i) }, times: 1, ...rule }));
  const simulator = await startSimulator({ faults: { rules } });
  const client = createTeacherClient({ baseURL: simulator.baseURL, capabilities: { traceHeaders: true }, callTimeoutMs: 2000 });
  const events: TeacherEvent[] = [];
  const teacher = createTeacher({ client, prices: PRICES, limits: { inFlight: 4 }, backoffMs: 5, onEvent: (event) => events.push(event) });
  const ask = async (): Promise<unknown[]> => Promise.all(PASSING.map(async (_, i) => teacher.ask(requestFor(String(i)))));
  const first = await ask();
  expect(first).toMatchObject(PASSING.map(() => ({ kind: "ok", attempts: 2 })));
  // The simulator answers a key always alike: the faults have changed nothing.
  expect((await ask()).map((answer) => (answer as { content: string }).content)).toEqual(first.map((answer) => (answer as { content: string }).content));
  const { cost, paid } = (await (await fetch(`${simulator.baseURL.replace(/v1$/u, "")}__sim/stats`)).json()) as { cost: number; paid: number };
  expect(paid).toBeGreaterThan(2 * PASSING.length);
  expect(teacher.spent()).toBeGreaterThanOrEqual(cost);
  expect(events.filter(({ type }) => type === "attempt")).toHaveLength(3 * PASSING.length);
  await client.close();
  await simulator.stop();
});

it("parks calls whose attempts all fail", async () => {
  const lasting = PASSING.filter(({ fault }) => !["http_429", "redirect", "length"].includes(fault));
  const simulator = await startSimulator({ faults: { rules: lasting.map((rule, i) => ({ match: { drama: String(i) }, ...rule })) } });
  const client = createTeacherClient({ baseURL: simulator.baseURL, capabilities: { traceHeaders: true }, callTimeoutMs: 1000 });
  const teacher = createTeacher({ client, backoffMs: 1, maxAttempts: 3 });
  const answers = await Promise.all(lasting.map((_, i) => teacher.ask(requestFor(String(i)))));
  expect(answers).toMatchObject(lasting.map(() => ({ kind: "parked", attempts: 3 })));
  expect(simulator.requests()).toBe(3 * lasting.length);
  await client.close();
  await simulator.stop();
});
