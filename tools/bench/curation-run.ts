/**
 * A curation of so many dramas against a teacher that answers at once, in a process of its own.
 *
 *   node --conditions=@dramascope/source tools/bench/curation-run.ts BASE_URL DRAMAS
 *
 * The last line of stdout is one JSON object: calls, seconds, this process's CPU seconds, and its memory over the run.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqliteLedger, parseCurationConfig, runCuration, type LabelledDrama } from "@dramascope/curation";
import type { Quality } from "@dramascope/schema";

const [baseURL = "", count = "1400"] = process.argv.slice(2);
const dramas = Number(count);
const IN_FLIGHT = 64;
const SAMPLE_MS = 50;

function* source(): Generator<LabelledDrama> {
  for (let i = 0; i < dramas; i++) {
    const comments = Array.from({ length: 30 }, (_, k) => ({ text: `评论 ${i} ${k}：反转很快，女主的演技不错，想看下一集`, likes: 1000 - k, episode: 1 + (k % 5) }));
    yield { quality: ((i % 5) + 1) as Quality, drama: { dramaId: `bench-${i}`, releasedOn: "2026-01-01", episodes: [1, 2, 3, 4, 5].map((index) => ({ index })), transcript: "A maid opens the letter.", comments } };
  }
}

const folder = mkdtempSync(join(tmpdir(), "curation-bench-"));
const rss: number[] = [];
const sample = setInterval(() => rss.push(process.memoryUsage.rss() / 2 ** 20), SAMPLE_MS);
try {
  const config = parseCurationConfig({
    teacher: { baseURL, model: "teacher-sim-1", capabilities: { metadata: true }, limits: { inFlight: IN_FLIGHT }, prices: { currency: "USD", date: "2026-11-01", bands: [{ in: 0.25, out: 2 }] } },
    workdir: folder,
    split: { evalPerClass: 0, sftSize: Math.ceil(dramas * 0.8) },
  });
  const ledger = openSqliteLedger(join(folder, "ledger.db"));
  const start = performance.now();
  const cpu = process.cpuUsage();
  const { calls, isComplete } = await runCuration({ config, dramas: source(), ledger });
  const { user, system } = process.cpuUsage(cpu);
  await ledger.close();
  if (!isComplete) throw new Error("the curation did not end");
  const half = Math.floor(rss.length / 2);
  const [first, second] = [Math.max(...rss.slice(0, half)), Math.max(...rss.slice(half))];
  process.stdout.write(
    `${JSON.stringify({ dramas, calls, seconds: (performance.now() - start) / 1000, cpuSeconds: (user + system) / 1e6, rssMiB: Math.round(Math.max(first, second)), growthMiB: Math.round(second - first) })}\n`,
  );
} finally {
  clearInterval(sample);
  rmSync(folder, { recursive: true, force: true });
}
