/**
 * Scale of the SQLite ledger, in a process of its own: half a million planned steps, a report on them, leases and commits on top of them, then one pass over everything.
 *
 *   node --conditions=@dramascope/source tools/bench/curation-ledger.ts DRAMAS
 *
 * The last line of stdout is one JSON object of figures.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { curationReport, generationIdentity, generationSettings, loadSetting, openSqliteLedger, parseCurationConfig, type DramaRecord, type StageKind, type StepRow, type StepSpec } from "@dramascope/curation";

const CONFIG = parseCurationConfig({ teacher: { baseURL: "http://127.0.0.1:9/v1", model: "m" } });
const STEPS: readonly { kind: StageKind; round: number }[] = [{ kind: "caption", round: 0 }, { kind: "comments", round: 0 }, { kind: "sample", round: 1 }, { kind: "filter", round: 1 }, { kind: "sample", round: 2 }];
const BATCH = 1000;
const LEASED = 64;
const ROUNDS = 1000;

const hash = (text: string): string => createHash("sha256").update(text).digest("hex");
const dramas = Number(process.argv[2] ?? 100_000);
const folder = mkdtempSync(join(tmpdir(), "ledger-bench-"));
const path = join(folder, "ledger.db");

const record = (i: number): DramaRecord => {
  const dramaId = `drama-${i}`;
  const comments = Array.from({ length: 20 }, (_, k) => ({ text: `第${k}条评论：剧情反转很快，女主的演技不错，想看下一集 ${i}`, likes: 1000 - k, episode: 1 + (k % 5), hash: hash(`${i} ${k}`).slice(0, 16) }));
  const episodes = [1, 2, 3, 4, 5].map((index) => ({ index, path: `media/${dramaId}/${index}.mp4`, durationSeconds: 90, sha256: hash(`${i} ${index}`) }));
  return { dramaId, order: hash(dramaId), contentHash: hash(`content ${i}`), quality: ((i % 5) + 1) as DramaRecord["quality"], split: "sft", groupId: dramaId, drama: { dramaId, genre: "revenge", episodes, comments } };
};
const stepsOf = (i: number): StepSpec[] => STEPS.map(({ kind, round }) => ({ key: hash(`${i} ${kind} ${round}`), kind, drama: `drama-${i}`, round, part: 1 }));
/** An answer of 1 to 3 kB of UTF-8. */
const answerOf = (key: string): string => "The heroine returns and the family turns against her; 悬念留到第五集结尾。 ".repeat(12 + (Number.parseInt(key.slice(0, 2), 16) % 24));

const figures: Record<string, number> = { dramas, steps: dramas * STEPS.length };
let peakRss = 0;
const sample = setInterval(() => (peakRss = Math.max(peakRss, process.memoryUsage.rss())), 50);
const timed = async (name: string, work: () => Promise<void>): Promise<void> => {
  const start = performance.now();
  const cpu = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  figures[`${name}Seconds`] = Number(((performance.now() - start) / 1000).toFixed(2));
  figures[`${name}CpuSeconds`] = Number(((user + system) / 1e6).toFixed(2));
  peakRss = Math.max(peakRss, process.memoryUsage.rss());
  process.stderr.write(`${name}: ${figures[`${name}Seconds`]} s, ${figures[`${name}CpuSeconds`]} s of CPU, ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB\n`);
};
const quantile = (values: number[], q: number): number => Number(values.sort((a, b) => a - b)[Math.ceil(q * values.length) - 1]!.toFixed(2));

try {
  const ledger = openSqliteLedger(path);
  const setting = await loadSetting(CONFIG);
  await ledger.openGeneration(generationIdentity(setting), generationSettings(setting));
  await timed("putDramas", async () => {
    for (let from = 0; from < dramas; from += BATCH) await ledger.putDramas(Array.from({ length: Math.min(BATCH, dramas - from) }, (_, i) => record(from + i)));
  });
  await timed("plan", async () => {
    for (let from = 0; from < dramas; from += BATCH) await ledger.plan(Array.from({ length: Math.min(BATCH, dramas - from) }, (_, i) => stepsOf(from + i)).flat(), 1);
  });
  await timed("planAgain", async () => {
    for (let from = 0; from < dramas; from += BATCH) await ledger.plan(Array.from({ length: Math.min(BATCH, dramas - from) }, (_, i) => stepsOf(from + i)).flat(), 1);
  });
  await timed("passPlanned", async () => {
    figures.planned = 0;
    for await (const { answers } of ledger.answersByDrama(1)) figures.planned += answers.length;
  });

  await timed("reportPlanned", async () => { await curationReport(ledger, CONFIG); });

  const leases: number[] = [];
  const commits: number[] = [];
  const leaseAndCommit = async (max: number): Promise<number> => {
    const start = performance.now();
    const leased = await ledger.lease({ owner: "bench", max, ttlMs: 60_000, generation: 1 });
    leases.push(performance.now() - start);
    await Promise.all(
      leased.map(async ({ step: { key, fence } }) => {
        const since = performance.now();
        await ledger.commit({ key, fence, owner: "bench", result: { state: "done", content: answerOf(key), code: null, finish: "stop", model: "m", attempts: 1, cost: 0.001 }, next: () => [] });
        commits.push(performance.now() - since);
      }),
    );
    return leased.length;
  };
  await timed("run", async () => {
    for (let i = 0; i < ROUNDS; i++) await leaseAndCommit(LEASED);
  });
  figures.leaseP50Ms = quantile(leases, 0.5);
  figures.leaseP99Ms = quantile(leases, 0.99);
  figures.leaseMaxMs = quantile(leases, 1);
  figures.commitP50Ms = quantile(commits, 0.5);
  figures.commitP99Ms = quantile(commits, 0.99);
  figures.committed = commits.length;
  await timed("rest", async () => {
    while ((await leaseAndCommit(2000)) > 0);
  });
  await timed("spend", async () => {
    for (let from = 0; from < dramas; from += BATCH) {
      await Promise.all(
        Array.from({ length: Math.min(BATCH, dramas - from) }, async (_, i) => {
          const id = await ledger.reserve({ key: hash(`${from + i} caption 0`), attempt: 1, task: "caption", drama: `drama-${from + i}`, estimate: 0.01, at: Date.now() });
          await ledger.settle(id!, { cost: 0.005, outcome: "ok", isUnknown: false, at: Date.now() });
        }),
      );
    }
  });
  await ledger.close();

  const again = openSqliteLedger(path);
  await timed("counts", async () => { await again.counts(1); });
  await timed("spending", async () => { await again.spending(); });
  await timed("pass", async () => {
    let texts = 0;
    for await (const { answers } of again.answersByDrama(1)) texts += answers.reduce((sum: number, { content }: StepRow) => sum + content!.length, 0);
    figures.texts = texts;
  });
  await again.close();
  figures.fileMiB = Math.round(statSync(path).size / 2 ** 20);
} finally {
  clearInterval(sample);
  rmSync(folder, { recursive: true, force: true });
}
figures.rssMiB = Math.round(peakRss / 2 ** 20);
process.stdout.write(`${JSON.stringify(figures)}\n`);
