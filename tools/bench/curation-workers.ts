import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { startPostgres } from "@dramascope/test-fixtures/postgres-server.ts";
import { startSimulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import type { Bench } from "./result.ts";

const RUN = fileURLToPath(new URL("curation-workers-run.ts", import.meta.url));
const WORKERS = [1, 2, 4];
/** Calls at once of one worker. */
const CONCURRENCY = 4;
const LATENCY_MS = 200;
const LEAST_RATIO = 3.6;

interface Figures {
  workers: number;
  calls: number;
  callsPerSecond: number;
  /** Of the workers, without the server. */
  cpuMsPerCall: number;
}

interface WorkerResult {
  calls: number;
  cpuSeconds: number;
  startCpuSeconds: number;
}

async function worker(...args: string[]): Promise<WorkerResult> {
  const run = spawn(process.execPath, ["--conditions=@dramascope/source", RUN, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise<number | null>((resolve) => run.once("exit", resolve));
  const output = await text(run.stdout);
  const status = await exited;
  if (status !== 0) throw new Error(`a worker ended with ${status}`);
  return JSON.parse(output.trim().split("\n").at(-1)!) as WorkerResult;
}

/** Calls a second over the middle of a run: workers begin one after another, and the last dramas do not fill them. */
function rateOf(journal: string): number {
  const times = readFileSync(journal, "utf8").split("\n").flatMap((line) => (line.includes('"ev":"call"') ? [(JSON.parse(line) as { t: number }).t] : []));
  const [from, to] = [Math.floor(times.length * 0.2), Math.floor(times.length * 0.8)];
  return (1000 * (to - from)) / (times[to]! - times[from]!);
}

/** How much more several workers of one Postgres ledger do than one: calls a second against a teacher that takes its time, at the same number of calls at once for each worker. */
export const bench: Bench = async ({ isQuick, rows = isQuick ? 40 : 100, say }) => {
  const server = await startPostgres();
  const figures: Figures[] = [];
  try {
    for (const workers of WORKERS) {
      const teacher = await startSimulator({ args: ["--latency-ms", String(LATENCY_MS)], bodies: false });
      try {
        const args = [teacher.baseURL, server.url, `workers_${workers}`, String(rows * workers), String(CONCURRENCY)];
        const results = await Promise.all(Array.from({ length: workers }, () => worker(...args)));
        const calls = results.reduce((sum, result) => sum + result.calls, 0);
        const cpu = results.reduce((sum, result) => sum + result.cpuSeconds - result.startCpuSeconds, 0);
        const one: Figures = { workers, calls, callsPerSecond: rateOf(teacher.journal), cpuMsPerCall: (1000 * cpu) / calls };
        figures.push(one);
        say(`${workers} workers: ${calls} calls, ${one.callsPerSecond.toFixed(1)} a second of ${(workers * CONCURRENCY * 1000) / LATENCY_MS} at most, ${one.cpuMsPerCall.toFixed(2)} ms of CPU each`);
      } finally {
        await teacher.stop();
      }
    }
  } finally {
    await server.stop();
  }
  const [least, most] = [figures[0]!, figures.at(-1)!];
  const ratio = most.callsPerSecond / least.callsPerSecond;
  return {
    name: "curation-workers",
    ratio,
    goal: `4 workers make at least ${LEAST_RATIO} times the calls of one`,
    met: ratio >= LEAST_RATIO,
    ours: Number(most.callsPerSecond.toFixed(1)),
    peer: Number(least.callsPerSecond.toFixed(1)),
    unit: "calls/s",
    runs: 1,
    peerName: "one worker",
    extra: { latencyMs: LATENCY_MS, concurrency: CONCURRENCY, dramasPerWorker: rows, figures },
  };
};
