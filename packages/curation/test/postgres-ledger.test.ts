import { afterAll, beforeAll } from "vitest";
import { openPostgresLedger } from "@dramascope/curation";
import { startPostgres, type PostgresServer } from "@dramascope/test-fixtures/postgres-server.ts";
import { describeLedger } from "./ledger-conformance.ts";

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

let schemas = 0;
describeLedger("Postgres", (options) => openPostgresLedger(server.url, { ...options, schema: `ledger_${++schemas}`, bossSchema: null }));
