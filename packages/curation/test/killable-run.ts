/**
 * A curation that a test stops or kills: `node killable-run.ts BASE_URL FOLDER COUNT [MORE]`. Prints its summary; SIGINT stops it in order. `journal.jsonl` in the folder has all
 * attempts, `commits.jsonl` what the ledger had kept by when.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "@dramascope/chat-client";
import { exportSets, openPostgresLedger, openPostgresSlots, openSqliteLedger, parseCurationConfig, runCuration, type CurationConfig, type CurationOptions, type SharedSlots, type StepLedger } from "@dramascope/curation";
import { dramas, settings } from "./simulator.ts";

/** What a test wants of a run beyond an ordinary one on a SQLite ledger. */
export interface KillableOptions {
  /** Server and schema of a shared ledger. */
  postgres?: { url: string; schema: string };
  owner?: string;
  leaseMs?: number;
  /** Calls at once of this worker; `inFlight` is that of all workers, which are 8 otherwise. */
  concurrency?: number;
  inFlight?: number;
  /** Requests in a window. */
  rate?: { rpm: number; windowMs: number };
  /** Reads and plans, but asks nothing. */
  isPlanOnly?: boolean;
  /** Exports into this folder, and does nothing else. */
  exportTo?: string;
}

/** Settings of a run over so many dramas. Timeouts and attempts are out of a busy machine's reach: what is asked twice has been asked by two workers. */
export function killableConfig(baseURL: string, folder: string, count: number, { inFlight = 8, rate }: Pick<KillableOptions, "inFlight" | "rate"> = {}): CurationConfig {
  const base = settings(baseURL);
  return parseCurationConfig({
    ...base,
    workdir: folder,
    teacher: { ...base.teacher, limits: { inFlight, ...rate }, timeouts: { callMs: 120_000 } },
    split: { seed: "s", evalPerClass: Math.ceil(count / 50), sftSize: Math.round(count * 0.75) },
    drainMs: 5_000,
  });
}

const PATIENCE_MS = 60_000;

/** A ledger that notes when a step had been kept. */
function noting(ledger: StepLedger, file: string): StepLedger {
  return {
    ...ledger,
    commit: async (commit) => {
      const kept = await ledger.commit(commit);
      if (kept === "ok") appendFileSync(file, `${JSON.stringify({ key: commit.key, at: systemClock.now() })}\n`);
      return kept;
    },
  };
}

async function main(baseURL: string, folder: string, count: number, more: KillableOptions): Promise<void> {
  const { postgres, owner, leaseMs, concurrency, isPlanOnly, exportTo } = more;
  const config = killableConfig(baseURL, folder, count, more);
  const stop = new AbortController();
  process.on("SIGINT", () => stop.abort());
  const ledger = postgres ? await openPostgresLedger(postgres.url, { schema: postgres.schema, patienceMs: PATIENCE_MS, bossSchema: null }) : openSqliteLedger(join(folder, "ledger.db"));
  let slots: SharedSlots | undefined;
  try {
    if (exportTo !== undefined) {
      await exportSets(ledger, config, exportTo);
      return;
    }
    if (postgres && more.rate) slots = await openPostgresSlots(postgres.url, config.teacher.limits as { rpm: number; windowMs: number }, { schema: postgres.schema });
    const options: Partial<CurationOptions> = {
      ...(owner === undefined ? {} : { owner }),
      ...(leaseMs === undefined ? {} : { leaseMs }),
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(isPlanOnly ? { stages: [] } : {}),
      ...(slots ? { slots } : {}),
    };
    const summary = await runCuration({ config, dramas: dramas(count), ledger: noting(ledger, join(folder, "commits.jsonl")), journal: join(folder, "journal.jsonl"), signal: stop.signal, ...options });
    process.stdout.write(`${JSON.stringify(summary)}\n`);
  } finally {
    await slots?.close();
    await ledger.close();
  }
}

if (import.meta.main) {
  const [baseURL, folder, count, more = "{}"] = process.argv.slice(2) as [string, string, string, string?];
  await main(baseURL, folder, Number(count), JSON.parse(more) as KillableOptions);
}
