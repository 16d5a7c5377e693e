import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { takeLock } from "@dramascope/schema";
import { CurationError } from "./errors.ts";

/** Kind of a paid step. */
export type StageKind = "caption" | "sample" | "filter" | "comments";

/** How a step ended. */
export type StepState = "started" | "done" | "blocked" | "unusable" | "parked";

/** One step as it is kept. */
export interface StepRow {
  /** SHA-256 of everything that could change the answer. */
  key: string;
  kind: StageKind;
  drama: string;
  /** 0 where there are no rounds. */
  round: number;
  state: StepState;
  /** The teacher's text when done. */
  content: string | null;
  /** Why there is none otherwise. */
  code: string | null;
  model: string | null;
  cost: number;
  attempts: number;
}

/** Steps and their answers on disk. A step is written as `started` before its call and is durable before it is used. */
export interface StepLedger {
  /** The step of a key, when it was ever started. */
  get(key: string): StepRow | undefined;
  /** Writes a row and resolves when it is on the disk. */
  put(row: StepRow): Promise<void>;
  rows(): StepRow[];
  close(): void;
}

const GROUP_COMMIT_MS = 5;

/** Opens a ledger in one SQLite file for this process alone. */
export function openSqliteLedger(path: string): StepLedger {
  mkdirSync(dirname(path), { recursive: true });
  const lock = takeLock(`${path}.lock`);
  if ("holder" in lock) throw new CurationError(`${path}: process ${lock.holder} is working on this ledger`, { code: "LEDGER_LOCKED", hint: `Wait for it to end, or stop it. If that process is something else, remove ${path}.lock.` });
  const database = new DatabaseSync(path);
  database.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000");
  database.exec(`CREATE TABLE IF NOT EXISTS steps (key TEXT PRIMARY KEY, kind TEXT NOT NULL, drama TEXT NOT NULL, round INTEGER NOT NULL, state TEXT NOT NULL,
    content TEXT, code TEXT, model TEXT, cost REAL NOT NULL, attempts INTEGER NOT NULL) STRICT`);
  const select = database.prepare("SELECT * FROM steps WHERE key = ?");
  const upsert = database.prepare(`INSERT INTO steps VALUES (:key, :kind, :drama, :round, :state, :content, :code, :model, :cost, :attempts)
    ON CONFLICT (key) DO UPDATE SET state = excluded.state, content = excluded.content, code = excluded.code, model = excluded.model,
    cost = steps.cost + excluded.cost, attempts = steps.attempts + excluded.attempts WHERE steps.state <> 'done'`);
  let waiting: { row: StepRow; done: () => void; failed: (error: unknown) => void }[] = [];
  let timer: NodeJS.Timeout | undefined;

  /** Many rows share one commit: each costs a flush of the disk. */
  const flush = (): void => {
    timer = undefined;
    const group = waiting;
    waiting = [];
    if (group.length === 0) return;
    try {
      database.exec("BEGIN IMMEDIATE");
      for (const { row } of group) upsert.run({ ...row });
      database.exec("COMMIT");
    } catch (error) {
      if (database.isTransaction) database.exec("ROLLBACK");
      const wrapped = new CurationError(`${path}: the ledger could not be written (${(error as Error).message})`, { code: "LEDGER_IO", cause: error, hint: "Check the disk's space, then run again: nothing that was paid for is lost." });
      group.forEach(({ failed }) => failed(wrapped));
      return;
    }
    group.forEach(({ done }) => done());
  };

  return {
    get: (key) => select.get(key) as unknown as StepRow | undefined,
    put: (row) =>
      new Promise<void>((done, failed) => {
        waiting.push({ row, done, failed });
        timer ??= setTimeout(flush, GROUP_COMMIT_MS);
      }),
    rows: () => database.prepare("SELECT * FROM steps ORDER BY key").all() as unknown as StepRow[],
    close: () => {
      if (timer !== undefined) clearTimeout(timer);
      flush();
      database.close();
      lock.release();
    },
  };
}
