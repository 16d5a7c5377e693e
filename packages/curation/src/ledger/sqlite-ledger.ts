import { systemClock, type Clock } from "@dramascope/chat-client";
import type { DatabaseSync } from "node:sqlite";
import { setImmediate as turn } from "node:timers/promises";
import { CurationError } from "../errors.ts";
import { forwardTime } from "./forward-time.ts";
import { attemptTable } from "./sqlite-attempts.ts";
import { dramaTable, type NumberedDrama } from "./sqlite-dramas.ts";
import { groupWrites } from "./sqlite-group.ts";
import { ledgerErrorOf, openForReading, openForWriting } from "./sqlite-schema.ts";
import { settingTable } from "./sqlite-settings.ts";
import { stepTable } from "./sqlite-steps.ts";
import { becomeWriter, hasWriter } from "./sqlite-writer.ts";
import type { DramaRecord } from "./drama-types.ts";
import type { StepLedger } from "./step-ledger.ts";
import type { StepRow } from "./step-types.ts";

/** Options of {@link openSqliteLedger}. */
export interface SqliteLedgerOptions {
  /** Most money, in the currency of the estimates; spent money of former runs counts. Default no limit. */
  maxCost?: number;
  /** Default the time of this process. */
  clock?: Clock;
  /** Opens for reading alone, also while another process writes; writing is refused with `LEDGER_READ_ONLY`. Default false. */
  isReadOnly?: boolean;
}

/** Rows of one page when a table is read in parts, so that neither memory nor a lock grows with it. */
const PAGE = 200;

/** Steps or dramas of one transaction when many come at once. */
const CHUNK = 2000;

function* chunks<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < rows.length; from += CHUNK) yield rows.slice(from, from + CHUNK);
}

/**
 * Opens a ledger in one SQLite file, made when absent, with its folder. One process writes at a time; leases of a former one are void, and what it had sent without hearing the end
 * stays spent.
 *
 * @param path `:memory:` for one that ends with the process.
 * @throws CurationError `LEDGER_LOCKED`, `LEDGER_VERSION`, `LEDGER_MISSING` (for reading), `LEDGER_IO`.
 */
export function openSqliteLedger(path: string, options: SqliteLedgerOptions = {}): StepLedger {
  const lock = options.isReadOnly === true || path === ":memory:" ? undefined : becomeWriter(path);
  let database: DatabaseSync | undefined;
  try {
    database = options.isReadOnly === true ? openForReading(path) : openForWriting(path);
    return ledgerOn(database, path, { ...options, release: () => lock?.release() });
  } catch (error) {
    database?.close();
    lock?.release();
    throw ledgerErrorOf(path, error);
  }
}

/** Number of the opening whose attempts are on the way: this one, or for a reader that of the writer. */
function sessionOf(database: DatabaseSync, path: string, isReadOnly: boolean): () => number {
  if (isReadOnly) {
    const last = database.prepare("SELECT ifnull(max(session), 0) AS session FROM sessions");
    return () => (hasWriter(path) ? (last.get() as { session: number }).session : 0);
  }
  const session = Number(database.prepare("INSERT INTO sessions DEFAULT VALUES").run().lastInsertRowid);
  return () => session;
}

function ledgerOn(database: DatabaseSync, path: string, options: SqliteLedgerOptions & { release: () => void }): StepLedger {
  const { maxCost, clock = systemClock, isReadOnly = false, release } = options;
  const time = forwardTime(() => clock.now());
  const dramas = dramaTable(database);
  const steps = stepTable(database, { dramas, time, wall: () => clock.now() });
  const attempts = attemptTable(database, { session: sessionOf(database, path, isReadOnly), maxCost });
  const settings = settingTable(database);
  const sleepers = new Set<() => void>();
  let isWorkNew = false;
  let isOpen = true;
  if (!isReadOnly) steps.resume();

  const group = groupWrites(database, {
    path,
    onCommit: () => {
      if (!isWorkNew) return;
      isWorkNew = false;
      for (const wake of sleepers) wake();
    },
    onRollback: () => attempts.recount(),
  });
  const refuseUnlessOpen = (): void => {
    if (!isOpen) throw new CurationError(`${path}: the ledger is closed`, { code: "LEDGER_CLOSED", hint: "Open it again." });
  };
  const read = <T>(work: () => T): Promise<T> =>
    new Promise((resolve) => {
      refuseUnlessOpen();
      resolve(reading(work));
    });
  const reading = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw ledgerErrorOf(path, error);
    }
  };
  const writer = isReadOnly ? undefined : group;
  const refused = (): Promise<never> => Promise.reject(new CurationError(`${path}: the ledger is open for reading alone`, { code: "LEDGER_READ_ONLY", hint: "Open it for writing." }));
  const write = <T>(work: () => T): Promise<T> => writer?.write(work) ?? refused();
  /** A write that ends with this process: leases of a former one are void. */
  const writeLeases = <T>(work: () => T): Promise<T> => writer?.writeLightly(work) ?? refused();
  /** A write after which there may be work for others. */
  const writeWork = <T>(work: () => T): Promise<T> =>
    write(() => {
      isWorkNew = true;
      return work();
    });
  /** Rows page after page; other work goes on in between. */
  async function* pages<T>(page: (last: T | undefined) => T[]): AsyncGenerator<T> {
    for (let last: T | undefined; ; ) {
      refuseUnlessOpen();
      const rows = reading(() => page(last));
      yield* rows;
      if (rows.length < PAGE) return;
      last = rows.at(-1);
      await turn();
    }
  }
  const numberedDramas = (): AsyncGenerator<NumberedDrama> => pages((last) => dramas.page({ order: last?.record.order ?? "", no: last?.no ?? 0 }, PAGE));

  return {
    generations: () => read(() => settings.generations()),
    openGeneration: (identity, value) => write(() => settings.openGeneration(identity, value, new Date(clock.now()).toISOString())),
    putDramas: async (rows) => {
      for (const chunk of chunks(rows)) {
        await write(() => {
          for (const row of chunk) {
            const { no, isChanged } = dramas.put(row);
            if (isChanged) steps.retire(no);
          }
        });
      }
    },
    async *dramas() {
      for await (const { record } of numberedDramas()) yield record;
    },
    drama: (id) =>
      read((): DramaRecord | undefined => {
        const no = dramas.numberOf(id);
        return no === undefined ? undefined : dramas.get(no);
      }),
    plan: async (specs, generation) => {
      let added = 0;
      for (const chunk of chunks(specs)) added += await writeWork(() => steps.plan(chunk, generation));
      return added;
    },
    lease: (request) => writeLeases(() => steps.lease(request)),
    heartbeat: (keys, owner, ttlMs) => writeLeases(() => steps.heartbeat(keys, owner, ttlMs)),
    commit: (commit) => writeWork(() => steps.commit(commit)),
    park: (parking) => writeWork(() => steps.park(parking)),
    release: (keys, owner) =>
      writeLeases(() => {
        isWorkNew = true;
        steps.release(keys, owner);
      }),
    retire: (keys, owner) => writeWork(() => steps.putAside(keys, owner)),
    free: (request) => writeWork(() => steps.free(request)),
    async *stream(query) {
      for await (const { row } of pages<{ id: number; row: StepRow }>((last) => steps.page({ ...query, after: last?.id ?? 0, max: PAGE }))) yield row;
    },
    async *answersByDrama(generation) {
      for await (const { no, record } of numberedDramas()) yield { drama: record, answers: reading(() => steps.ofDrama(no, record.dramaId, generation)) };
    },
    counts: (generation) => read(() => steps.counts(generation)),
    reserve: (entry) => write(() => attempts.reserve(entry, dramas.numberOf(entry.drama) ?? null)),
    settle: (id, result) => write(() => attempts.settle(id, result)),
    spent: () => attempts.spent(),
    spending: () => read(() => attempts.spending()),
    gates: (generation) => read(() => settings.gates(generation)),
    setGate: (gate) => write(() => settings.setGate(gate)),
    deleteDrama: async (id) => {
      const deleted = await write(() => {
        const no = dramas.numberOf(id);
        if (no === undefined) return undefined;
        const count = steps.countOf(no);
        attempts.forget(no);
        dramas.delete(no);
        return count;
      });
      // Deleted rows are overwritten with zeros; pages from before are still in the log.
      if (deleted !== undefined) reading(() => database.exec("PRAGMA wal_checkpoint(TRUNCATE)"));
      return deleted ?? 0;
    },
    wake: async (ms, signal) => {
      refuseUnlessOpen();
      if (signal?.aborted === true) return;
      const ended = new AbortController();
      const end = (): void => ended.abort();
      sleepers.add(end);
      signal?.addEventListener("abort", end, { once: true });
      try {
        await clock.sleep(Math.max(0, Math.min(ms, reading(() => steps.nextDue()) - time())), ended.signal);
      } catch {
        // Woken before the time.
      } finally {
        sleepers.delete(end);
        signal?.removeEventListener("abort", end);
      }
    },
    close: () => {
      if (!isOpen) return Promise.resolve();
      group.end();
      isOpen = false;
      for (const wake of sleepers) wake();
      try {
        database.close();
      } finally {
        release();
      }
      return Promise.resolve();
    },
  };
}
