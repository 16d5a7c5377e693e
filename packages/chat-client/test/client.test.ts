import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from "node:http";
import { connect, type AddressInfo, createServer as createTcpServer } from "node:net";
import { gzipSync } from "node:zlib";
import { ChatError, createTeacherClient, systemClock, type ChatRequest, type Outcome, type TeacherClient, type TeacherClientOptions } from "@dramascope/chat-client";
import { afterEach, expect, it } from "vitest";
import { requestFor } from "./fixtures.ts";

const CANARY = "sk-canary-4711";
const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/`;
}

/** One call to a server of one answer. */
async function callOnce(listener: RequestListener, options: Partial<TeacherClientOptions> = {}, request: ChatRequest = requestFor("d")): Promise<Outcome> {
  const client = createTeacherClient({ baseURL: await serve(listener), callTimeoutMs: 2000, ...options });
  try {
    return await client.call(request);
  } finally {
    await client.close();
  }
}

const answer = (fields: object): RequestListener => (_request, response) => void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ model: "m", choices: [{ message: { content: "x" }, finish_reason: "stop" }], ...fields }));

/** The body and headers that a request goes out with. */
async function sent(request: ChatRequest, options: Partial<TeacherClientOptions> = {}): Promise<{ body: Record<string, unknown>; headers: IncomingHttpHeaders; url: string }> {
  let text = "";
  let seen: { headers: IncomingHttpHeaders; url: string } | undefined;
  await callOnce(
    (incoming, response) => {
      seen = { headers: incoming.headers, url: incoming.url! };
      incoming.on("data", (chunk: Buffer) => (text += chunk.toString()));
      incoming.on("end", () => response.writeHead(500).end());
    },
    options,
    request,
  );
  return { body: JSON.parse(text) as Record<string, unknown>, ...seen! };
}

const media = (...content: Exclude<ChatRequest["messages"][number]["content"], string>): Partial<ChatRequest> => ({ messages: [{ role: "user", content }] });

it("sends texts and pictures, and nothing that was not asked for", async () => {
  const { body, headers, url } = await sent(requestFor("d", { ...media({ type: "text", text: "Retell." }, { type: "jpeg", data: Uint8Array.of(1, 2, 3) }), schema: { name: "cot", schema: {} } }));
  expect(url).toBe("/v1/chat/completions");
  expect(body).toEqual({
    model: "teacher-sim-1",
    messages: [{ role: "user", content: [{ type: "text", text: "Retell." }, { type: "image_url", image_url: { url: "data:image/jpeg;base64,AQID" } }] }],
    temperature: 0.7,
    max_tokens: 512,
  });
  expect(Object.keys(headers).filter((name) => name.startsWith("x-"))).toEqual([]);
  expect(headers.authorization).toBeUndefined();
});

it("sends what the provider is said to take", async () => {
  const request = requestFor("剧 1", { topP: 0.9, seed: 3, schema: { name: "cot", schema: { type: "object" } }, trace: { drama: "剧 1", round: 2, item: "2", attempt: 4, shape: "keyed" } });
  const { body, headers } = await sent(request, { apiKey: CANARY, capabilities: { jsonSchema: true, metadata: true, traceHeaders: true, thinkingParam: "thinking" } });
  expect(body).toMatchObject({
    top_p: 0.9,
    seed: 3,
    response_format: { type: "json_schema", json_schema: { name: "cot", schema: { type: "object" } } },
    thinking: { type: "disabled" },
    metadata: { task: "cot", drama_id: "剧 1", round: "2", item: "2", attempt: "4", shape: "keyed" },
  });
  expect(headers).toMatchObject({ authorization: `Bearer ${CANARY}`, "x-dramascope-task": "cot", "x-dramascope-drama": "%E5%89%A7%201", "x-dramascope-attempt": "4" });
  expect((await sent(requestFor("d"), { capabilities: { thinkingParam: "enable_thinking" } })).body).toMatchObject({ enable_thinking: false });
});

it.each([
  ["inside", { type: "video_url", video_url: { url: "https://v", fps: 2 } }],
  ["beside", { type: "video_url", video_url: { url: "https://v" }, fps: 2 }],
  ["none", { type: "video_url", video_url: { url: "https://v" } }],
] as const)("writes the frame rate of a video %s", async (fpsWhere, part) => {
  const { body } = await sent(requestFor("d", media({ type: "videoUrl", url: "https://v", fps: 2 })), { capabilities: { videoUrl: true, fpsWhere } });
  expect(body["messages"]).toEqual([{ role: "user", content: [part] }]);
});

it("sends ids of files", async () => {
  const { body } = await sent(requestFor("d", media({ type: "fileId", id: "file-1" })), { capabilities: { fileId: true } });
  expect(body["messages"]).toEqual([{ role: "user", content: [{ type: "file", file: { file_id: "file-1" } }] }]);
});

it.each([
  ["frames", { type: "jpeg", data: Uint8Array.of(1) }, { frames: false }],
  ["videoUrl", { type: "videoUrl", url: "https://v" }, {}],
  ["fileId", { type: "fileId", id: "f" }, {}],
] as const)("does not send media without the capability %s", async (_name, part, capabilities) => {
  await expect(callOnce(answer({}), { capabilities }, requestFor("d", media(part)))).rejects.toMatchObject({ code: "MEDIA_UNSUPPORTED" });
});

it("does not send a body over 60 MiB", async () => {
  let calls = 0;
  const outcome = await callOnce(() => (calls += 1), {}, requestFor("d", media({ type: "jpeg", data: new Uint8Array(46 * 1024 * 1024) })));
  expect(outcome).toEqual({ kind: "unusable", code: "REQUEST_TOO_LARGE" });
  expect(calls).toBe(0);
});

it.each<[string, object, object]>([
  ["an error of null beside an answer", { error: null }, { kind: "ok", content: "x" }],
  ["choices that are no list", { choices: { 0: 1 } }, { kind: "retry", code: "NO_CHOICES", maybePaid: true }],
  ["a choice of null", { choices: [null] }, { kind: "retry", code: "NO_CHOICES" }],
  ["a message of null", { choices: [{ message: null }] }, { kind: "retry", code: "NO_CHOICES" }],
  ["an error that is a text", { error: "busy" }, { kind: "retry", code: "ERROR_IN_200", maybePaid: false }],
  ["no name of a model and no finish", { model: 7, choices: [{ message: { content: "x" } }] }, { kind: "ok", model: "", finish: "" }],
  ["usage below zero", { usage: { prompt_tokens: -5, completion_tokens: 1 } }, { kind: "ok", usage: { source: "estimated" } }],
  ["usage beyond numbers", { usage: { prompt_tokens: 1e300, completion_tokens: 1 } }, { kind: "ok", usage: { source: "estimated" } }],
  ["usage of texts", { usage: { prompt_tokens: "9", completion_tokens: "9" } }, { kind: "ok", usage: { source: "estimated" } }],
  ["usage that is null", { usage: null }, { kind: "ok", usage: { source: "estimated" } }],
  ["usage with hits of a cache", { usage: { prompt_tokens: 10, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 8 } } }, { kind: "ok", usage: { promptTokens: 10, completionTokens: 2, cachedTokens: 8, source: "reported" } }],
  ["a refusal beside content", { choices: [{ message: { content: "x", refusal: "no" } }] }, { kind: "blocked", code: "REFUSAL" }],
  ["content of blanks", { choices: [{ message: { content: " \n" } }] }, { kind: "unusable", code: "EMPTY" }],
  ["content that is no text", { choices: [{ message: { content: { text: "x" } } }] }, { kind: "unusable", code: "EMPTY" }],
])("reads %s", async (_name, fields, outcome) => {
  expect(await callOnce(answer(fields))).toMatchObject(outcome);
});

it.each<[string, string, string]>([
  ["JSON of depth 100000", `{"a":${"[".repeat(1e5)}${"]".repeat(1e5)}}`, "NO_CHOICES"],
  ["a list", "[]", "NO_CHOICES"],
  ["null", "null", "INVALID_JSON"],
  ["a number", "1", "INVALID_JSON"],
  ["blanks", "  ", "EMPTY_BODY"],
  ["keys of objects' prototypes", '{"__proto__":{"choices":[{"message":{"content":"x"}}]}}', "NO_CHOICES"],
  ["a body of 7 MiB of brackets", "[".repeat(7 * 1024 * 1024), "INVALID_JSON"],
])("survives %s", async (_name, text, code) => {
  expect(await callOnce((_request, response) => void response.writeHead(200, { "content-type": "application/json" }).end(text))).toMatchObject({ kind: "retry", code, maybePaid: true });
});

it("reads compressed answers, and stops where they swell", async () => {
  const zipped = (text: string): RequestListener => (_request, response) => void response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" }).end(gzipSync(text));
  expect(await callOnce(zipped('{"choices":[{"message":{"content":"x"}}]}'))).toMatchObject({ kind: "ok" });
  expect(await callOnce(zipped(" ".repeat(64 * 1024 * 1024)))).toMatchObject({ kind: "unusable", code: "TOO_LARGE" });
});

it("judges an error by its status when its body breaks or never ends", async () => {
  const breaks: RequestListener = (_request, response) => {
    response.writeHead(401, { "content-length": 1000 }).write("{");
    setTimeout(() => response.destroy(), 10);
  };
  const swells: RequestListener = (_request, response) => {
    response.writeHead(500, { "content-type": "application/json" });
    const timer = setInterval(() => response.write("x".repeat(65_536)), 1);
    response.on("close", () => clearInterval(timer));
  };
  expect(await callOnce(breaks)).toMatchObject({ kind: "fatal", code: "HTTP_401" });
  expect(await callOnce(swells)).toMatchObject({ kind: "retry", code: "HTTP_500", maybePaid: false });
});

it.each<[string, Record<string, string>, number | undefined]>([
  ["half a second", { "retry-after": "0.5" }, 500],
  ["a number below zero", { "retry-after": "-5" }, 0],
  ["more than an hour, which is cut to one", { "retry-after": "1e9" }, 3_600_000],
  ["a date, by the server's clock", { "retry-after": "Thu, 01 Jan 2026 00:02:00 GMT", date: "Thu, 01 Jan 2026 00:00:30 GMT" }, 90_000],
  ["a date that is over", { "retry-after": "Thu, 01 Jan 2026 00:00:00 GMT", date: "Thu, 01 Jan 2026 00:00:30 GMT" }, 0],
  ["a date, by our clock where the server tells none", { "retry-after": "Thu, 01 Jan 2026 00:02:00 GMT" }, 60_000],
  ["no number and no date", { "retry-after": "soon" }, undefined],
  ["nothing", { "retry-after": " " }, undefined],
])("reads a Retry-After of %s", async (_name, headers, retryAfterMs) => {
  const clock = { ...systemClock, now: () => Date.parse("2026-01-01T00:01:00Z") };
  const refuse: RequestListener = (_request, response) => {
    response.sendDate = false;
    response.writeHead(429, headers).end();
  };
  const outcome = await callOnce(refuse, { clock });
  expect(outcome).toEqual({ kind: "retry", code: "RATE_LIMITED", maybePaid: false, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
});

it("never follows a redirect", async () => {
  let visits = 0;
  const elsewhere = await serve((_request, response) => {
    visits++;
    response.end();
  });
  for (const status of [301, 302, 303, 307, 308]) {
    expect(await callOnce((_request, response) => void response.writeHead(status, { location: elsewhere }).end())).toMatchObject({ kind: "retry", code: "REDIRECT", maybePaid: false });
  }
  expect(visits).toBe(0);
});

it("knows a server that is not there", async () => {
  const probe = createTcpServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", () => resolve()));
  const { port } = probe.address() as AddressInfo;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  await expect(new Promise((_resolve, reject) => connect(port, "127.0.0.1").on("error", reject))).rejects.toThrow();
  const client = createTeacherClient({ baseURL: `http://127.0.0.1:${port}` });
  expect(await client.call(requestFor("d"))).toEqual({ kind: "retry", code: "CONNECT_FAILED", maybePaid: false });
  await client.close();
});

/** Refuses messages that say "bad" after so many milliseconds for a reason of its own, and takes all others. */
const picky = (): RequestListener => (request, response) => {
  let text = "";
  request.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const refuse = (): unknown => response.writeHead(400, { "content-type": "application/json" }).end('{"error":{"code":"unsupported_parameter","message":"top_p"}}');
  request.on("end", () => setTimeout(() => (text.includes("bad") ? refuse() : answer({})(request, response)), Number(/after (\d+)/u.exec(text)?.[1] ?? 0)));
};
const saying = (content: string): ChatRequest => requestFor("d", { messages: [{ role: "user", content }] });
const [unknown, useless] = [{ kind: "retry", code: "unsupported_parameter", maybePaid: false }, { kind: "unusable", code: "unsupported_parameter", raw: "top_p" }];

it("takes refusals of two different requests in a row for the set-up's, where none was ever taken", async () => {
  const client = createTeacherClient({ baseURL: await serve(picky()) });
  expect(await client.call(saying("bad"))).toEqual(unknown);
  expect(await client.call(saying("bad too"))).toEqual({ kind: "fatal", code: "unsupported_parameter", message: "top_p" });
  await client.close();
});

it.each<[string, (client: TeacherClient, poison: ChatRequest) => Promise<unknown>]>([
  ["another has been taken", (client) => client.call(saying("good"))],
  ["it was refused alone before", (client, poison) => client.call({ ...poison, maxTokens: 9 })],
])("takes a refusal for the request's where %s", async (_name, before) => {
  const client = createTeacherClient({ baseURL: await serve(picky()) });
  const poison = saying("bad");
  await before(client, poison);
  expect(await client.call(poison)).toEqual(useless);
  expect(await client.call(saying("good"))).toMatchObject({ kind: "ok" });
  expect(await client.call(saying("bad too"))).toEqual(useless);
  await client.close();
});

it("does not judge refusals while others are under way", async () => {
  const client = createTeacherClient({ baseURL: await serve(picky()) });
  const poison = saying("bad");
  const good = client.call(saying("good after 100"));
  expect(await client.call(poison)).toEqual(unknown);
  expect(await client.call(saying("bad too"))).toEqual(unknown);
  expect(await good).toMatchObject({ kind: "ok" });
  expect(await client.call(poison)).toEqual(useless);
  await client.close();
});

it("ends with the signal's reason", async () => {
  const stop = new AbortController();
  const reason = new Error("enough");
  const client = createTeacherClient({ baseURL: await serve(() => setTimeout(() => stop.abort(reason), 20)) });
  await expect(client.call(requestFor("d"), stop.signal)).rejects.toBe(reason);
  await expect(client.call(requestFor("d"), stop.signal)).rejects.toBe(reason);
  await client.close();
});

it.each<[string, RequestListener]>([
  ["an error's message", (_request, response) => void response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify({ error: { code: "bad_key", message: `Incorrect key ${CANARY}, header Bearer ${CANARY}` } }))],
  ["an error's code", (_request, response) => void response.writeHead(403, { "content-type": "application/json" }).end(JSON.stringify({ error: { code: CANARY, type: CANARY, message: 1 } }))],
  ["a message that is cut where the key stands", (_request, response) => void response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify({ error: { message: "x".repeat(290) + CANARY } }))],
  ["an escaped message", (_request, response) => void response.writeHead(401, { "content-type": "application/json" }).end(`{"error":{"message":"\\u0073k-canary-4711"}}`)],
  ["content, model, finish and thoughts", (_request, response) => void response.writeHead(200, { "content-type": "application/json", "x-request-id": CANARY }).end(JSON.stringify({ model: CANARY, choices: [{ message: { content: `it is ${CANARY}`, reasoning_content: CANARY }, finish_reason: CANARY }] }))],
  ["content that is cut off", (_request, response) => void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ choices: [{ message: { content: CANARY }, finish_reason: "length" }] }))],
])("takes the key out of %s", async (_name, listener) => {
  const outcome = await callOnce(listener, { apiKey: CANARY });
  expect(JSON.stringify(outcome)).not.toContain("canary");
  if (outcome.kind === "fatal") expect(outcome.message.length).toBeLessThanOrEqual(300);
});

it.each(["1", "x", "EMPTY", "e"])("leaves answers whole where the key is %s, and keeps it out of errors", async (apiKey) => {
  const content = "{\"answer\": 1, \"think\": \"x EMPTY\"}";
  const told = await callOnce(answer({ model: "qwen-1x", choices: [{ message: { content }, finish_reason: "length" }] }), { apiKey });
  expect(told).toMatchObject({ kind: "unusable", code: "TRUNCATED", raw: content, model: "qwen-1x", finish: "length" });
  const refused = await callOnce((_request, response) => void response.writeHead(400, { "content-type": "application/json" }).end('{"error":{"code":"data_inspection_failed"}}'), { apiKey });
  expect(refused).toMatchObject({ kind: "blocked" });
  const wrong = await callOnce((_request, response) => void response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify({ error: { message: `<${apiKey}>` } })), { apiKey });
  expect(wrong).toMatchObject({ kind: "fatal", message: "<[key]>" });
});

it("takes what moves cursors and turns texts around out of names, codes and messages", async () => {
  const evil = "a\u001b[2J\u202eb\u2028c\ud800\u0007";
  const told = await callOnce((_request, response) => void response.writeHead(200, { "content-type": "application/json", "x-request-id": "r\u009b2J" }).end(JSON.stringify({ model: evil + "x".repeat(500), choices: [{ message: { content: "x" }, finish_reason: evil }] })));
  expect(told).toMatchObject({ kind: "ok", requestId: "r 2J", finish: "a_2J_b_c_" });
  expect((told as { model: string }).model).toMatch(/^a \[2J b c\ufffd x{180,}$/u);
  expect((told as { model: string }).model).toHaveLength(200);
  const refused = await callOnce((_request, response) => void response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify({ error: { code: evil, message: evil } })));
  expect(refused).toEqual({ kind: "fatal", code: "a_2J_b_c_", message: "a [2J b c\ufffd " });
});

it.each<[string, Partial<TeacherClientOptions>]>([
  ["an address of another kind", { baseURL: "ftp://provider.example" }],
  ["no address", { baseURL: "provider" }],
  ["a name and a password in the address", { baseURL: `https://user:${CANARY}@provider.example/v1` }],
  ["a key with a line end", { apiKey: `${CANARY}\n` }],
  ["an empty key", { apiKey: "" }],
  ["no time", { callTimeoutMs: 0 }],
  ["more time than timers can count", { callTimeoutMs: 2 ** 31 }],
])("refuses %s", (_name, options) => {
  const make = (): unknown => createTeacherClient({ baseURL: "https://provider.example/v1", ...options });
  expect(make).toThrow(ChatError);
  expect(make).not.toThrow(/canary/u);
});

it("keeps a query in the address", async () => {
  const seen: string[] = [];
  const base = await serve((request, response) => {
    seen.push(request.url!);
    response.end();
  });
  const client = createTeacherClient({ baseURL: `${base}?api-version=1` });
  await client.call(requestFor("d"));
  await client.close();
  expect(seen).toEqual(["/v1/chat/completions?api-version=1"]);
});
