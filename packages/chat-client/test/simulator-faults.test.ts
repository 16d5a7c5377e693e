import { createTeacherClient, type TeacherClient } from "@dramascope/chat-client";
import { startSimulator, type Simulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { afterAll, beforeAll, expect, it } from "vitest";
import { requestFor } from "./fixtures.ts";

interface Row {
  name: string;
  rule: { fault: string; [field: string]: unknown };
  outcome: object;
}

const paidRetry = (code: string): object => ({ kind: "retry", code, maybePaid: true });
const freeRetry = (code: string): object => ({ kind: "retry", code, maybePaid: false });
const readable = { kind: "ok", finish: "stop", model: "teacher-sim-1", usage: { source: "reported" } };

const rows: Row[] = [
  { name: "a 429 with whole seconds", rule: { fault: "http_429", retryAfter: 2 }, outcome: { ...freeRetry("RATE_LIMITED"), retryAfterMs: 2000 } },
  { name: "a 429 with a fraction of a second", rule: { fault: "http_429", retryAfter: 0.25 }, outcome: { ...freeRetry("RATE_LIMITED"), retryAfterMs: 250 } },
  { name: "a 429 with more than a minute", rule: { fault: "http_429", retryAfter: "90" }, outcome: { ...freeRetry("RATE_LIMITED"), retryAfterMs: 90_000 } },
  { name: "a 429 with an HTTP date", rule: { fault: "http_429", retryAfter: { date: 90 } }, outcome: freeRetry("RATE_LIMITED") },
  { name: "a 429 without Retry-After", rule: { fault: "http_429" }, outcome: freeRetry("RATE_LIMITED") },
  { name: "a 429 of an empty purse", rule: { fault: "http_429", code: "insufficient_quota" }, outcome: { kind: "fatal", code: "insufficient_quota" } },
  ...[408, 409, 500, 502, 503, 504].map((status) => ({ name: `a ${status}`, rule: { fault: "http", status }, outcome: freeRetry(`HTTP_${status}`) })),
  { name: "a 401", rule: { fault: "http", status: 401, code: "invalid_api_key" }, outcome: { kind: "fatal", code: "invalid_api_key" } },
  { name: "a 402", rule: { fault: "http", status: 402 }, outcome: { kind: "fatal" } },
  { name: "a 403 of an account overdue", rule: { fault: "http", status: 403, code: "AccountOverdueError" }, outcome: { kind: "fatal", code: "AccountOverdueError" } },
  { name: "a 404", rule: { fault: "http", status: 404, code: "model_not_found" }, outcome: { kind: "fatal", code: "model_not_found" } },
  { name: "a 400 of an account overdue", rule: { fault: "http", status: 400, code: "Arrearage" }, outcome: { kind: "fatal", code: "Arrearage" } },
  { name: "a 400 with an unknown code, after answers", rule: { fault: "http", status: 400, code: "weird" }, outcome: { kind: "unusable", code: "weird" } },
  { name: "a 404 of a file", rule: { fault: "http", status: 404, code: "FileNotFound" }, outcome: freeRetry("FileNotFound") },
  { name: "a 413", rule: { fault: "http", status: 413 }, outcome: { kind: "unusable", code: "REQUEST_TOO_LARGE" } },
  { name: "content_blocked", rule: { fault: "content_blocked" }, outcome: { kind: "blocked", code: "InputTextSensitiveContentDetected" } },
  { name: "another safety code", rule: { fault: "content_blocked", code: "data_inspection_failed" }, outcome: { kind: "blocked", code: "data_inspection_failed" } },
  { name: "security_retry", rule: { fault: "security_retry" }, outcome: freeRetry("ContentSecurityDetectionError") },
  { name: "error_in_200", rule: { fault: "error_in_200" }, outcome: freeRetry("ERROR_IN_200") },
  { name: "redirect", rule: { fault: "redirect" }, outcome: freeRetry("REDIRECT") },
  { name: "bad_http", rule: { fault: "bad_http" }, outcome: paidRetry("BAD_HTTP") },
  { name: "reset", rule: { fault: "reset" }, outcome: freeRetry("CONNECTION_RESET") },
  { name: "hang", rule: { fault: "hang" }, outcome: paidRetry("TIMEOUT") },
  { name: "a hang that the server ends", rule: { fault: "hang", delayMs: 30 }, outcome: paidRetry("CONNECTION_LOST") },
  { name: "late", rule: { fault: "late", delayMs: 30 }, outcome: readable },
  { name: "slow_body", rule: { fault: "slow_body", chunkBytes: 200, chunkDelayMs: 10 }, outcome: readable },
  { name: "a body that drips for too long", rule: { fault: "slow_body", chunkBytes: 8, chunkDelayMs: 40 }, outcome: paidRetry("TIMEOUT") },
  { name: "slow_stream", rule: { fault: "slow_stream", chunkBytes: 200, chunkDelayMs: 10 }, outcome: readable },
  { name: "reset_mid_body", rule: { fault: "reset_mid_body" }, outcome: paidRetry("BODY_LOST") },
  { name: "length_lies", rule: { fault: "length_lies" }, outcome: paidRetry("BODY_LOST") },
  { name: "truncated_json", rule: { fault: "truncated_json" }, outcome: paidRetry("INVALID_JSON") },
  { name: "invalid_utf8", rule: { fault: "invalid_utf8" }, outcome: paidRetry("INVALID_UTF8") },
  { name: "wrong_content_type", rule: { fault: "wrong_content_type" }, outcome: paidRetry("CONTENT_TYPE") },
  { name: "json_as_text", rule: { fault: "json_as_text" }, outcome: paidRetry("CONTENT_TYPE") },
  { name: "empty_body", rule: { fault: "empty_body" }, outcome: paidRetry("EMPTY_BODY") },
  { name: "bad_gzip", rule: { fault: "bad_gzip" }, outcome: paidRetry("BAD_COMPRESSION") },
  { name: "refusal", rule: { fault: "refusal" }, outcome: { kind: "blocked", code: "REFUSAL", usage: { source: "reported" } } },
  { name: "content_filter", rule: { fault: "content_filter" }, outcome: { kind: "blocked", code: "CONTENT_FILTER", usage: { source: "reported" } } },
  { name: "empty_content", rule: { fault: "empty_content" }, outcome: { kind: "unusable", code: "EMPTY", finish: "stop", usage: { source: "reported" } } },
  { name: "null_content", rule: { fault: "null_content" }, outcome: { kind: "unusable", code: "EMPTY", usage: { source: "reported" } } },
  { name: "no_choices", rule: { fault: "no_choices" }, outcome: { ...paidRetry("NO_CHOICES"), usage: { source: "reported" } } },
  { name: "length", rule: { fault: "length" }, outcome: { kind: "unusable", code: "TRUNCATED", finish: "length", raw: expect.stringMatching(/./u) as string } },
  { name: "an answer over 8 MiB", rule: { fault: "huge_content", bytes: 9_000_000 }, outcome: { kind: "unusable", code: "TOO_LARGE", usage: { source: "estimated" } } },
  { name: "missing_usage", rule: { fault: "missing_usage" }, outcome: { kind: "ok", usage: { source: "estimated" } } },
  { name: "zero_usage", rule: { fault: "zero_usage" }, outcome: { kind: "ok", usage: { source: "estimated" } } },
  { name: "wrong_model", rule: { fault: "wrong_model" }, outcome: { ...readable, model: "teacher-sim-1-fallback" } },
  { name: "reasoning_content", rule: { fault: "reasoning_content" }, outcome: { ...readable, reasoning: expect.stringContaining("Private notes") as string } },
  // What the answer says is for those who read answers.
  ...["duplicate_keys", "bad_schema", "out_of_range", "prose", "deep_json", "huge_content", "proto_keys", "fenced", "prefixed", "think_tags", "trailing_comma", "string_answer", "keyed_labels", "drop_item", "extra_item", "repeat_item"].map((fault) => ({
    name: fault,
    rule: { fault },
    outcome: readable,
  })),
];

let simulator: Simulator;
let patient: TeacherClient;
let hasty: TeacherClient;
beforeAll(async () => {
  simulator = await startSimulator({ faults: { rules: rows.map(({ name, rule }) => ({ id: name, match: { drama: name }, ...rule })) } });
  const capabilities = { metadata: true };
  patient = createTeacherClient({ baseURL: simulator.baseURL, capabilities });
  hasty = createTeacherClient({ baseURL: simulator.baseURL, capabilities, callTimeoutMs: 300 });
  await patient.call(requestFor("no fault"));
});
afterAll(async () => {
  await patient.close();
  await hasty.close();
  await simulator.stop();
});

it.each(rows)("judges $name", async ({ name, outcome }) => {
  const judged = await ("code" in outcome && outcome.code === "TIMEOUT" ? hasty : patient).call(requestFor(name));
  expect(judged).toMatchObject(outcome);
  if ("usage" in judged) expect(Math.min(judged.usage.promptTokens, judged.usage.completionTokens)).toBeGreaterThan(0);
});

it("knows every fault of the simulator", async () => {
  const journal = (await (await fetch(`${simulator.baseURL.replace(/v1$/u, "")}__sim/stats`)).json()) as { byFault: Record<string, number> };
  expect(Object.keys(journal.byFault)).toHaveLength(46);
});
