import { gzipSync } from "node:zlib";
import { createRewardPool, prepareReference, rewardHandler, scoreCompletion, type RewardHandlerOptions, type RewardPool } from "@dramascope/rewards";
import { afterAll, describe, expect, it, vi } from "vitest";

const pool = createRewardPool({ workers: 1 });
afterAll(() => pool.close());

type Handler = ReturnType<typeof rewardHandler>;
interface ReplyItem { id: string; total: number | null; accuracy: number | null; reasons: string[]; error: { code: string; message: string } | null; details?: object }
interface Reply { version?: string; items?: ReplyItem[]; error?: { code: string; message: string } }

const handler = (options: Partial<RewardHandlerOptions> = {}): Handler => rewardHandler({ pool, ...options });
const post = (body: unknown, headers: Record<string, string> = {}): Request =>
  new Request("http://localhost/v1/score", { method: "POST", body: typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body), headers: { "content-type": "application/json", ...headers } });
const get = (path: string, headers: Record<string, string> = {}): Request => new Request(`http://localhost${path}`, { headers });
async function read(response: Response): Promise<Reply & { status: number }> {
  return { status: response.status, ...((await response.json()) as Reply) };
}
const ask = async (body: unknown, options: Partial<RewardHandlerOptions> = {}, headers: Record<string, string> = {}): Promise<Reply & { status: number }> => read(await handler(options)(post(body, headers)));

const reference = { solution: "4", caption: "a girl marries an heir", comments: ["great twist", "so slow"] };
const prepared = prepareReference({ score: 4, caption: reference.caption, comments: reference.comments });
const completion = '<caption>a girl and an heir</caption><comments>["great twist"]</comments><think>t</think><answer>\\boxed{4}</answer>';
const expected = (({ version: _version, ...rest }) => ({ ...rest, error: null }))(scoreCompletion(completion, prepared));

describe("POST /v1/score", () => {
  it("answers items in their order with the numbers of the library, and the same bytes again", async () => {
    const body = { runId: "r", engine: "ms-swift", step: 3, rank: 0, items: [{ id: "b", sampleId: "s", completion, finishReason: "stop", ...reference }, { id: "a", completion: "", ...reference, solution: 4 }] };
    const [first, second] = [await (await handler()(post(body))).text(), await (await handler()(post(body))).text()];
    expect(second).toBe(first);
    const { version, items } = JSON.parse(first) as Reply;
    expect(version).toBe(pool.version);
    expect(items).toEqual([{ id: "b", ...expected }, { id: "a", format: 0, accuracy: 0, caption: 0, comments: 0, total: 0, reasons: [], error: null }]);
  });

  it("takes shared references, hostile names among them", async () => {
    const { items } = await ask(`{"references":{"__proto__":${JSON.stringify(reference)},"constructor":${JSON.stringify({ ...reference, solution: 5 })}},"items":[
      {"id":"__proto__","completion":${JSON.stringify(completion)},"referenceKey":"__proto__"},{"id":"constructor","completion":${JSON.stringify(completion)},"referenceKey":"constructor"},
      {"id":"toString","completion":"","referenceKey":"toString"},{"id":"x","completion":"","__proto__":{"referenceKey":"constructor"}}]}`);
    expect(items!.map(({ id, accuracy, error }) => [id, accuracy, error?.code ?? null])).toEqual([["__proto__", 1, null], ["constructor", 0, null], ["toString", null, "REFERENCE_UNKNOWN"], ["x", null, "REFERENCE_SCORE_INVALID"]]);
  });

  it.each([
    ["solution 0", { solution: 0 }, "REFERENCE_SCORE_INVALID"],
    ["solution 2.5", { solution: 2.5 }, "REFERENCE_SCORE_INVALID"],
    ["solution '04'", { solution: "04" }, "REFERENCE_SCORE_INVALID"],
    ["no solution", { solution: undefined }, "REFERENCE_SCORE_INVALID"],
    ["blank caption", { caption: "\u3000\n" }, "REFERENCE_CAPTION_EMPTY"],
    ["caption null", { caption: null }, "REFERENCE_CAPTION_EMPTY"],
    ["comments as text", { comments: "great" }, "REFERENCE_COMMENTS_INVALID"],
    ["comments with a number", { comments: ["great", 666] }, "REFERENCE_COMMENTS_INVALID"],
    ["comments nested", { comments: [["great"]] }, "REFERENCE_COMMENTS_INVALID"],
  ])("gives nulls to an item with a broken reference, %s, and scores the others", async (_name, broken, code) => {
    const body = { items: [{ id: "bad", completion, ...reference, ...broken }, { id: "good", completion, ...reference }] };
    const { status, items } = await ask(body);
    expect(status).toBe(200);
    expect(items![0]).toMatchObject({ id: "bad", format: null, accuracy: null, caption: null, comments: null, total: null, error: { code } });
    expect(items![1]).toEqual({ id: "good", ...expected });
    expect(await ask({ ...body, onError: "fail" })).toEqual({ status: 422, version: pool.version, items });
  });

  it.each([
    ["6", "a string"],
    [6, "6"],
    [null, "null"],
    [["4"], "an array"],
    [{ canary: 4 }, "an object"],
    [true, "a boolean"],
    [undefined, "missing"],
  ])("names the solution %j by its kind, in items and in shared references", async (solution, kind) => {
    const body = { references: { r: { ...reference, solution } }, items: [{ id: "own", completion, ...reference, solution }, { id: "shared", completion, referenceKey: "r" }] };
    const error = { code: "REFERENCE_SCORE_INVALID", message: `the reference's solution is not 1 to 5: it is ${kind}` };
    expect((await ask(body)).items).toEqual(["own", "shared"].map((id) => expect.objectContaining({ id, total: null, reasons: ["reference-score-invalid"], error }) as ReplyItem));
  });

  it("gives nulls for references that are nested a hundred thousand times", async () => {
    const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
    const { items } = await ask(`{"items":[{"id":"deep","completion":"","solution":4,"caption":"c","comments":${deep}},{"id":"good","completion":${JSON.stringify(completion)},"solution":"4","caption":${JSON.stringify(reference.caption)},"comments":${JSON.stringify(reference.comments)}}]}`);
    expect(items![0]).toMatchObject({ total: null, error: { code: "REFERENCE_COMMENTS_INVALID" } });
    expect(items![1]).toEqual({ id: "good", ...expected });
  });

  it("adds details when asked", async () => {
    expect((await ask({ items: [{ id: "a", completion, ...reference }], details: true })).items![0]!.details).toMatchObject({ answer: { score: 4, reason: null }, comments: { given: 1, kept: 1, distinct: 1, pairs: 1 } });
  });

  it("refuses another version before it scores", async () => {
    const body = { items: [{ id: "a", completion, ...reference }] };
    expect(await ask({ ...body, expectVersion: pool.version })).toMatchObject({ status: 200 });
    expect(await ask({ ...body, expectVersion: "rewards@0+0" })).toMatchObject({ status: 409, error: { code: "VERSION_DIFFERS" } });
  });

  const item = { id: "a", completion: "", ...reference };
  it.each<[string, unknown, string]>([
    ["no JSON", "{", "not JSON"],
    ["an empty body", "", "not JSON"],
    ["an array", [], "body"],
    ["null", null, "body"],
    ["no items", {}, "items"],
    ["empty items", { items: [] }, "items"],
    ["an item that is text", { items: ["a"] }, "items[0]"],
    ["no id", { items: [{ ...item, id: undefined }] }, "items[0].id"],
    ["an empty id", { items: [{ ...item, id: "" }] }, "items[0].id"],
    ["a completion that is no text", { items: [item, { ...item, id: "b", completion: 3 }] }, "items[1].completion"],
    ["one id twice", { items: [item, { ...item, id: "b" }, item] }, "items[2].id"],
    ["an unknown field", { items: [item], item }, 'unknown field "item"'],
    ["a field named __proto__", `{"items":[${JSON.stringify(item)}],"__proto__":{}}`, 'unknown field "__proto__"'],
    ["an unknown onError", { items: [item], onError: "zero" }, "onError"],
    ["references as list", { items: [item], references: [] }, "references"],
    ["details as text", { items: [item], details: "yes" }, "details"],
    ["4097 items", { items: Array.from({ length: 4097 }, (_, i) => ({ ...item, id: String(i) })) }, "items"],
    ["bytes that are no UTF-8", new Uint8Array([0x7b, 0xff, 0x7d]), "UTF-8"],
  ])("answers %s with 400 and the place", async (_name, body, place) => {
    const { status, error } = await ask(body);
    expect([status, error!.code]).toEqual([400, expect.stringMatching(/^INVALID_(?:REQUEST|BODY)$/u)]);
    expect(error!.message).toContain(place);
  });

  it("takes 4096 items", async () => {
    const { items } = await ask({ references: { r: reference }, items: Array.from({ length: 4096 }, (_, i) => ({ id: `d#${i}`, completion: `<answer>${1 + (i % 5)}</answer>`, referenceKey: "r" })) });
    expect(items!.every(({ id, accuracy }, i) => id === `d#${i}` && accuracy === (i % 5 === 3 ? 1 : 0))).toBe(true);
  });

  it.each<[string, Record<string, string>, number]>([
    ["text", { "content-type": "text/plain" }, 415],
    ["no type", { "content-type": "" }, 415],
    ["JSON with a charset", { "content-type": "Application/JSON; charset=utf-8" }, 200],
    ["brotli", { "content-encoding": "br" }, 415],
  ])("looks at the type of the body: %s", async (_name, headers, status) => {
    expect((await ask({ items: [item] }, {}, headers)).status).toBe(status);
  });

  it("unpacks gzip within the limit of the unpacked body", async () => {
    const gzip = { "content-encoding": "gzip" };
    expect((await ask(gzipSync(JSON.stringify({ items: [{ ...item, completion }] })), {}, gzip)).items![0]!.total).toBe(expected.total);
    expect(await ask(gzipSync(Buffer.alloc(33 * 1024 * 1024, 32)), {}, gzip)).toMatchObject({ status: 413, error: { code: "BODY_TOO_LARGE" } });
    expect(await ask(gzipSync("{}").subarray(0, 12), {}, gzip)).toMatchObject({ status: 400 });
    expect(await ask("{}", {}, gzip)).toMatchObject({ status: 400 });
  });

  it("counts a body while it comes in, and stops reading", async () => {
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        sent++;
        controller.enqueue(new Uint8Array(1024 * 1024).fill(32));
      },
    });
    const request = new Request("http://localhost/v1/score", { method: "POST", body: endless, duplex: "half", headers: { "content-type": "application/json" } });
    expect(await read(await handler()(request))).toMatchObject({ status: 413 });
    expect(sent).toBeLessThan(40);
    expect(await ask("{}", {}, { "content-length": String(33 * 1024 * 1024) })).toMatchObject({ status: 413 });
  });

  it("gives up on a body that does not come", async () => {
    const request = new Request("http://localhost/v1/score", { method: "POST", body: new ReadableStream(), duplex: "half", headers: { "content-type": "application/json" } });
    expect(await read(await handler({ bodyTimeoutSeconds: 0.05 })(request))).toMatchObject({ status: 408, error: { code: "BODY_TIMEOUT" } });
  });
});

/** A pool whose scoring is in the hand of the test. */
const puppet = (score: RewardPool["score"], ready = 1): RewardPool => ({ version: "v", ready, whenReady: () => Promise.resolve(), close: () => Promise.resolve(), score });
const body = { items: [{ id: "a", completion, ...reference }, { id: "b", completion, ...reference }] };

describe("a server under pressure", () => {
  it("answers 429 with Retry-After when too much waits, and takes requests again later", async () => {
    const waiting: (() => void)[] = [];
    const slow = puppet((items) => new Promise((resolve) => waiting.push(() => resolve(items.map(() => ({ ...expected, version: "v" }))))));
    const handle = rewardHandler({ pool: slow, maxQueuedItems: 3 });
    const first = handle(post(body));
    await vi.waitFor(() => expect(waiting).toHaveLength(1));
    const refused = await handle(post(body));
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    waiting[0]!();
    expect((await first).status).toBe(200);
    const again = handle(post(body));
    await vi.waitFor(() => expect(waiting).toHaveLength(2));
    waiting[1]!();
    expect((await again).status).toBe(200);
  });

  it("answers a fault inside with 500, and no thread with 503, never with zeros", async () => {
    const fault = await read(await rewardHandler({ pool: puppet(() => Promise.reject(new Error("canary 13800138000"))) })(post(body)));
    expect(fault).toEqual({ status: 500, error: { code: "INTERNAL", message: "the server failed; nothing was scored" } });
    const closed = createRewardPool({ workers: 1 });
    await closed.close();
    expect(await read(await rewardHandler({ pool: closed })(post(body)))).toMatchObject({ status: 503, error: { code: "POOL_CLOSED" } });
  });

  it("drains: new requests get 503 and closing connections, those before are answered", async () => {
    const drain = new AbortController();
    const finish: (() => void)[] = [];
    const handle = rewardHandler({ pool: puppet((items) => new Promise((resolve) => finish.push(() => resolve(items.map(() => ({ ...expected, version: "v" })))))), drain: drain.signal });
    const accepted = handle(post(body));
    await vi.waitFor(() => expect(finish).toHaveLength(1));
    expect((await handle(get("/readyz"))).status).toBe(200);
    drain.abort();
    const [late, ready, alive] = [await handle(post(body)), await handle(get("/readyz")), await handle(get("/healthz"))];
    expect([late.status, late.headers.get("retry-after"), late.headers.get("connection"), ready.status, alive.status]).toEqual([503, "1", "close", 503, 200]);
    finish[0]!();
    const answer = await accepted;
    expect([answer.status, answer.headers.get("connection")]).toEqual([200, "close"]);
  });

  it("drops the work of a client that goes away", async () => {
    const abort = new AbortController();
    const signals: AbortSignal[] = [];
    const handle = rewardHandler({ pool: puppet((_items, { signal } = {}) => new Promise((_resolve, reject) => {
      signals.push(signal!);
      signal!.addEventListener("abort", () => reject(new Error("gone")));
    })) });
    const answer = handle(new Request(post(body), { signal: abort.signal }));
    await vi.waitFor(() => expect(signals).toHaveLength(1));
    abort.abort();
    expect((await answer).status).toBe(499);
    expect(await (await handle(get("/metrics"))).text()).toContain("dramascope_rewards_queued_items 0\n");
  });
});

it("counts the warnings of references in the metrics, not in the answers", async () => {
  const handle = handler();
  const chinese = { id: "1", completion, ...reference, caption: "女主真美" };
  const { items } = await read(await handle(post({ items: [chinese, { ...chinese, id: "2", comments: [] }, { id: "3", completion, ...reference }] })));
  expect(items![0]).not.toHaveProperty("warnings");
  const text = await (await handle(get("/metrics"))).text();
  for (const [warning, count] of [["tokenizer-skips-letters", 2], ["reference-caption-has-no-tokens", 2], ["no-reference-comments", 1]] as const) expect(text).toContain(`dramascope_rewards_reference_warnings_total{warning="${warning}"} ${count}\n`);
});

describe("routes", () => {
  it.each([["/healthz", 200], ["/readyz", 200], ["/v1/version", 200], ["/metrics", 200], ["/", 404], ["/v1/score/", 404], ["/v1/score", 405]])("GET %s is %i", async (path, status) => {
    const response = await handler()(get(path));
    expect(response.status).toBe(status);
    if (status === 405) expect(response.headers.get("allow")).toBe("POST");
  });

  it("asks for the token everywhere but at /healthz", async () => {
    const handle = handler({ token: "s3cret ✓" });
    for (const path of ["/readyz", "/v1/version", "/metrics", "/nowhere", "/v1/score"]) {
      for (const headers of [{}, { authorization: "Bearer s3cret" }, { authorization: "Basic s3cret" }]) expect((await handle(get(path, headers as Record<string, string>))).status).toBe(401);
    }
    expect((await handle(get("/healthz"))).status).toBe(200);
    const plain = handler({ token: "s3cret" });
    expect((await plain(get("/v1/version", { authorization: "bearer s3cret" }))).status).toBe(200);
    expect((await plain(post(body, { authorization: "Bearer s3cret" }))).status).toBe(200);
    expect((await plain(post(body))).headers.get("www-authenticate")).toBe("Bearer");
  });

  it("is not ready without threads", async () => {
    expect((await handler({ pool: puppet(() => Promise.resolve([]), 0) })(get("/readyz"))).status).toBe(503);
  });

  it("counts requests, items, nulls, means and limits, and shows no text, id or foreign label", async () => {
    const handle = handler();
    const long = "x".repeat(300_000);
    const canary = "canary-13800138000";
    await handle(post({ engine: 'evil"}\n1', runId: canary, items: [{ id: canary, completion: long, ...reference }, { id: "2", completion, ...reference }, { id: "3", completion: canary, caption: "" }] }));
    await handle(post({ engine: "verl", step: 7, items: [{ id: "1", completion, ...reference }] }));
    await handle(post("{"));
    const text = await (await handle(get("/metrics"))).text();
    for (const line of [
      'requests_total{route="/v1/score",status="200"} 2',
      'requests_total{route="/v1/score",status="400"} 1',
      'items_total{engine="other"} 3',
      'items_total{engine="verl"} 1',
      "request_seconds_count 2",
      'request_seconds_bucket{le="+Inf"} 2',
      "null_totals_total 1",
      `component_mean{component="accuracy"} ${2 / 3}`,
      'reasons_total{reason="completion-too-long"} 1',
      'reasons_total{reason="reference-score-invalid"} 1',
      "last_step 7",
    ]) expect(text).toContain(`dramascope_rewards_${line}\n`);
    expect(text).not.toContain("canary");
    expect(text).not.toContain("evil");
    for (const line of text.trimEnd().split("\n")) expect(line).toMatch(/^(?:# (?:HELP|TYPE) \w+ .+|\w+(?:\{\w+="[^"\n]*"(?:,\w+="[^"\n]*")*\})? (?:NaN|[-+.e\d]+))$/u);
  });
});
