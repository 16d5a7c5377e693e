import { setTimeout as sleep } from "node:timers/promises";
import type { ClientBase, Pool, PoolClient } from "pg";
import { CurationError } from "../errors.ts";

/** Runs one statement of a transaction. */
export type Query = <Row>(text: string, values?: readonly unknown[]) => Promise<Row[]>;

/** How a transaction is being tried. */
interface Trial {
  query: Query;
  /** The connection was lost while an earlier try committed: that try may have taken effect. */
  mayBeDone: boolean;
}

/** Connections to one Postgres database, which outlive a server that goes away for a while. */
export interface Postgres {
  /** One statement in a transaction of its own. It must be harmless to run twice. */
  query: Query;
  /** Statements that take effect together. The work is run again when the connection is lost or the server asks for it; what the work itself throws rolls back and is passed on. */
  transaction: <T>(work: (trial: Trial) => Promise<T>) => Promise<T>;
  close(): Promise<void>;
}

/** Options of {@link connectPostgres}. */
export interface ConnectOptions {
  /** Most connections at a time. Default 8. */
  connections?: number;
  /** How long an operation goes on trying while the server is away, in milliseconds. Default 120,000. */
  patienceMs?: number;
  /** The same for the first connection, in milliseconds; a wrong address should be told soon. Default 10,000. */
  openPatienceMs?: number;
}

const DEFAULTS: Required<ConnectOptions> = { connections: 8, patienceMs: 120_000, openPatienceMs: 10_000 };

/** A worker that was stopped in the middle of a transaction would keep its rows from all others: the server ends such a session. */
const SESSION = "SET idle_in_transaction_session_timeout = '15s'; SET lock_timeout = '15s'; SET TimeZone = 'UTC'";
const QUERY_TIMEOUT_MS = 90_000;
const CONNECT_TIMEOUT_MS = 10_000;
const BACKOFF_MS = { first: 50, most: 2_000 };

/** A failed statement or connection, told apart from what the caller's work throws. */
class StatementFailure extends Error {}

/**
 * Connects to a Postgres server (13 or newer, UTF-8).
 *
 * @throws CurationError LEDGER_UNAVAILABLE when there is no server of that address, LEDGER_IO when it refuses a statement. No error holds the address's password.
 */
export async function connectPostgres(address: string, options: ConnectOptions = {}): Promise<Postgres> {
  const { connections, patienceMs, openPatienceMs } = { ...DEFAULTS, ...options };
  const { place, password } = readAddress(address);
  const { default: driver } = await import("pg").catch((error: unknown) => {
    throw new CurationError("A ledger in Postgres needs the package pg, which is not installed", { code: "LEDGER_UNAVAILABLE", cause: error, hint: "npm install pg" });
  });
  const pool = new driver.Pool({
    connectionString: address,
    max: connections,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    application_name: "dramascope",
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- the pool waits for it, whatever its types say
    onConnect: prepare,
  });
  pool.on("error", ignore); // an idle connection broke: the next operation opens another
  const closing = new AbortController();

  /** Runs a piece of work on a connection, again and again while the server is away. */
  const persist = async <T>(patience: number, work: (client: PoolClient) => Promise<T>): Promise<T> => {
    const deadline = performance.now() + patience;
    for (let pause = BACKOFF_MS.first; ; pause = Math.min(2 * pause, BACKOFF_MS.most)) {
      try {
        return await onClient(pool, work);
      } catch (error) {
        if (!(error instanceof StatementFailure)) throw error;
        if (closing.signal.aborted) throw new CurationError(`${place}: the ledger is closed`, { code: "LEDGER_CLOSED", hint: "Open it again." });
        const passes = isPassing(error.cause);
        if (!passes || performance.now() + pause > deadline) throw described(error.cause, { place, password, patience: passes ? patience : undefined });
        await sleep(pause, undefined, { signal: closing.signal }).catch(ignore);
      }
    }
  };

  const postgres: Postgres = {
    query: (text, values) => persist(patienceMs, (client) => queryOf(client)(text, values)),
    transaction: (work) => {
      let mayBeDone = false;
      return persist(patienceMs, async (client) => {
        const query = queryOf(client);
        await query("BEGIN");
        let result: Awaited<ReturnType<typeof work>>;
        try {
          result = await work({ query, mayBeDone });
        } catch (error) {
          await query("ROLLBACK").catch(ignore);
          throw error;
        }
        await query("COMMIT").catch((error: unknown) => {
          mayBeDone = true;
          throw error;
        });
        return result;
      });
    },
    close: async () => {
      closing.abort();
      if (!pool.ended) await pool.end();
    },
  };

  try {
    const [server] = await persist(openPatienceMs, (client) => queryOf(client)<{ version: string; encoding: string }>("SELECT current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding"));
    if (Number(server!.version) < 130_000) throw new CurationError(`${place}: this server is Postgres ${server!.version}, a ledger needs 13 or newer`, { code: "LEDGER_UNAVAILABLE" });
    if (server!.encoding !== "UTF8") throw new CurationError(`${place}: this database is encoded in ${server!.encoding}, a ledger needs UTF8`, { code: "LEDGER_UNAVAILABLE", hint: "Create it with ENCODING 'UTF8' TEMPLATE template0." });
  } catch (error) {
    await postgres.close();
    throw error;
  }
  return postgres;
}

const ignore = (): void => undefined;

const prepare = (client: ClientBase): Promise<unknown> => client.query(SESSION);

/** Host and database of an address, for sentences, and its password, to be kept out of them. */
function readAddress(address: string): { place: string; password: string } {
  try {
    const { protocol, host, pathname, password } = new URL(address);
    if (!/^postgres(ql)?:$/.test(protocol)) throw new TypeError("not a Postgres address");
    return { place: `${protocol}//${host}${pathname}`, password: decodeURIComponent(password) };
  } catch {
    // The cause would hold the address, and the address a password.
    throw new CurationError("The ledger's address is not of the form postgres://user:password@host:port/database", { code: "LEDGER_UNAVAILABLE" });
  }
}

async function onClient<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect().catch((error: unknown) => {
    throw new StatementFailure("connect", { cause: error });
  });
  client.on("error", ignore); // the statement at work fails with the same error
  let isBroken = false;
  try {
    return await work(client);
  } catch (error) {
    isBroken = error instanceof StatementFailure;
    throw error;
  } finally {
    client.off("error", ignore);
    client.release(isBroken);
  }
}

const queryOf =
  (client: PoolClient): Query =>
  async <Row>(text: string, values?: readonly unknown[]) => {
    try {
      const { rows } = await client.query(text, values as unknown[]);
      return rows as Row[];
    } catch (error) {
      throw new StatementFailure("query", { cause: error });
    }
  };

/** SQLSTATE of an error the server sent; errors of the connection have none. */
function sqlState(error: unknown): string | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  return typeof code === "string" && typeof severity === "string" ? code : undefined;
}

/** Worth another try: connection lost (08), server going down or coming up (57P), session or lock timed out, serialisation, deadlock, too many connections, a standby. */
function isPassing(error: unknown): boolean {
  const state = sqlState(error);
  return state === undefined || /^(08...|57P0[123]|25P03|25006|55P03|40001|40P01|53300)$/.test(state);
}

function described(error: unknown, { place, password, patience }: { place: string; password: string; patience: number | undefined }): CurationError {
  const state = sqlState(error);
  const text = error instanceof Error && error.message !== "" ? error.message : String((error as { code?: unknown }).code);
  const said = (password === "" ? text : text.replaceAll(password, "***")).slice(0, 300);
  // The driver's own error may quote the row that was refused, and with it what strangers wrote.
  const cause = Object.assign(new Error(said), state === undefined ? {} : { code: state });
  if (patience !== undefined)
    return new CurationError(`${place}: the ledger's server did not answer for ${Math.round(patience / 1000)} s (${said})`, { code: "LEDGER_UNAVAILABLE", cause, hint: "Start it or check its address, then run again: nothing that was paid for is lost." });
  if (state === undefined || /^(28|3D|42501)/.test(state))
    return new CurationError(`${place}: the ledger's server refused (${said})`, { code: "LEDGER_UNAVAILABLE", cause, hint: "Check the address, the account and its rights." });
  return new CurationError(`${place}: the ledger could not be read or written (${said})`, { code: "LEDGER_IO", cause, hint: "Check the server's log and its disk's space, then run again: what was committed is kept." });
}
