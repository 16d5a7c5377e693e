import { CurationError } from "../errors.ts";
import { connectPostgres } from "./postgres-connection.ts";
import { dramaTable } from "./postgres-dramas.ts";
import { GATE_COLUMNS, GENERATION_COLUMNS, generationOf, type GenerationColumns } from "./postgres-rows.ts";
import { LOCKS, migrate, quotedSchema, requireLedger } from "./postgres-schema.ts";
import { openPostgresSpendBook } from "./postgres-spend-book.ts";
import { stepTable } from "./postgres-steps.ts";
import { createWakeUps } from "./postgres-wake-ups.ts";
import { checkNames } from "./storable-text.ts";
import type { Gate } from "./generation-types.ts";
import type { StepLedger } from "./step-ledger.ts";

/** Options of {@link openPostgresLedger}. */
export interface PostgresLedgerOptions {
  /** Opens an existing ledger for reading alone, which takes no more than the right to read its tables; writing is refused with `LEDGER_READ_ONLY`. Default false. */
  isReadOnly?: boolean;
  /** Money that all workers together may spend, in the prices' currency. Default no bound. */
  maxCost?: number;
  /** Schema of the ledger's tables, made when absent: up to 48 lower-case letters, digits and underscores. Default `dramascope`. */
  schema?: string;
  /** Schema of pg-boss, which wakes idle workers; null leaves it out, and they look for work every second. Default `dramascope_boss`. */
  bossSchema?: string | null;
  /** Most connections of this process, pg-boss's three not counted. Default 8. */
  connections?: number;
  /** How long an operation goes on trying while the server is away, in milliseconds. Default 120,000. */
  patienceMs?: number;
  /** The same for opening: a wrong address should be told soon. Default 10,000. */
  openPatienceMs?: number;
}

/**
 * Opens a ledger that workers on several machines share, in a Postgres server (13 or newer). Leases and pauses run by the server's clock. Every operation outlives a server
 * that is away for a while (`patienceMs`) and takes effect once, also when the connection is lost while it is being committed.
 *
 * @param address `postgres://user:password@host:port/database`; no error holds the password.
 * @throws CurationError LEDGER_UNAVAILABLE, LEDGER_IO, LEDGER_VERSION, LEDGER_SCHEMA, LEDGER_MISSING (for reading).
 */
export async function openPostgresLedger(address: string, options: PostgresLedgerOptions = {}): Promise<StepLedger> {
  const { schema = "dramascope", bossSchema = "dramascope_boss", maxCost, isReadOnly = false } = options;
  const s = quotedSchema(schema);
  if (bossSchema !== null) quotedSchema(bossSchema);
  const postgres = await connectPostgres(address, options);
  const { query, transaction } = postgres;
  const book = await (isReadOnly ? requireLedger : migrate)(postgres, schema)
    .then(() => openPostgresSpendBook(postgres, s, { maxCost, isReadOnly }))
    .catch(async (error: unknown) => {
      await postgres.close();
      throw error;
    });
  const wakeUps = createWakeUps(postgres, { address, schema: s, bossSchema });
  const steps = stepTable(postgres, s, () => wakeUps.announce());
  let closed: Promise<void> | undefined;

  const ledger: StepLedger = {
    ...dramaTable(postgres, s),
    ...steps,
    lease: (request) => {
      wakeUps.watch(request.generation);
      book.signOfLife();
      return steps.lease(request);
    },
    heartbeat: (keys, owner, ttlMs) => {
      book.signOfLife();
      return steps.heartbeat(keys, owner, ttlMs);
    },

    reserve: (entry) => book.reserve(entry),
    settle: (id, result) => book.settle(id, result),
    spent: () => book.spent(),
    isOpenElsewhere: () => book.isOpenElsewhere(),
    spending: () => book.spending(),

    generations: async () => (await query<GenerationColumns>(`SELECT ${GENERATION_COLUMNS} FROM ${s}.generations ORDER BY generation`)).map(generationOf),
    openGeneration: (identity, settings) =>
      transaction(async ({ query }) => {
        checkNames("the generation's identity", identity);
        await query("SELECT pg_advisory_xact_lock($1, $2)", [LOCKS.space, LOCKS.generation]);
        await query(
          `INSERT INTO ${s}.generations SELECT coalesce(max(generation), 0) + 1, $1, $2, date_trunc('milliseconds', clock_timestamp()) FROM ${s}.generations ON CONFLICT (identity) DO NOTHING`,
          [identity, JSON.stringify(settings)],
        );
        const [row] = await query<GenerationColumns>(`SELECT ${GENERATION_COLUMNS} FROM ${s}.generations WHERE identity = $1`, [identity]);
        return generationOf(row!);
      }),

    gates: (generation) => query<Gate>(`SELECT ${GATE_COLUMNS} FROM ${s}.gates WHERE generation = $1 ORDER BY quality, round`, [generation]),
    setGate: async ({ generation, quality, round, isOpen, cost, newDramas }) => {
      await query(`INSERT INTO ${s}.gates VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, [generation, quality, round, isOpen, cost, newDramas]);
      wakeUps.announce();
    },

    wake: (ms, signal) => wakeUps.wait(ms, signal),
    close: () =>
      (closed ??= wakeUps
        .stop()
        .then(() => book.close())
        .finally(() => postgres.close())),
  };
  return isReadOnly ? forReading(ledger, schema) : ledger;
}

/** A ledger without what writes. */
function forReading(ledger: StepLedger, schema: string): StepLedger {
  const refused = (): Promise<never> => Promise.reject(new CurationError(`schema ${schema}: the ledger is open for reading alone`, { code: "LEDGER_READ_ONLY", hint: "Open it for writing." }));
  return {
    ...ledger,
    reserve: refused, settle: refused, openGeneration: refused, setGate: refused, putDramas: refused, deleteDrama: refused,
    plan: refused, lease: refused, heartbeat: refused, commit: refused, park: refused, release: refused, retire: refused, free: refused,
  };
}
