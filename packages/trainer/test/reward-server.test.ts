import { spawn, type ChildProcess } from "node:child_process";
import { createServer, type RequestListener, type Server } from "node:http";
import { mkdtemp, readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadQwenVl, type Sample } from "@dramascope/qwen-vl";
import type { GrpoSample } from "@dramascope/schema";
import { loadTensorFlow } from "@dramascope/tensorflow";
import { createRewardClient, createRewardFn, createSampleEncoder, trainGrpo, type GrpoConfigInput, type GrpoDeps, type RewardClientOptions, type RewardItem } from "@dramascope/trainer";
import { afterEach, describe, expect, it } from "vitest";

const sample = (sampleId: string, quality: 1 | 4): GrpoSample => ({ kind: "grpo", sampleId, messages: [{ role: "user", content: "x" }], videos: [], quality, caption: "a poor girl marries a secret heir", comments: ["great plot twist"] });
const answer = (score: number): string => `<caption>a girl marries an heir</caption><comments>["great twist"]</comments><think>Strengths: pace.</think><answer>\\boxed{${score}}</answer>`;
const samples = [sample("__proto__", 4), sample("constructor", 1)];
const items: RewardItem[] = samples.flatMap((one) => [4, 1, 4].map((score) => ({ sample: one, completion: answer(score) })));

const quick = { retries: 1, backoffSeconds: 0.02, timeoutSeconds: 5 };
const ends: (() => void)[] = [];
afterEach(() => ends.splice(0).forEach((end) => { end(); }));

/** A server of the product in its own process; resolves to its address. */
async function startServer(port = 0, ...options: string[]): Promise<{ url: string; child: ChildProcess }> {
  const bin = fileURLToPath(new URL("../../cli/src/bin.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions=@dramascope/source", bin, "rewards", "serve", "--port", String(port), "--workers", "1", "--json", ...options], { stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, REWARD_TOKEN: "secret-canary" } });
  ends.push(() => child.kill("SIGKILL"));
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) return { url: (JSON.parse(chunk.toString()) as { address: string }).address, child };
  throw new Error("the server did not start");
}

async function serve(listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener);
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  ends.push(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A server that answers by `reply`, from the ids of the request. */
const answering = (reply: (ids: string[], call: number) => { status?: number; headers?: Record<string, string>; body: unknown }): Promise<string> => {
  let call = 0;
  return serve((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const ids = text === "" ? [] : (JSON.parse(text) as { items: { id: string }[] }).items.map(({ id }) => id);
      const { status = 200, headers = {}, body } = reply(ids, call++);
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    });
  });
};
const row = (id: string, fields: object = {}): object => ({ id, format: 1, accuracy: 1, caption: 0.5, comments: 0.5, total: 0.75, reasons: [], error: null, ...fields });
const client = (url: string, options: Partial<RewardClientOptions> = {}): ReturnType<typeof createRewardClient> => createRewardClient({ url, ...quick, ...options });

describe("rewards over HTTP", () => {
  it("are those of this process, and survive the server's death", async () => {
    const { url, child } = await startServer(0, "--token-env", "REWARD_TOKEN");
    process.env["TRAINER_TEST_TOKEN"] = "secret-canary";
    const warnings: string[] = [];
    const { reward, check } = client(url, { tokenEnv: "TRAINER_TEST_TOKEN", onWarning: (text) => warnings.push(text) });
    const version = await check();
    const expected = await createRewardFn()(items, { step: 1 });
    expect(await reward(items, { step: 1 })).toEqual(expected);
    expect(expected[0]!.version).toBe(version);
    child.kill("SIGKILL");
    const waiting = reward(items, { step: 2 });
    await new Promise((settle) => setTimeout(settle, 500));
    expect(warnings.join()).toMatch(/cannot be reached .*the run waits for it/u);
    await startServer(Number(new URL(url).port), "--token-env", "REWARD_TOKEN");
    expect(await waiting).toEqual(expected);
    expect(warnings.at(-1)).toMatch(/is back after \d+ s/u);
    expect(warnings.join()).not.toContain("secret-canary");
    await expect(client(url).check()).rejects.toMatchObject({ code: "REWARD_SERVER_REFUSES" });
  });

  it("come in the order of many requests", async () => {
    const many = Array.from({ length: 2500 }, (_, i): RewardItem => ({ sample: samples[0]!, completion: String(i) }));
    const sizes: number[] = [];
    let seen = 0;
    const url = await answering((ids) => {
      sizes.push(ids.length);
      return { body: { version: "v", items: ids.map((id) => row(id, { total: seen++ })) } };
    });
    expect((await client(url).reward(many, { step: 1 })).map(({ total }) => total)).toEqual(many.map((_, i) => i));
    expect(sizes).toEqual([1024, 1024, 452]);
  });
});

describe("a server that is away", () => {
  const away = "http://127.0.0.1:1";

  it("ends the run under stop, and after the longest wait", async () => {
    await expect(client(away, { onError: "stop" }).reward(items, { step: 1 })).rejects.toMatchObject({ code: "REWARD_SERVER_AWAY", message: expect.stringContaining("after 2 requests") as string });
    await expect(client(away, { maxWaitSeconds: 0.1 }).reward(items, { step: 1 })).rejects.toMatchObject({ code: "REWARD_SERVER_AWAY" });
  });

  it("leaves completions out under null, never with 0", async () => {
    for (const score of await client(away, { onError: "null" }).reward(items, { step: 1 })) expect(score).toMatchObject({ caption: null, comments: null, accuracy: null, format: null, total: null, reasons: ["reward-server-away"] });
  });

  it("does not hold up a stop", async () => {
    const controller = new AbortController();
    const waiting = client(away).reward(items, { step: 1, signal: controller.signal });
    setTimeout(() => { controller.abort(); }, 50);
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
  });

  it("may be slow, busy or failing", async () => {
    const slow = await serve(() => undefined);
    await expect(client(slow, { timeoutSeconds: 0.1, onError: "stop" }).reward(items, { step: 1 })).rejects.toThrow(/gives no answer in 0\.1 s, after 2 requests/u);
    const calls: number[] = [];
    const busy = await answering((ids, call) => {
      calls.push(call);
      return call < 2 ? { status: call === 0 ? 429 : 500, body: { error: { code: "BUSY", message: "full" } } } : { body: { version: "v", items: ids.map((id) => row(id)) } };
    });
    expect(await client(busy).reward(items, { step: 1 })).toHaveLength(items.length);
    expect(calls).toEqual([0, 1, 2]);
  });
});

describe("an answer that cannot be used ends the run", () => {
  it.each<[string, string, (ids: string[], call: number) => { status?: number; headers?: Record<string, string>; body: unknown }]>([
    ["too few items", "REWARD_REPLY_INVALID", (ids) => ({ body: { version: "v", items: ids.slice(1).map((id) => row(id)) } })],
    ["another order", "REWARD_REPLY_INVALID", (ids) => ({ body: { version: "v", items: [...ids].reverse().map((id) => row(id)) } })],
    ["a text in place of a number", "REWARD_REPLY_INVALID", (ids) => ({ body: { version: "v", items: ids.map((id) => row(id, { accuracy: "1" })) } })],
    ["a number beyond all", "REWARD_REPLY_INVALID", (ids) => ({ body: JSON.stringify({ version: "v", items: ids.map((id) => row(id)) }).replace("0.5", "1e999") })],
    ["no JSON", "REWARD_REPLY_INVALID", () => ({ body: "<html>" })],
    ["another version than at first", "REWARD_VERSION", (ids, call) => ({ body: { version: `v${call}`, items: ids.map((id) => row(id)) } })],
    ["a refused version", "REWARD_VERSION", (ids, call) => (call === 0 ? { body: { version: "v", items: ids.map((id) => row(id)) } } : { status: 409, body: { error: { code: "VERSION_DIFFERS", message: "" } } })],
    ["a part that stays null", "REWARD_NULL", (ids) => ({ body: { version: "v", items: ids.map((id, i) => row(id, i === 1 ? { caption: null, total: null, error: { code: "REFERENCE_CAPTION_EMPTY", message: "" } } : {})) } })],
    ["a refusal", "REWARD_SERVER_REFUSES", () => ({ status: 404, body: "nothing here" })],
    ["a way to another place", "REWARD_SERVER_AWAY", () => ({ status: 302, headers: { location: "http://127.0.0.1:1/" }, body: "" })],
  ])("%s", async (_name, code, reply) => {
    const { reward } = client(await answering(reply), { onError: code === "REWARD_SERVER_AWAY" ? "stop" : "wait" });
    const twice = async (): Promise<void> => {
      await reward(items, { step: 1 });
      await reward(items, { step: 2 });
    };
    await expect(twice()).rejects.toMatchObject({ code });
  });
});

it("a run waits for a server that dies on the way, and ends as one without that", async () => {
  const { tf } = await loadTensorFlow({ threads: 1 });
  const model = await loadQwenVl(fileURLToPath(new URL("../../../test-fixtures/models/demo-base", import.meta.url)), { tf });
  const encoder = createSampleEncoder({ model, loadFrames: () => Promise.reject(new Error("there are no videos")) });
  const base = await mkdtemp(join(tmpdir(), "dramascope-reward-server-"));
  const run = (name: string, rewardServer: GrpoConfigInput["rewardServer"], deps: Partial<GrpoDeps> = {}): ReturnType<typeof trainGrpo> =>
    trainGrpo({ runDir: join(base, name), lora: { r: 2 }, learningRate: 1e-2, steps: 4, promptsPerStep: 2, numGenerations: 3, maxCompletionLength: 8, beta: 0, ...(rewardServer && { rewardServer }) }, samples, {
      model, encoder,
      rollout: (prompts) => Promise.resolve(prompts.map(() => [4, 1, 4].map((score): Sample => ({ ids: Int32Array.of(5 + score, 6), text: answer(score), logProbs: new Float32Array(2), finishReason: "stop" })))),
      ...deps,
    });
  const warnings: string[] = [];
  const { url, child } = await startServer();
  let restarted: Promise<unknown> | undefined;
  const result = await run("server", { url, ...quick }, {
    onWarning: (text) => {
      warnings.push(text);
      if (text.includes("waits for it")) restarted = startServer(Number(new URL(url).port));
    },
    onProgress: ({ phase, done }) => { if (phase === "grpo" && done === 2) child.kill("SIGKILL"); },
  });
  await restarted;
  expect(result).toMatchObject({ finished: true, steps: 4 });
  expect(warnings.join()).toMatch(/cannot be reached .*is back after/su);
  const { adapter } = await run("process", undefined);
  const bytes = (folder: string): Promise<Buffer> => readFile(join(folder, "adapter_model.safetensors"));
  expect((await bytes(result.adapter!)).equals(await bytes(adapter!))).toBe(true);
  await expect(run("nowhere", { url: "http://127.0.0.1:1", ...quick, onError: "stop" })).rejects.toMatchObject({ code: "REWARD_SERVER_AWAY" });
  model.dispose();
});

it("keeps null parts under the policy null", async () => {
  const url = await answering((ids) => ({ body: { version: "v", items: ids.map((id) => row(id, { comments: null, total: null, reasons: ["matrix-too-large"] })) } }));
  expect((await client(url, { onError: "null" }).reward(items, { step: 1 }))[0]).toMatchObject({ comments: null, caption: 0.5, total: null, reasons: ["matrix-too-large"] });
});

it.each(["nowhere", "ftp://host", "http://user:pass@host"])("refuses the address %s without repeating it", (url) => {
  expect(() => client(url)).toThrow(expect.objectContaining({ code: "REWARD_SERVER_ADDRESS", message: expect.not.stringContaining(url) as string }) as Error);
});

it("asks for the token that it was told of", () => {
  expect(() => client("http://127.0.0.1", { tokenEnv: "TRAINER_TEST_MISSING" })).toThrow(/TRAINER_TEST_MISSING is not set/u);
});
