import { execFileSync } from "node:child_process";
import { analyseExperiment, type ExperimentPlan, type ExperimentRow } from "@dramascope/evaluation";
import { median, type Bench } from "./result.ts";

const GOAL_ROWS_PER_SECOND = 1_000_000;
const GOAL_MEBIBYTES = 300;
const PLAN: ExperimentPlan = {
  variants: [{ name: "A", share: 1 }, { name: "B", share: 1 }],
  control: "A",
  minimumEffect: 0.001,
  metrics: [
    { name: "ctr", kind: "ratio", numerator: "clicks", denominator: "impressions", prePeriod: "before", role: "primary" },
    { name: "seconds", kind: "mean", numerator: "seconds", role: "guardrail", limit: 0.01 },
  ],
};

/** Users as an application would stream them; one in a thousand comes back under the other variant. */
function generate(rows: number): AsyncIterable<ExperimentRow> {
  let [state, i, isControl] = [1, 0, true];
  const row = (): ExperimentRow => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const impressions = 1 + (state >>> 28);
    const isBack = i % 1000 === 999;
    isControl = isBack ? !isControl : (state & 65536) === 0;
    const userId = `u${7_300_000_000 + (isBack ? i - 1 : i)}`;
    i++;
    return { userId, variant: isControl ? "A" : "B", clicks: (state >>> 8) % (impressions + 1), impressions, seconds: (state >>> 4) / 1e6, before: (state >>> 12) / 1e3 };
  };
  return { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve(i < rows ? { done: false, value: row() } : { done: true, value: undefined }) }) };
}

/** Processor seconds of this process, which other programs on the machine disturb less than the clock. */
async function processorSeconds(work: () => Promise<unknown>): Promise<number> {
  const started = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1e6;
}

async function drain(rows: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of rows) count++;
  return count;
}

/** One run in a process of its own, so that no other run's memory counts. */
interface Run {
  /** Processor seconds with the making of the rows. */
  all: number;
  /** Processor seconds that making the rows takes alone. */
  making: number;
  /** Highest resident memory of the process. */
  mebibytes: number;
  crossovers: number;
}

async function runOnce(rows: number): Promise<Run> {
  let crossovers = 0;
  const all = await processorSeconds(async () => (crossovers = (await analyseExperiment(generate(rows), PLAN)).crossovers));
  const mebibytes = process.resourceUsage().maxRSS / 1024;
  return { all, making: await processorSeconds(() => drain(generate(rows))), mebibytes, crossovers };
}

function runApart(rows: number): Run {
  return JSON.parse(execFileSync(process.execPath, [...process.execArgv, import.meta.filename, String(rows)], { encoding: "utf8" })) as Run;
}

if (import.meta.main) process.stdout.write(JSON.stringify(await runOnce(Number(process.argv[2]))));

/**
 * Analysis of 10 million generated rows, each run in a process of its own. What making the rows takes alone is measured too and taken
 * off, as reading CSV would be.
 */
export const bench: Bench = ({ isQuick, rows = isQuick ? 1_000_000 : 10_000_000, say }) => {
  const runs = Array.from({ length: isQuick ? 2 : 3 }, (_, i) => {
    const run = runApart(rows);
    say(`run ${i + 1}: ${run.all.toFixed(2)} processor seconds for ${rows} rows, of which making them takes ${run.making.toFixed(2)}; ${run.mebibytes.toFixed(0)} MiB`);
    return run;
  });
  const making = Math.min(...runs.map((run) => run.making));
  const speeds = runs.map(({ all }) => rows / (all - making));
  const ours = Math.round(Math.max(...speeds));
  const memory = Math.max(...runs.map(({ mebibytes }) => mebibytes));
  return Promise.resolve({
    name: "experiment",
    ratio: GOAL_ROWS_PER_SECOND / ours,
    goal: `at least ${GOAL_ROWS_PER_SECOND} rows per processor second within ${GOAL_MEBIBYTES} MiB`,
    met: ours >= GOAL_ROWS_PER_SECOND && memory < GOAL_MEBIBYTES,
    ours,
    peer: null,
    unit: "rows per processor second",
    runs: runs.length,
    peerName: "the limit (no peer)",
    extra: { rows, medianRows: Math.round(median(speeds)), rowsWithMaking: Math.round(rows / Math.min(...runs.map(({ all }) => all))), peakMebibytes: Math.round(memory), crossovers: runs[0]!.crossovers },
  });
};
