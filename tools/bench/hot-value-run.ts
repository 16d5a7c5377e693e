/**
 * One fit of our side in a process of its own: `hot-value-run.ts FILE THREADS`. Prints seconds from the start of the fit, processor seconds,
 * peak memory of the process and what was found.
 */
import { fitHotValueFilesTo } from "@dramascope/hot-value";

const [, , file, threads] = process.argv;
const weights = { dailyAvgWatchTime: 0.16, dailyAvgUv: 0.12, favorites: 0.08, likes: 0.06, sixMonthWatchTime: 0.18, sixMonthUv: 0.14, comments: 0.05, search: 0.07, completionRate: 0.14 };
const phases: Record<string, number> = {};
const start = performance.now();
const { report } = await fitHotValueFilesTo([file!], {}, {
  weights,
  asOf: "2026-12-31",
  reference: { mode: "pooled" },
  threads: Number(threads),
  onProgress: ({ phase }) => (phases[phase] = (performance.now() - start) / 1000),
});
const seconds = (performance.now() - start) / 1000;
const usage = process.resourceUsage();
process.stdout.write(`${JSON.stringify({ seconds, cpuSeconds: (usage.userCPUTime + usage.systemCPUTime) / 1e6, rssMiB: usage.maxRSS / 1024, rows: report.rows, dramas: report.dramas, phases })}\n`);
