import type { Clock } from "@dramascope/chat-client";
import { join } from "node:path";
import type { CurationConfig } from "../config.ts";
import { CurationError } from "../errors.ts";
import type { PostgresLedgerOptions } from "./postgres-ledger.ts";
import { openSqliteLedger } from "./sqlite-ledger.ts";
import type { StepLedger } from "./step-ledger.ts";

/** Options of {@link openLedger}. */
export interface OpenLedgerOptions {
  /** `sqlite:FILE`, `postgres://…` or `postgresql://…`, instead of the settings' ledger. */
  address?: string;
  /** Opens a ledger that is there for reading alone, also while a run writes it. Default false. */
  isReadOnly?: boolean;
  /** Clock of a SQLite ledger. Default the time of this process. */
  clock?: Clock;
}

/**
 * Opens the ledger that settings name; without one, `ledger.db` in the work folder. Its budget is the settings'.
 *
 * @param env Environment, for the address of a Postgres server.
 * @throws CurationError `LEDGER_ADDRESS` for an address that names no ledger; those of the two ledgers.
 */
export async function openLedger(config: Pick<CurationConfig, "ledger" | "workdir" | "budget">, env: Readonly<Record<string, string | undefined>>, options: OpenLedgerOptions = {}): Promise<StepLedger> {
  const { address, isReadOnly = false, clock } = options;
  const { ledger, workdir, budget } = config;
  const shared = { isReadOnly, ...(budget.maxCost !== undefined && { maxCost: budget.maxCost }) };
  const postgres = async (server: string, more: PostgresLedgerOptions = {}): Promise<StepLedger> => (await import("./postgres-ledger.ts")).openPostgresLedger(server, { ...shared, ...more });
  const sqlite = (path: string): StepLedger => openSqliteLedger(path, { ...shared, ...(clock && { clock }) });
  if (address?.startsWith("sqlite:")) return sqlite(address.slice("sqlite:".length));
  if (address !== undefined && /^postgres(?:ql)?:\/\//u.test(address)) return postgres(address);
  if (address !== undefined) throw new CurationError("the ledger's address names neither a SQLite file nor a Postgres server", { code: "LEDGER_ADDRESS", hint: "Write sqlite:FILE or postgres://USER@HOST/DATABASE." });
  if (ledger?.driver !== "postgres") return sqlite(ledger?.path ?? join(workdir, "ledger.db"));
  const url = env[ledger.urlEnv];
  if (url === undefined || url === "") throw new CurationError(`ledger.urlEnv: ${ledger.urlEnv} is not set`, { code: "LEDGER_ADDRESS", hint: `Put the server's address into ${ledger.urlEnv}.` });
  return postgres(url, ledger.schema === undefined ? {} : { schema: ledger.schema });
}
