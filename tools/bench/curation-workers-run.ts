/**
 * One of several workers of a curation, in a process of its own.
 *
 *   node --conditions=@dramascope/source tools/bench/curation-workers-run.ts BASE_URL POSTGRES_URL SCHEMA DRAMAS CONCURRENCY [RPM WINDOW_MS]
 *
 * Without a Postgres address (`-`) its ledger is a SQLite file of its own. The last line of stdout is one JSON object: calls and this process's CPU seconds, of them those before the first call.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseCurationConfig, runCuration, type LabelledDrama } from "@dramascope/curation";
import type { Quality } from "@dramascope/schema";

const [baseURL = "", address = "-", schema = "bench", count = "100", concurrency = "4", rpm, windowMs] = process.argv.slice(2);
const dramas = Number(count);
const IN_FLIGHT = 256;

function* source(): Generator<LabelledDrama> {
  for (let i = 0; i < dramas; i++) {
    const comments = Array.from({ length: 10 }, (_, k) => ({ text: `评论 ${i} ${k}：反转很快，女主的演技不错，想看下一集`, likes: 1000 - k, episode: 1 + (k % 5) }));
    yield { quality: ((i % 5) + 1) as Quality, drama: { dramaId: `bench-${i}`, releasedOn: "2026-01-01", episodes: [1, 2, 3, 4, 5].map((index) => ({ index })), transcript: "A maid opens the letter.", comments } };
  }
}

const folder = mkdtempSync(join(tmpdir(), "curation-worker-"));
try {
  const config = parseCurationConfig({
    teacher: {
      baseURL,
      model: "teacher-sim-1",
      capabilities: { metadata: true },
      limits: { inFlight: IN_FLIGHT, ...(rpm === undefined ? {} : { rpm: Number(rpm), windowMs: Number(windowMs) }) },
      prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 0.25, out: 2 }] },
    },
    workdir: folder,
    split: { evalPerClass: 0, sftSize: Math.ceil(dramas * 0.8) },
    ...(address === "-" ? {} : { ledger: { driver: "postgres" as const, urlEnv: "BENCH_POSTGRES", schema } }),
  });
  let before: number | undefined;
  const cpuSeconds = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  const { calls } = await runCuration({ config, dramas: source(), env: { BENCH_POSTGRES: address }, concurrency: Number(concurrency), onEvent: ({ type }) => (before ??= type === "attempt" ? cpuSeconds() : undefined) });
  process.stdout.write(`${JSON.stringify({ calls, cpuSeconds: cpuSeconds(), startCpuSeconds: before ?? 0 })}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
