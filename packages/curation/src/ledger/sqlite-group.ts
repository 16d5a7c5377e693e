import type { DatabaseSync } from "node:sqlite";
import { CurationError } from "../errors.ts";
import { isSqliteError, ledgerErrorOf } from "./sqlite-schema.ts";

/** How long a write waits for others to share its flush of the disk, in milliseconds. */
const GROUP_MS = 4;

/** Writes, alone or in a shared transaction. What a work throws fails it alone; an error of the disk fails all of its transaction. */
export interface WriteGroup {
  /** Runs in the next transaction and resolves when it is on the disk. */
  write<T>(work: () => T): Promise<T>;
  /** Runs at once, without a flush of the disk: a loss of power may undo it, a later write keeps it. */
  writeLightly<T>(work: () => T): Promise<T>;
  /** Commits what waits; later writes are refused. */
  end(): void;
}

interface Waiting {
  work: () => unknown;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

/** Gathers writes for a few milliseconds and commits them at once: each commit costs a flush of the disk. */
export function groupWrites(database: DatabaseSync, options: { path: string; onCommit: () => void; onRollback: () => void }): WriteGroup {
  const { path, onCommit, onRollback } = options;
  const begin = database.prepare("SAVEPOINT own");
  const end = database.prepare("RELEASE own");
  const undo = database.prepare("ROLLBACK TO own");
  let waiting: Waiting[] = [];
  let timer: NodeJS.Timeout | undefined;
  let hasEnded = false;

  const commit = (group: readonly Waiting[]): void => {
    const outcomes: (() => void)[] = [];
    try {
      database.exec("BEGIN IMMEDIATE");
      for (const { work, resolve, reject } of group) {
        begin.run();
        try {
          const value = work() as never;
          outcomes.push(() => resolve(value));
        } catch (error) {
          // After an error of the disk nothing of the transaction can be trusted.
          if (isSqliteError(error)) throw error;
          undo.run();
          outcomes.push(() => reject(error));
        }
        end.run();
      }
      database.exec("COMMIT");
    } catch (error) {
      if (database.isTransaction) database.exec("ROLLBACK");
      onRollback();
      for (const { reject } of group) reject(ledgerErrorOf(path, error));
      return;
    }
    for (const settle of outcomes) settle();
    onCommit();
  };
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    const group = waiting;
    waiting = [];
    if (group.length > 0) commit(group);
  };
  const queued = <T>(add: (one: Waiting) => void, work: () => T): Promise<T> =>
    new Promise((resolve, reject) => {
      if (hasEnded) reject(new CurationError(`${path}: the ledger is closed`, { code: "LEDGER_CLOSED", hint: "Open it again." }));
      else add({ work, resolve, reject });
    });

  return {
    write: (work) =>
      queued((one) => {
        waiting.push(one);
        timer ??= setTimeout(flush, GROUP_MS);
      }, work),
    writeLightly: (work) =>
      queued((one) => {
        database.exec("PRAGMA synchronous = NORMAL");
        commit([one]);
        database.exec("PRAGMA synchronous = FULL");
      }, work),
    end: () => {
      hasEnded = true;
      flush();
    },
  };
}
