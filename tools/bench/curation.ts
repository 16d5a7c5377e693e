import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { startSimulator } from "@dramascope/test-fixtures/teacher-simulator/start-simulator.ts";
import { median, type Bench } from "./result.ts";

const RUN = fileURLToPath(new URL("curation-run.ts", import.meta.url));
const LEDGER = fileURLToPath(new URL("curation-ledger.ts", import.meta.url));
const LIMIT_MS = 5;
/** Limits of half a million planned steps. */
const SCALE = { dramas: 100_000, planSeconds: 60, leaseP99Ms: 20, reportPlannedSeconds: 5, rssMiB: 500 };

interface Run {
  dramas: number;
  calls: number;
  seconds: number;
  cpuSeconds: number;
  rssMiB: number;
  growthMiB: number;
}

type LedgerFigures = Record<"planSeconds" | "leaseP99Ms" | "reportPlannedSeconds" | "rssMiB", number>;

async function child<T>(program: string, ...args: string[]): Promise<T> {
  const run = spawn(process.execPath, ["--conditions=@dramascope/source", program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise<number | null>((resolve) => run.once("exit", resolve));
  const output = await text(run.stdout);
  const status = await exited;
  if (status !== 0) throw new Error(`${program} ended with ${status}`);
  return JSON.parse(output.trim().split("\n").at(-1)!) as T;
}

/** What a call costs beside the teacher: a whole run against a simulator in another process that answers at once, without pictures; and with `--scale` the ledger of a large catalogue. */
export const bench: Bench = async ({ isQuick, isScaled, rows = isQuick ? 200 : 1400, say }) => {
  const runs = isQuick ? 1 : 3;
  const results: Run[] = [];
  for (let i = 0; i < runs; i++) {
    const teacher = await startSimulator({ bodies: false });
    try {
      results.push(await child<Run>(RUN, teacher.baseURL, String(rows)));
    } finally {
      await teacher.stop();
    }
    const { calls, cpuSeconds, seconds, rssMiB } = results.at(-1)!;
    say(`round ${i + 1} of ${runs}: ${calls} calls in ${seconds.toFixed(1)} s, ${((1000 * cpuSeconds) / calls).toFixed(2)} ms of CPU each, ${rssMiB} MiB`);
  }
  const perCall = results.map(({ cpuSeconds, calls }) => (1000 * cpuSeconds) / calls);
  const best = Math.min(...perCall);
  const ledger = isScaled ? await child<LedgerFigures>(LEDGER, String(SCALE.dramas)) : undefined;
  const isScaleMet = ledger === undefined || (["planSeconds", "leaseP99Ms", "reportPlannedSeconds", "rssMiB"] as const).every((name) => ledger[name] <= SCALE[name]);
  return {
    name: "curation",
    ratio: best / LIMIT_MS,
    goal: `at most ${LIMIT_MS} ms of own CPU a call${isScaled ? `; a ledger of ${5 * SCALE.dramas} steps planned in ${SCALE.planSeconds} s, leased from in ${SCALE.leaseP99Ms} ms (p99), reported on in ${SCALE.reportPlannedSeconds} s, in ${SCALE.rssMiB} MiB` : ""}`,
    met: best <= LIMIT_MS && isScaleMet,
    ours: Number(best.toFixed(3)),
    peer: null,
    unit: "ms",
    runs,
    peerName: "a limit, not a peer",
    extra: {
      medianMs: Number(median(perCall).toFixed(3)),
      dramas: rows,
      calls: results[0]!.calls,
      seconds: Math.min(...results.map(({ seconds }) => seconds)),
      rssMiB: Math.max(...results.map(({ rssMiB }) => rssMiB)),
      growthMiB: Math.max(...results.map(({ growthMiB }) => growthMiB)),
      ...(ledger ? { ledger } : {}),
    },
  };
};
