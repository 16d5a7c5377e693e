/**
 * Loads a reward server over loopback and checks every answer.
 *
 *   node --conditions=@dramascope/source tools/bench/reward-server.ts [--seconds 60] [--clients 200] [--workers N]
 *
 * After a warm-up, first groups of 16 at 100 completions a second, for the latency; then so many clients with kept connections, each asking again at once; a body above
 * the limit and a client that sends a byte now and then meanwhile; SIGTERM under load at the end. Prints one JSON line; exit 1 when an answer was wrong.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { prepareReference, scoreGroup, type RewardReference } from "@dramascope/rewards";
import { makeWorkload } from "./peers/rewards/workload.mjs";
import { machine } from "./result.ts";

interface Exchange {
  body: string;
  /** The bytes that must come back. */
  answer: string;
}

interface Answer {
  status: number | "lost";
  text: string;
  milliseconds: number;
}

const { values } = parseArgs({ options: { seconds: { type: "string", default: "60" }, clients: { type: "string", default: "200" }, workers: { type: "string" } } });
const seconds = Number(values.seconds);
const clients = Number(values.clients);
const GROUP = 16;
/** Requests before anything is measured. */
const WARM_UP = 40;
const PACED_SECONDS = Math.min(20, seconds);
const PACED_REQUESTS_PER_SECOND = 100 / GROUP;

function makeExchanges(): Exchange[] {
  return (makeWorkload(64, 11, "ascii") as { reference: RewardReference; completions: string[] }[]).map(({ reference: { score, ...texts }, completions }, prompt) => {
    const prepared = prepareReference({ score, ...texts });
    const ids = completions.map((_, i) => `p${prompt}#${i}`);
    return {
      body: JSON.stringify({ engine: "load", references: { r: { solution: String(score), ...texts } }, items: completions.map((completion, i) => ({ id: ids[i], completion, referenceKey: "r" })) }),
      answer: JSON.stringify({ version: prepared.version, items: scoreGroup(completions, prepared).map(({ format, accuracy, caption, comments, total, reasons }, i) => ({ id: ids[i], format, accuracy, caption, comments, total, reasons, error: null })) }),
    };
  });
}

async function startServer(): Promise<{ child: ChildProcess; address: URL }> {
  const bin = fileURLToPath(new URL("../../packages/cli/src/bin.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions=@dramascope/source", bin, "rewards", "serve", "--port", "0", "--body-timeout", "5", ...(values.workers === undefined ? [] : ["--workers", values.workers])], { stdio: ["ignore", "ignore", "pipe"] });
  const address = await new Promise<URL>((resolve, reject) => {
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const found = /http:\/\/\S+:\d+/u.exec(said);
      if (found) resolve(new URL(found[0]));
    });
    child.on("close", () => reject(new Error(`the server did not start: ${said}`)));
  });
  return { child, address };
}

const agent = new Agent({ keepAlive: true, maxSockets: clients + 8 });

function post(address: URL, body: string | Uint8Array): Promise<Answer> {
  const start = performance.now();
  return new Promise((resolve) => {
    const sending = request(new URL("/v1/score", address), { method: "POST", agent, headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, text, milliseconds: performance.now() - start }));
    });
    sending.on("error", () => resolve({ status: "lost", text: "", milliseconds: performance.now() - start }));
    sending.end(body);
  });
}

/** Resident MiB of a process; null where the system does not tell. */
function residentMiB({ pid }: ChildProcess): number | null {
  try {
    return Math.round(Number(/VmRSS:\s+(\d+)/u.exec(readFileSync(`/proc/${pid!}/status`, "utf8"))![1]) / 1024);
  } catch {
    return null;
  }
}

/** Counts of statuses, wrong answers, and the times of those that were scored. */
class Tally {
  readonly statuses = new Map<number | "lost", number>();
  readonly times: number[] = [];
  wrong = 0;

  add({ status, text, milliseconds }: Answer, { answer }: Exchange): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    if (status !== 200) return;
    this.times.push(milliseconds);
    if (text !== answer) this.wrong++;
  }

  figures(): Record<string, unknown> {
    const sorted = Float64Array.from(this.times).sort();
    const at = (share: number): number => Number((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN).toFixed(1));
    return { statuses: Object.fromEntries(this.statuses), completions: this.times.length * GROUP, wrong: this.wrong, p50: at(0.5), p99: at(0.99), most: at(1) };
  }
}

async function paced(address: URL, exchanges: readonly Exchange[]): Promise<Tally> {
  const tally = new Tally();
  const asked: Promise<void>[] = [];
  for (let n = 0; n < PACED_SECONDS * PACED_REQUESTS_PER_SECOND; n++) {
    const exchange = exchanges[n % exchanges.length]!;
    asked.push(post(address, exchange.body).then((answer) => tally.add(answer, exchange)));
    await setTimeout(1000 / PACED_REQUESTS_PER_SECOND);
  }
  await Promise.all(asked);
  return tally;
}

/** Clients that ask until told to stop; those that come after the server has gone wait a little. */
function closedLoop(address: URL, exchanges: readonly Exchange[]): { tally: Tally; stop: () => Promise<void> } {
  const tally = new Tally();
  let isOver = false;
  const running = Array.from({ length: clients }, async (_, client) => {
    for (let n = client; !isOver; n++) {
      const exchange = exchanges[n % exchanges.length]!;
      const answer = await post(address, exchange.body);
      tally.add(answer, exchange);
      if (answer.status === "lost" || answer.status === 503) await setTimeout(50);
    }
  });
  return {
    tally,
    stop: async () => {
      isOver = true;
      await Promise.all(running);
    },
  };
}

/** First line of the answer to a request whose body comes a byte now and then. */
async function slowClient(address: URL): Promise<string> {
  const socket = connect(Number(address.port), address.hostname);
  let text = "";
  socket.on("data", (chunk) => (text += chunk.toString("latin1"))).on("error", () => undefined);
  socket.write("POST /v1/score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n");
  const drip = setInterval(() => socket.write(" "), 200);
  await once(socket, "close");
  clearInterval(drip);
  return text.split("\r\n", 1)[0]!;
}

const exchanges = makeExchanges();
const { child, address } = await startServer();
const ended = once(child, "close");
for (const { body } of exchanges.slice(0, WARM_UP)) await post(address, body);
const latency = await paced(address, exchanges);
const load = closedLoop(address, exchanges);
await setTimeout(Math.min(5, seconds / 4) * 1000);
const residentStart = residentMiB(child);
const [tooLarge, slow, residentMiddle] = await Promise.all([post(address, Buffer.alloc(33 * 1024 * 1024, 32)), slowClient(address), setTimeout(seconds * 500).then(() => residentMiB(child)), setTimeout(seconds * 1000)]);
const residentEnd = residentMiB(child);
const measured = load.tally.figures();
child.kill("SIGTERM");
const [exitCode] = (await ended) as [number | null];
await load.stop();
agent.destroy();
const after = load.tally.figures();
const wrong = latency.wrong + load.tally.wrong;
const isGood = wrong === 0 && exitCode === 0 && tooLarge.status === 413 && slow.includes(" 408 ");
process.stdout.write(`${JSON.stringify({ name: "reward-server", seconds, clients, latency: { completionsPerSecond: 100, ...latency.figures() }, load: measured, afterSigterm: { statuses: after["statuses"], wrong: after["wrong"], exitCode }, tooLarge: tooLarge.status, slowClient: slow, residentMiB: { start: residentStart, middle: residentMiddle, end: residentEnd }, wrong, isGood, machine: machine() })}\n`);
process.exitCode = isGood ? 0 : 1;
