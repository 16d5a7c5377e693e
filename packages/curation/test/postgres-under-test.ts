import { openPostgresLedger, type PostgresLedgerOptions, type StepLedger } from "@dramascope/curation";
import { startPostgres, type PostgresServer } from "@dramascope/test-fixtures/postgres-server.ts";
import pg from "pg";
import { afterAll, afterEach, beforeAll } from "vitest";

/** A Postgres server for the tests of a file. */
export interface PostgresUnderTest {
  /** There once the tests run. */
  server: () => PostgresServer;
  /** Opens a ledger that is closed after the test. Default without pg-boss. */
  open: (schema: string, options?: PostgresLedgerOptions & { url?: string }) => Promise<StepLedger>;
  /** Asks the server something as its owner. */
  sql: <Row>(text: string) => Promise<Row[]>;
}

/** Starts a server before a file's tests and stops it after them. */
export function postgresUnderTest(): PostgresUnderTest {
  let server: PostgresServer | undefined;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.stop());
  const opened: StepLedger[] = [];
  afterEach(async () => {
    for (const ledger of opened.splice(0)) await ledger.close();
  });
  return {
    server: () => server!,
    open: async (schema, { url = server!.url, ...options } = {}) => {
      const ledger = await openPostgresLedger(url, { bossSchema: null, schema, ...options });
      opened.push(ledger);
      return ledger;
    },
    sql: async <Row>(text: string) => {
      const client = new pg.Client(server!.url);
      await client.connect();
      const { rows } = await client.query<object>(text);
      await client.end();
      return rows as Row[];
    },
  };
}
