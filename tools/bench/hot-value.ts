import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { clusterHotValues, fitHotValue, scoreRows } from "@dramascope/hot-value";
import { createRandom, type IndicatorRow } from "@dramascope/schema";
import { median, type Bench } from "./result.ts";

const PEER = fileURLToPath(new URL("peers/hot-value/duckdb-peer.mjs", import.meta.url));
const OURS = fileURLToPath(new URL("hot-value-run.ts", import.meta.url));
const CACHE = fileURLToPath(new URL("../../.cache/bench/", import.meta.url));
const COUNTS = ["dailyAvgWatchTime", "dailyAvgUv", "favorites", "likes", "sixMonthWatchTime", "sixMonthUv", "comments", "search"];
/** Rows that the peer's own generator writes; more rows are copies of them with other ids and stretched counts. */
const BASE_ROWS = 1_000_000;
const KEPT_BYTES = 200_000_000;
const RSS_LIMIT_MIB = 1536;

interface Run {
  seconds: number;
  rssMiB: number;
  cpuSeconds?: number;
  phases?: Record<string, number>;
}

function child(args: string[], env: Record<string, string> = {}): Run {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", env: { ...process.env, ...env }, maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error(`${args.join(" ")} ended with ${status}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") as Run;
}

/** Makes, or finds, a Parquet file of so many rows, ten a drama. */
async function tableOf(rows: number, say: (text: string) => void): Promise<string> {
  const file = `${CACHE}hot-value-${rows}.parquet`;
  if (existsSync(file)) return file;
  mkdirSync(CACHE, { recursive: true });
  say(`making ${rows} rows`);
  if (rows <= BASE_ROWS) {
    const made = spawnSync(process.execPath, [PEER, "make", String(rows), `${file}.tmp`], { encoding: "utf8" });
    if (made.status !== 0) throw new Error(`the table could not be made: ${made.stderr}`);
  } else {
    const base = await tableOf(BASE_ROWS, say);
    const { DuckDBInstance } = await import("@duckdb/node-api");
    const instance = await DuckDBInstance.create(":memory:", { memory_limit: "2GB", preserve_insertion_order: "false", temp_directory: `${CACHE}spill` });
    const connection = await instance.connect();
    const counts = COUNTS.map((name) => `floor("${name}" * (1 + 0.0137 * k)) AS "${name}"`).join(", ");
    const copies = Array.from({ length: Math.ceil(rows / BASE_ROWS) }, (_, k) => `SELECT *, ${k} AS k FROM read_parquet('${base}')`).join(" UNION ALL ");
    await connection.run(`COPY (SELECT ("dramaId"::BIGINT + 100000 * k)::VARCHAR AS "dramaId", date, "releasedOn", ${counts}, "completionRate" FROM (${copies}) LIMIT ${rows}) TO '${file}.tmp' (FORMAT parquet, COMPRESSION zstd)`);
    connection.closeSync();
    instance.closeSync();
  }
  renameSync(`${file}.tmp`, file);
  return file;
}

/** Rows a second of scoring with a frozen model, and milliseconds of clustering 25,000 values. */
async function smallFigures(): Promise<{ scoredRowsPerSecond: number; cluster25000Ms: number }> {
  const random = createRandom(1);
  const value = (): number => Math.floor(Math.exp(3 + 1.5 * random.normal()));
  const rows = Array.from({ length: 100_000 }, (_, i): IndicatorRow => ({
    dramaId: `d${i}`, date: "2026-06-30", releasedOn: "2026-01-15", dailyAvgWatchTime: value(), dailyAvgUv: value(), favorites: value(), likes: value(),
    sixMonthWatchTime: value(), sixMonthUv: value(), comments: value(), search: value(), completionRate: random.uniform(),
  }));
  const weights = { dailyAvgWatchTime: 0.16, dailyAvgUv: 0.12, favorites: 0.08, likes: 0.06, sixMonthWatchTime: 0.18, sixMonthUv: 0.14, comments: 0.05, search: 0.07, completionRate: 0.14 };
  const { model } = fitHotValue(rows, { weights, asOf: "2026-06-30", reference: { mode: "pooled" } });
  async function* source(): AsyncGenerator<IndicatorRow> {
    await Promise.resolve(); // as a real source waits for its first rows
    yield* rows;
  }
  let least = Infinity;
  for (let round = 0; round < 5; round++) {
    const from = process.cpuUsage();
    for await (const _score of scoreRows(model, source()));
    const { user, system } = process.cpuUsage(from);
    least = Math.min(least, (user + system) / 1e6);
  }
  const values = Float64Array.from({ length: 25_000 }, () => 100 * Math.exp(random.normal()));
  const times = Array.from({ length: 5 }, () => {
    const start = performance.now();
    clusterHotValues(values);
    return performance.now() - start;
  });
  return { scoredRowsPerSecond: Math.round(rows.length / least), cluster25000Ms: Math.round(Math.min(...times)) };
}

/** The fit on a Parquet file, with validation, duplicates, clustering and report, against bare SQL for marks and scores alone. */
export const bench: Bench = async ({ isQuick, rows: asked, say }) => {
  const rows = asked ?? (isQuick ? 1_000_000 : 10_000_000);
  const limit = rows <= BASE_ROWS ? 2 : 1.3;
  const runs = rows > 20_000_000 ? 1 : 3;
  const threads = String(availableParallelism());
  const file = await tableOf(rows, say);
  const ours: Run[] = [];
  const peer: Run[] = [];
  for (let i = 0; i < runs; i++) {
    peer.push(child([PEER, "sql", file], { THREADS: threads }));
    ours.push(child(["--conditions=@dramascope/source", OURS, file, threads]));
    say(`round ${i + 1}: ours ${ours[i]!.seconds.toFixed(2)} s, ${Math.round(ours[i]!.rssMiB)} MiB; bare SQL ${peer[i]!.seconds} s, ${peer[i]!.rssMiB} MiB`);
  }
  if (statSync(file).size > KEPT_BYTES) rmSync(file);
  const seconds = (list: readonly Run[]): number[] => list.map((run) => run.seconds);
  const [best, bestPeer] = [Math.min(...seconds(ours)), Math.min(...seconds(peer))];
  const rssMiB = Math.max(...ours.map((run) => run.rssMiB));
  return {
    name: "hot-value",
    ratio: best / bestPeer,
    goal: `at most ${limit} times the seconds of bare SQL on ${rows} rows, in less than 1.5 GiB`,
    met: best / bestPeer <= limit && rssMiB < RSS_LIMIT_MIB,
    ours: Number(best.toFixed(3)),
    peer: bestPeer,
    unit: "s",
    runs,
    peerName: "DuckDB SQL, marks and scores only",
    extra: {
      rows,
      threads: Number(threads),
      medianOurs: median(seconds(ours)),
      medianPeer: median(seconds(peer)),
      rssMiB: Math.round(rssMiB),
      peerRssMiB: Math.max(...peer.map((run) => run.rssMiB)),
      cpuSeconds: Math.min(...ours.map((run) => run.cpuSeconds ?? Number.NaN)),
      phases: ours[0]!.phases,
      ...(await smallFigures()),
    },
  };
};
