import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createTeacherClient, type ChatRequest, type Outcome, type TeacherClientOptions } from "@dramascope/chat-client";
import { afterEach, expect, it } from "vitest";

let server: Server | undefined;
afterEach(() => server?.close());

const request: ChatRequest = { task: "caption", messages: [{ role: "user", content: [{ type: "text", text: "Retell." }, { type: "jpeg", data: Uint8Array.of(1, 2, 3) }] }], temperature: 0.5, maxTokens: 100 };
const answer = (content: string): string => JSON.stringify({ model: "m", choices: [{ message: { content }, finish_reason: "stop" }], usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 } });

async function serve(listener: RequestListener, options: Partial<TeacherClientOptions> = {}): Promise<{ call: () => Promise<Outcome>; spent: () => number; close: () => Promise<void> }> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", () => resolve()));
  const client = createTeacherClient({ baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, model: "m", backoffMs: 1, maxAttempts: 3, ...options });
  return { call: () => client.call(request), spent: () => client.spent(), close: () => client.close() };
}

it("sends text and pictures, and reads content and usage", async () => {
  let body = "";
  const { call, close } = await serve((req, res) => {
    req.on("data", (chunk: Buffer) => (body += chunk.toString()));
    req.on("end", () => res.setHeader("content-type", "application/json").end(answer("a story")));
  });
  expect(await call()).toMatchObject({ kind: "ok", content: "a story", usage: { promptTokens: 10, source: "reported" }, attempts: 1 });
  expect(JSON.parse(body)).toMatchObject({ model: "m", max_tokens: 100, messages: [{ role: "user", content: [{ type: "text", text: "Retell." }, { type: "image_url", image_url: { url: "data:image/jpeg;base64,AQID" } }] }] });
  expect(body).not.toContain("metadata");
  await close();
});

it("waits as Retry-After says, without counting the attempt", async () => {
  let calls = 0;
  const { call, close } = await serve((_req, res) => {
    if (++calls < 6) res.writeHead(429, { "retry-after": "0.01" }).end();
    else res.setHeader("content-type", "application/json").end(answer("x"));
  });
  expect(await call()).toMatchObject({ kind: "ok", attempts: 6 });
  await close();
});

it.each<[string, number, string, string, string]>([
  ["a wrong key", 401, "{}", "application/json", "fatal"],
  ["an unknown model", 404, '{"error":{"code":"model_not_found"}}', "application/json", "fatal"],
  ["blocked content", 400, '{"error":{"code":"InputTextSensitiveContentDetected"}}', "application/json", "blocked"],
  ["a server that always fails", 500, "", "text/plain", "parked"],
  ["a redirect", 302, "", "text/plain", "parked"],
  ["a body that is not JSON", 200, "{", "application/json", "parked"],
  ["an answer without content", 200, answer(""), "application/json", "unusable"],
])("ends %s as %s", async (_name, status, text, type, kind) => {
  const { call, close } = await serve((_req, res) => res.writeHead(status, { "content-type": type }).end(text));
  expect((await call()).kind).toBe(kind);
  await close();
});

it("never starts a call that could pass the budget, counts unknown outcomes as spent, and writes no key", async () => {
  const journal = join(mkdtempSync(join(tmpdir(), "dramascope-chat-")), "journal.jsonl");
  const { call, spent, close } = await serve((_req, res) => res.setHeader("content-type", "application/json").end("{"), { prices: { input: 1, output: 1000 }, maxCost: 0.25, journal, apiKey: "sk-canary" });
  const outcomes = [await call(), await call()];
  expect(outcomes.map(({ kind }) => kind)).toEqual(["budget", "budget"]);
  expect(spent()).toBeGreaterThan(0.19);
  expect(spent()).toBeLessThanOrEqual(0.25);
  const lines = readFileSync(journal, "utf8");
  expect(lines.split("\n").filter((line) => line.includes('"start"'))).toHaveLength(2);
  expect(lines).not.toContain("canary");
  await close();
});
