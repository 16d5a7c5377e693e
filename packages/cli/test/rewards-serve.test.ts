import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run, start } from "./cli.ts";
import { inParallel, makeExchanges, post, serve, type ReplyItem, type RewardServer } from "./rewards-server.ts";

const itemsOf = async (response: Response): Promise<ReplyItem[]> => ((await response.json()) as { items: ReplyItem[] }).items;
const [small] = makeExchanges(1, 3, 1);

/** A raw connection on which a request has begun. */
function begin(address: string, contentLength: number, firstBytes: string): Socket {
  const { port, host } = new URL(address);
  const socket = connect(Number(port), "127.0.0.1");
  socket.write(`POST /v1/score HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${contentLength}\r\n\r\n${firstBytes}`);
  return socket;
}

const answerOn = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
  });

/** Status of a request whose body is sent in full or until the server closes. */
function sendLarge(address: string, chunks: Iterable<Uint8Array>, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const sending = request(`${address}/v1/score`, { method: "POST", headers: { "content-type": "application/json", ...headers } }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    sending.on("error", reject);
    const iterator = chunks[Symbol.iterator]();
    const push = (): void => {
      for (let next = iterator.next(); !next.done; next = iterator.next()) {
        if (!sending.write(next.value)) {
          sending.once("drain", push);
          return;
        }
      }
      sending.end();
    };
    push();
  });
}

describe("one server", () => {
  let server: RewardServer;
  beforeAll(async () => {
    server = await serve("--body-timeout", "1");
  });
  afterAll(() => server.stop());

  const staysWell = async (): Promise<void> => {
    expect(await itemsOf(await post(server.address, small!.body))).toEqual(small!.items);
    expect((await fetch(`${server.address}/readyz`)).status).toBe(200);
    expect(await (await fetch(`${server.address}/metrics`)).text()).toContain("dramascope_rewards_queued_items 0\n");
  };

  it("answers a group with the numbers of the library, and keeps the connection", async () => {
    const response = await post(server.address, small!.body);
    expect([response.status, response.headers.get("connection")]).toEqual([200, "keep-alive"]);
    expect(await itemsOf(response)).toEqual(small!.items);
    expect(await (await post(server.address, small!.body)).text()).toBe(await (await post(server.address, small!.body)).text());
  });

  it("matches ids to answers over ten thousand requests", async () => {
    const exchanges = makeExchanges(500, 2, 2);
    let wrong = 0;
    await inParallel(Array.from({ length: 10_000 }, (_, i) => exchanges[i % exchanges.length]!), 24, async ({ body, items }) => {
      const response = await post(server.address, body);
      if (response.status !== 200 || JSON.stringify(await itemsOf(response)) !== JSON.stringify(items)) wrong++;
    });
    expect(wrong).toBe(0);
    await staysWell();
  });

  it("forgets a client that goes away in the middle of its body", async () => {
    for (let n = 0; n < 20; n++) {
      const socket = begin(server.address, small!.body.length, small!.body.slice(0, 100));
      await setTimeout(5);
      socket.destroy();
    }
    await staysWell();
  });

  it("forgets a client that goes away while it is scored", async () => {
    const [large] = makeExchanges(1, 4096, 3);
    const metrics = async (): Promise<string> => (await fetch(`${server.address}/metrics`)).text();
    const goAway = async (): Promise<string> => {
      const abort = new AbortController();
      const asking = fetch(`${server.address}/v1/score`, { method: "POST", body: large!.body, headers: { "content-type": "application/json" }, signal: abort.signal });
      asking.catch(() => undefined); // by the abort
      await expect.poll(metrics, { interval: 1 }).toContain("queued_items 4096\n");
      abort.abort();
      await expect.poll(metrics).toContain("queued_items 0\n");
      return metrics();
    };
    await expect.poll(goAway).toContain('requests_total{route="/v1/score",status="499"}');
    await staysWell();
  });

  it("times a slow body out with 408 and serves others meanwhile", async () => {
    const socket = begin(server.address, 1000, '{"items":');
    const answer = answerOn(socket);
    const dripping = setInterval(() => socket.write(" "), 100);
    await staysWell();
    expect(await answer).toMatch(/^HTTP\/1\.1 408 /u);
    clearInterval(dripping);
  });

  it("refuses 33 MiB, said or not, before it has read them all", async () => {
    const piece = new Uint8Array(1024 * 1024).fill(32);
    const pieces = new Array<Uint8Array>(33).fill(piece);
    expect(await sendLarge(server.address, pieces, { "content-length": String(33 * piece.length) })).toBe(413);
    expect(await sendLarge(server.address, pieces, {})).toBe(413);
    await staysWell();
  });

  it("refuses a gzip bomb", async () => {
    const bomb = gzipSync(Buffer.alloc(128 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(150_000);
    expect((await post(server.address, bomb, { "content-encoding": "gzip" })).status).toBe(413);
    expect(await itemsOf(await post(server.address, gzipSync(small!.body), { "content-encoding": "gzip" }))).toEqual(small!.items);
    await staysWell();
  });

  it("keeps its port to itself", async () => {
    const { code, stderr } = await run("rewards", "serve", "--workers", "1", "--port", new URL(server.address).port);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^ADDRESS_UNAVAILABLE: cannot listen on 127\.0\.0\.1:\d+: another program has the port\n/u)]);
    await staysWell();
  });

  it("answers what is no HTTP with 400", async () => {
    const socket = connect(Number(new URL(server.address).port), "127.0.0.1");
    socket.write("nonsense\r\n\r\n");
    expect(await answerOn(socket)).toMatch(/^HTTP\/1\.1 400 /u);
    await staysWell();
  });
});

describe("the end of a server", () => {
  it("SIGTERM under load: what was accepted is answered, the rest is refused, nothing is wrong, exit 0", async () => {
    const server = await serve();
    const exchanges = makeExchanges(40, 4, 4);
    const [large] = makeExchanges(1, 4096, 5);
    const statuses = new Map<number | "lost", number>();
    let wrong = 0;
    let isOver = false;
    const clients = Array.from({ length: 12 }, async (_, lane) => {
      for (let n = lane; !isOver; n++) {
        const { body, items } = exchanges[n % exchanges.length]!;
        const status = await post(server.address, body).then(
          async (response) => {
            if (response.status === 200 && JSON.stringify(await itemsOf(response)) !== JSON.stringify(items)) wrong++;
            return response.status;
          },
          () => "lost" as const,
        );
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === "lost") await setTimeout(20);
      }
    });
    const slow = post(server.address, large!.body);
    await expect.poll(async () => Number(/queued_items (\d+)/u.exec(await (await fetch(`${server.address}/metrics`)).text())![1]), { interval: 5 }).toBeGreaterThan(1000);
    const ended = server.stop();
    const accepted = await slow;
    expect([accepted.status, accepted.headers.get("connection")]).toEqual([200, "close"]);
    expect(await itemsOf(accepted)).toEqual(large!.items);
    const { code, stdout } = await ended;
    isOver = true;
    await Promise.all(clients);
    expect([code, stdout, wrong]).toEqual([0, "", 0]);
    expect(statuses.get(200)).toBeGreaterThan(0);
    for (const status of statuses.keys()) expect([200, 503, "lost"]).toContain(status);
  });

  it("quiet, it prints its address and at the end its requests as JSON on stdout", async () => {
    const { child, done } = start(["rewards", "serve", "--port", "0", "--workers", "1", "--quiet", "--json"]);
    const [line] = (await once(child.stdout!, "data")) as [string];
    const { address } = JSON.parse(line) as { address: string };
    expect(await itemsOf(await post(address, small!.body))).toEqual(small!.items);
    child.kill("SIGTERM");
    const { code, stdout, stderr } = await done;
    expect([code, stdout]).toEqual([0, `${line}{"requests":1}\n`]);
    expect(stderr).not.toContain("http");
  });

  it("SIGINT ends an idle server at once, in spite of connections that are kept", async () => {
    const server = await serve();
    await (await post(server.address, small!.body)).text();
    server.child.kill("SIGINT");
    expect((await server.done).code).toBe(0);
  });
});

it("threads that are killed lose no item to 0 and mix none up", async () => {
  const killer = `import { Worker } from "node:worker_threads"; const post = Worker.prototype.postMessage; let sent = 0; Worker.prototype.postMessage = function (message) { post.call(this, message); if (++sent % 6 === 0) void this.terminate(); };`;
  const before = process.env["NODE_OPTIONS"];
  process.env["NODE_OPTIONS"] = `${before ?? ""} --import=data:text/javascript,${encodeURIComponent(killer)}`;
  const server = await serve().finally(() => {
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
  });
  try {
    let [scored, lost] = [0, 0];
    await inParallel(makeExchanges(30, 8, 6), 6, async ({ body, items }) => {
      const response = await post(server.address, body);
      expect(response.status).toBe(200);
      (await itemsOf(response)).forEach((item, i) => {
        if (item.error === null) {
          scored++;
          expect(item).toEqual(items[i]);
        } else {
          lost++;
          expect(item).toEqual({ id: items[i]!.id, format: null, accuracy: null, caption: null, comments: null, total: null, reasons: ["worker-lost"], error: { code: "WORKER_LOST", message: expect.any(String) as string } });
        }
      });
    });
    expect(scored + lost).toBe(240);
    expect(scored).toBeGreaterThan(120);
  } finally {
    await server.stop();
  }
});

describe("access", () => {
  it("takes the token from the environment and asks for it", async () => {
    process.env["REWARD_TEST_TOKEN"] = "canary-token";
    const server = await serve("--token-env", "REWARD_TEST_TOKEN", "--host", "0.0.0.0");
    delete process.env["REWARD_TEST_TOKEN"];
    const address = server.address.replace("0.0.0.0", "127.0.0.1");
    expect((await post(address, small!.body)).status).toBe(401);
    expect((await fetch(`${address}/healthz`)).status).toBe(200);
    expect((await post(address, small!.body, { authorization: "Bearer canary-token" })).status).toBe(200);
    expect((await server.stop()).stderr).not.toContain("canary");
  });

  it.each([
    ["another host without a token", ["--port", "0", "--host", "0.0.0.0"]],
    ["a token that is not set", ["--port", "0", "--token-env", "REWARD_TOKEN_THAT_IS_NOT_SET"]],
    ["no port", []],
    ["a port that is none", ["--port", "70000"]],
    ["no workers", ["--port", "0", "--workers", "0"]],
    ["an unknown tokenizer", ["--port", "0", "--tokenizer", "words"]],
  ])("refuses %s", async (_name, args) => {
    const { code, stderr } = await run("rewards", "serve", ...args);
    expect(code).toBe(2);
    expect(stderr).not.toBe("");
  });

  it("refuses a configuration that is none", async () => {
    const file = join(await mkdtemp(join(tmpdir(), "dramascope-rewards-")), "wrong.yaml");
    await writeFile(file, "limits: 5");
    const { code, stderr } = await run("rewards", "serve", "--port", "0", "--config", file);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^CONFIG_INVALID: .*limits is 5/u)]);
  });

  it("has help with an example", async () => {
    expect((await run("rewards", "serve", "--help")).stdout).toContain("Example:\n  dramascope rewards serve");
  });
});
